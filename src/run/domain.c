/*
 * Domains as instances. `xl create` turns a configuration into the `vm` object of a config.json, with annotations
 * for what the runtime-spec has no words for; from there on a domain is an instance like others, with a keeper, a
 * log (its console) and a place in `ps`.
 *
 * A domain's number is the process id of its monitor: it is there exactly as long as the domain is.
 *
 * Trust: the configuration is the user's. Threads: any. #syscalls: readlink openat read
 */
#include "run/domain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "run/guest.h"
#include "run/guest_wall.h"
#include "run/launch.h"

/* ---- making one ---- */

static int absolute(const char *what, const char *path, char out[PATH_MAX], struct err *e)
{
	return realpath(path, out) ? 0 : err_sys(e, -errno, "%s '%s'", what, path);
}

static int add_disks(const struct xl_domain *d, json_object *annotations, struct err *e)
{
	for (unsigned i = 0; i < d->disks; i++) {
		char key[64], path[PATH_MAX];
		int r = absolute("disk", d->disk[i].path, path, e);

		if (r)
			return r;
		cleanup_free char *text = xl_disk_format(&d->disk[i], path);

		snprintf(key, sizeof(key), GUEST_DISK ".%u", i);
		if (!text)
			return err_sys(e, -ENOMEM, "disk");
		json_object_object_add(annotations, key, json_object_new_string(text));
	}
	return 0;
}

static void add_string(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static json_object *add_object(json_object *o, const char *key)
{
	json_object *member = json_object_new_object();

	json_object_object_add(o, key, member);
	return member;
}

static int make_config(const struct xl_domain *d, json_object *config, struct err *e)
{
	char kernel[PATH_MAX], ramdisk[PATH_MAX] = "";
	int r = absolute("kernel", d->kernel, kernel, e);

	if (!r && d->ramdisk)
		r = absolute("ramdisk", d->ramdisk, ramdisk, e);
	if (r)
		return r;
	add_string(config, "ociVersion", "1.3.0");
	json_object *vm = add_object(config, "vm"), *k = add_object(vm, "kernel");
	json_object *words = json_object_new_array(), *hw = add_object(vm, "hwConfig");
	json_object *annotations = add_object(config, "annotations");

	add_string(k, "path", kernel);
	if (ramdisk[0])
		add_string(k, "initrd", ramdisk);
	json_object_array_add(words, json_object_new_string(d->cmdline));
	json_object_object_add(k, "parameters", words);
	json_object_object_add(hw, "vcpus", json_object_new_int64(d->vcpus));
	json_object_object_add(hw, "memory", json_object_new_int64((int64_t)d->memory));
	add_string(annotations, GUEST_DOMAIN, "true");
	add_string(annotations, GUEST_ON_POWEROFF, xl_action_name(d->on_poweroff));
	add_string(annotations, GUEST_ON_REBOOT, xl_action_name(d->on_reboot));
	add_string(annotations, GUEST_ON_CRASH, xl_action_name(d->on_crash));
	return add_disks(d, annotations, e);
}

/* A UUID is 32 of the 64 digits of an id; the rest is the user's first half again. */
static void id_of_uuid(const char *uuid, char id[65])
{
	size_t n = 0;

	for (; *uuid && n < 32; uuid++)
		if (*uuid != '-')
			id[n++] = (char)(*uuid >= 'A' && *uuid <= 'F' ? *uuid + 32 : *uuid);
	memcpy(id + 32, id, 32);
	id[64] = '\0';
}

int domain_create(const struct xl_domain *d, const char *root, struct subject *s, struct err *e)
{
	const struct bundle_options none = { 0 };
	char id[65];
	bool no_image;
	json_object *config = json_object_new_object();
	int r = config ? make_config(d, config, e) : err_sys(e, -ENOMEM, "domain");

	if (d->uuid)
		id_of_uuid(d->uuid, id);
	else if (!r)
		r = registry_new_id(id, e);
	struct launch l = { .options = &none,
			    .id = id,
			    .name = d->name,
			    .isolation = "pv",
			    .kernel = d->kernel,
			    .auto_remove = true,
			    .stop_timeout = LAUNCH_STOP_TIMEOUT_DEFAULT,
			    .config = r ? NULL : json_object_to_json_string(config) };

	if (!r)
		r = launch_create(&l, root, s, &no_image, e);
	json_object_put(config);
	return r;
}

/* ---- finding one ---- */

static bool is_domain(const struct subject *s)
{
	return s->wall && streq(s->wall->name, "pv");
}

static int open_by_number(struct subject *s, const char *root, pid_t number, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	int r = instance_list(root, &ids, e);

	for (size_t i = 0; !r && i < ids.n; i++) {
		struct err ignored = ERR_INIT;

		if (subject_open_id(s, root, ids.v[i], false, &ignored))
			continue;
		if (is_domain(s) && s->in.pid == number && subject_alive(s))
			return 0;
		subject_fini(s);
		*s = (struct subject)SUBJECT_INIT;
	}
	return r ? r : err_set(e, -ENOENT, "no such domain: %d", (int)number);
}

int domain_open(struct subject *s, const char *root, const char *word, struct err *e)
{
	struct err by_name = ERR_INIT;
	uint64_t number;
	int r = subject_open(s, root, word, false, &by_name);

	if (r == 0 && !is_domain(s)) {
		err_set(e, -EINVAL, "'%s' is no domain: it is behind the %s wall", word,
			s->in.wall);
		subject_fini(s);
		*s = (struct subject)SUBJECT_INIT;
		return -EINVAL;
	}
	if (r == 0)
		return 0;
	if (str_to_u64(word, &number) == 0 && number <= INT_MAX)
		return open_by_number(s, root, (pid_t)number, e);
	return r == -ENOENT ? err_set(e, r, "no such domain: %s", word) : (*e = by_name).code;
}

/* ---- looking at one ---- */

/* The monitor's child that is the VMM, 0 for none. */
static pid_t find_vmm(pid_t monitor)
{
	struct buf children = BUF_INIT(4096);
	pid_t found = 0;
	char path[64], name[32];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)monitor, (int)monitor);
	file_read(AT_FDCWD, path, &children);
	for (char *save,
	     *word = strtok_r(children.len ? children.data : (char[]){ "" }, " ", &save);
	     word && !found; word = strtok_r(NULL, " ", &save)) {
		struct buf comm = BUF_INIT(64);

		snprintf(path, sizeof(path), "/proc/%.12s/comm", word);
		file_read(AT_FDCWD, path, &comm);
		snprintf(name, sizeof(name), "%s", buf_str(&comm));
		if (str_after(name, "warren-vmm"))
			found = (pid_t)strtol(word, NULL, 10);
		buf_fini(&comm);
	}
	buf_fini(&children);
	return found;
}

