/*
 * update: a resources object is made of what was asked for, given to the wall while the instance runs, and
 * merged into its config.json for later starts.
 *
 * Trust: numbers are judged by wire/oci like those of any config.json. Threads: one.
 * #syscalls: those of the wall
 */
#include "run/update.h"

#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "os/file.h"
#include "run/events.h"
#include "run/link.h"
#include "wire/oci.h"

enum { CONFIG_MAX = 8 << 20, PERIOD = 100000 };

static void put_json(json_object **o)
{
	json_object_put(*o);
}

#define cleanup_json cleanup_with(put_json)

/* The member object, made when missing. */
static json_object *child(json_object *o, const char *key)
{
	json_object *v;

	if (json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_object))
		return v;
	v = json_object_new_object();
	json_object_object_add(o, key, v);
	return v;
}

static void set_number(json_object *r, const char *group, const char *key, int64_t v)
{
	if (v)
		json_object_object_add(child(r, group), key, json_object_new_int64(v));
}

static void set_text(json_object *r, const char *group, const char *key, const char *v)
{
	if (v)
		json_object_object_add(child(r, group), key, json_object_new_string(v));
}

static int add_swap(json_object *r, const struct update *u, struct err *e)
{
	uint64_t swap;

	if (!u->memory_swap)
		return 0;
	if (streq(u->memory_swap, "-1"))
		set_number(r, "memory", "swap", -1);
	else if (str_to_size(u->memory_swap, &swap) || swap > INT64_MAX)
		return err_set(e, -EINVAL, "--memory-swap '%s': expected a size, or -1",
			       u->memory_swap);
	else
		set_number(r, "memory", "swap", (int64_t)swap);
	return 0;
}

static int add_cpus(json_object *r, const struct update *u, struct err *e)
{
	char *end;

	if (!u->cpus)
		return 0;
	double n = strtod(u->cpus, &end);

	long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (*end || !*u->cpus || !isfinite(n))
		return err_set(e, -EINVAL, "--cpus '%s': expected a number such as 1.5", u->cpus);
	if (n < 0.01 || n > (double)MAX(online, 1))
		return err_set(e, -EINVAL,
			       "--cpus '%s': range of CPUs is from 0.01 to %ld.00, as this host "
			       "has %ld",
			       u->cpus, MAX(online, 1), MAX(online, 1));
	if (u->cpu_quota || u->cpu_period)
		return err_set(e, -EINVAL, "--cpus excludes --cpu-quota and --cpu-period");
	set_number(r, "cpu", "period", PERIOD);
	set_number(r, "cpu", "quota", (int64_t)(n * PERIOD));
	return 0;
}

static int add_all(json_object *r, const struct update *u, struct err *e)
{
	set_number(r, "memory", "limit", (int64_t)u->memory);
	set_number(r, "memory", "reservation", (int64_t)u->memory_reservation);
	set_number(r, "cpu", "shares", u->cpu_shares);
	set_number(r, "cpu", "period", u->cpu_period);
	set_number(r, "cpu", "quota", u->cpu_quota);
	set_text(r, "cpu", "cpus", u->cpuset_cpus);
	set_text(r, "cpu", "mems", u->cpuset_mems);
	set_number(r, "pids", "limit", u->pids_limit);
	set_number(r, "blockIO", "weight", u->blkio_weight);
	int err = add_swap(r, u, e);

	return err ? err : add_cpus(r, u, e);
}

/* To the running instance. */
static int apply_now(struct subject *s, json_object *r, struct err *e)
{
	const char *text = json_object_to_json_string(r);
	struct oci_spec *spec = NULL;
	int err = oci_resources_parse(text, strlen(text), "update", &spec, e);

	if (!err && subject_alive(s) && !s->wall->update)
		err = err_set(e, -EOPNOTSUPP, "the %s wall cannot change limits", s->wall->name);
	if (!err && subject_alive(s))
		err = s->wall->update(&s->in, spec->linux_->resources, e);
	oci_spec_free(spec);
	return err;
}

/* For later starts. */
static int keep(struct subject *s, const struct update *u, struct err *e)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(CONFIG_MAX);
	int r = file_read(s->in.dir, "config.json", &b);

	if (r)
		return err_sys(e, r, "config.json");
	cleanup_json json_object *config = json_tokener_parse(buf_str(&b));

	if (!json_object_is_type(config, json_type_object))
		return err_set(e, -EPROTO, "config.json: not an object");
	r = add_all(child(child(config, "linux"), "resources"), u, e);
	if (r)
		return r;
	const char *text = json_object_to_json_string_ext(
		config, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	return instance_save_config(&s->in, text, strlen(text), e);
}

static int set_policy(struct subject *s, const char *policy, struct err *e)
{
	int r = restart_policy_parse(policy, &s->rec.restart_policy, &s->rec.restart_max, e);

	if (!r && s->rec.auto_remove && s->rec.restart_policy)
		r = err_set(e, -EINVAL, "--rm and --restart exclude each other");
	if (r)
		return r;
	r = subject_save(s, e);
	if (r || (!subject_alive(s) && !s->rec.restarting))
		return r;
	return link_once(s,
			 &(struct control_msg){ .type = CONTROL_POLICY,
						.a = (uint32_t)s->rec.restart_policy,
						.b = (uint32_t)s->rec.restart_max },
			 e);
}

bool update_wanted(const struct update *u)
{
	return u->memory || u->memory_reservation || u->memory_swap || u->cpus || u->cpu_shares ||
	       u->cpu_period || u->cpu_quota || u->cpuset_cpus || u->cpuset_mems || u->pids_limit ||
	       u->blkio_weight || u->restart;
}

int update_apply(struct subject *s, const char *root, const struct update *u, struct err *e)
{
	cleanup_json json_object *r = json_object_new_object();
	int err = subject_reopen(s, root, true, e);

	if (!err)
		err = add_all(r, u, e);
	if (!err && json_object_object_length(r)) {
		err = apply_now(s, r, e);
		if (!err)
			err = keep(s, u, e);
	}
	if (!err && u->restart)
		err = set_policy(s, u->restart, e);
	if (!err)
		event_emit(root, s, "update", NULL);
	return err;
}