/* State letter and processor time, from a stat file of proc(5). */
static bool read_stat(const char *path, char *state, double *seconds)
{
	struct buf b = BUF_INIT(4096);
	unsigned long user = 0, system = 0;
	bool good = false;

	if (file_read(AT_FDCWD, path, &b) == 0) {
		const char *p = strrchr(buf_str(&b), ')');

		good = p && sscanf(p, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", state,
				   &user, &system) == 3;
	}
	*seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
	buf_fini(&b);
	return good;
}

/* Whether one of its vCPUs has a processor, or waits for one. */
static bool any_runs(pid_t vmm)
{
	char path[64];
	bool runs = false;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)vmm);
	cleanup_closedir DIR *d = opendir(path);

	for (struct dirent *de; d && !runs && (de = readdir(d));) {
		char state, file[sizeof(path) + sizeof(de->d_name) + 8];
		double seconds;

		snprintf(file, sizeof(file), "%s/%s/stat", path, de->d_name);
		runs = de->d_name[0] != '.' && read_stat(file, &state, &seconds) && state == 'R';
	}
	return runs;
}

int domain_view(struct subject *s, struct domain_view *v, struct err *e)
{
	struct oci_spec *spec = NULL;
	int r = instance_load_config(&s->in, &spec, e);

	*v = (struct domain_view){ .name = s->rec.name ? s->rec.name : s->in.id,
				   .id = -1,
				   .state = "------" };
	if (!r)
		r = guest_size(spec, &v->memory, &v->vcpus, e);
	oci_spec_free(spec);
	if (r)
		return r;
	if (!subject_alive(s)) {
		v->state[3] = 's';
		if (guest_crashed(&s->in))
			v->state[4] = 'c';
		return 0;
	}
	char path[64], state;
	pid_t vmm = find_vmm(s->in.pid);

	v->id = s->in.pid;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)vmm);
	if (!vmm || !read_stat(path, &state, &v->seconds))
		v->state[5] = 'd';
	else if (subject_status(s) == SUBJECT_PAUSED)
		v->state[2] = 'p';
	else if (any_runs(vmm))
		v->state[0] = 'r';
	else
		v->state[1] = 'b';
	return 0;
}

void domain_view_host(struct domain_view *v)
{
	struct buf b = BUF_INIT(256);
	double up = 0, idle = 0;
	struct sysinfo si;

	*v = (struct domain_view){ .name = "Domain-0", .state = "r-----" };
	v->vcpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	if (sysinfo(&si) == 0)
		v->memory = (uint64_t)si.totalram * si.mem_unit;
	if (file_read(AT_FDCWD, "/proc/uptime", &b) == 0 &&
	    sscanf(buf_str(&b), "%lf %lf", &up, &idle) == 2)
		v->seconds = MAX(up * v->vcpus - idle, 0.0);
	buf_fini(&b);
}
