/*
 * inspect: everything that is known about an instance, with docker's names and nesting, so that scripts
 * written for docker find what they look for.
 *
 * Trust: config.json and state.json are our own. Threads: any. #syscalls: openat read
 */
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "run/describe.h"
#include "wire/oci.h"

#define ZERO_TIME "0001-01-01T00:00:00Z"

static json_object *text(const char *s)
{
	return json_object_new_string(s ? s : "");
}

static json_object *number(int64_t n)
{
	return json_object_new_int64(n);
}

static json_object *truth(bool b)
{
	return json_object_new_boolean(b);
}

static void add(json_object *o, const char *key, json_object *v)
{
	json_object_object_add(o, key, v);
}

static json_object *list_of(const struct strlist *l, size_t from)
{
	json_object *a = json_object_new_array();

	for (size_t i = from; i < l->n; i++)
		json_object_array_add(a, text(l->v[i]));
	return a;
}

static json_object *strings(const struct oci_strings *l)
{
	json_object *a = json_object_new_array();

	for (size_t i = 0; l && i < l->n; i++)
		json_object_array_add(a, text(l->v[i]));
	return a;
}

static json_object *pairs(const struct strlist *l)
{
	json_object *o = json_object_new_object();

	for (size_t i = 0; i < l->n; i++) {
		const char *eq = strchr(l->v[i], '=');
		char key[512];

		if ((size_t)snprintf(key, sizeof(key), "%.*s",
				     (int)(eq ? eq - l->v[i] : (long)strlen(l->v[i])),
				     l->v[i]) < sizeof(key))
			add(o, key, text(eq ? eq + 1 : ""));
	}
	return o;
}

static json_object *health(struct subject *s)
{
	json_object *o = json_object_new_object(), *log = json_object_new_array();

	add(o, "Status", text(s->rec.health_status));
	add(o, "FailingStreak", number(s->rec.health_streak));
	for (size_t i = 0; i < s->rec.health_log.n; i++)
		json_object_array_add(log, json_tokener_parse(s->rec.health_log.v[i]));
	add(o, "Log", log);
	return o;
}

static json_object *health_check(struct subject *s)
{
	json_object *o = json_object_new_object();

	add(o, "Test", list_of(&s->rec.health_test, 0));
	add(o, "Interval", number(s->rec.health_interval_ms * 1000000));
	add(o, "Timeout", number(s->rec.health_timeout_ms * 1000000));
	add(o, "StartPeriod", number(s->rec.health_start_period_ms * 1000000));
	add(o, "StartInterval", number(s->rec.health_start_interval_ms * 1000000));
	add(o, "Retries", number(s->rec.health_retries));
	return o;
}

static json_object *state(struct subject *s)
{
	enum subject_status st = subject_status(s);
	bool alive = subject_alive(s);
	json_object *o = json_object_new_object();

	add(o, "Status", text(subject_status_name(st)));
	add(o, "Running", truth(alive || st == SUBJECT_RESTARTING));
	add(o, "Paused", truth(st == SUBJECT_PAUSED));
	add(o, "Restarting", truth(st == SUBJECT_RESTARTING));
	add(o, "OOMKilled", truth(s->rec.oom_killed));
	add(o, "Dead", truth(st == SUBJECT_DEAD));
	add(o, "Pid", number(alive ? s->in.pid : 0));
	add(o, "ExitCode", number(alive ? 0 : s->rec.exit_code));
	if (subject_orphaned(s))
		add(o, "Error",
		    text("the keeper was killed; the instance continues without log, "
			 "restart policy and attach"));
	else if (st == SUBJECT_DEAD)
		add(o, "Error", text("its creator was killed before it was complete; remove it"));
	else
		add(o, "Error", text(s->rec.error));
	add(o, "StartedAt", text(s->rec.started ? s->rec.started : ZERO_TIME));
	add(o, "FinishedAt", text(s->rec.finished ? s->rec.finished : ZERO_TIME));
	if (s->rec.health_status)
		add(o, "Health", health(s));
	return o;
}

static int64_t limit(const struct oci_num *n)
{
	return n->set ? n->v : 0;
}

static void add_limits(json_object *o, const struct oci_resources *r)
{
	static const struct oci_resources none;
	char cpus[64] = "";

	r = r ? r : &none;
	add(o, "CpuShares", number(limit(&r->cpu.shares)));
	add(o, "Memory", number(limit(&r->memory.limit)));
	int64_t period = limit(&r->cpu.period), quota = limit(&r->cpu.quota);

	add(o, "NanoCpus", number(period > 0 && quota > 0 ? quota * 1000000000 / period : 0));
	add(o, "CpuPeriod", number(period));
	add(o, "CpuQuota", number(quota));
	snprintf(cpus, sizeof(cpus), "%s", r->cpu.cpus ? r->cpu.cpus : "");
	add(o, "CpusetCpus", text(cpus));
	add(o, "CpusetMems", text(r->cpu.mems));
	add(o, "MemoryReservation", number(limit(&r->memory.reservation)));
	add(o, "MemorySwap", number(limit(&r->memory.swap)));
	add(o, "MemorySwappiness",
	    r->memory.swappiness.set ? number(r->memory.swappiness.v) : NULL);
	add(o, "OomKillDisable", truth(r->memory.disable_oom_killer.v));
	add(o, "PidsLimit", r->pids_limit.set ? number(r->pids_limit.v) : NULL);
	add(o, "BlkioWeight", number(limit(&r->blkio.weight)));
}

static json_object *host_config(struct subject *s, const struct oci_spec *spec)
{
	json_object *o = json_object_new_object(), *policy = json_object_new_object();
	json_object *log = json_object_new_object(), *log_config = json_object_new_object();
	char size[32];

	add(o, "Binds", list_of(&s->rec.binds, 0));
	if (s->rec.log_max_size) {
		snprintf(size, sizeof(size), "%lld", (long long)s->rec.log_max_size);
		add(log_config, "max-size", text(size));
		snprintf(size, sizeof(size), "%lld", (long long)s->rec.log_max_file);
		add(log_config, "max-file", text(size));
	}
	add(log, "Type", text(s->rec.log ? "json-file" : "none"));
	add(log, "Config", log_config);
	add(o, "LogConfig", log);
	add(o, "NetworkMode", text(s->rec.network));
	add(o, "PortBindings", json_object_new_object());
	add(policy, "Name", text(restart_policy_name(s->rec.restart_policy)));
	add(policy, "MaximumRetryCount", number(s->rec.restart_max));
	add(o, "RestartPolicy", policy);
	add(o, "AutoRemove", truth(s->rec.auto_remove));
	add(o, "Privileged", truth(s->rec.privileged));
	add(o, "ReadonlyRootfs", truth(spec && spec->root_readonly));
	add(o, "Isolation", text(s->in.wall));
	add(o, "CgroupParent", text(spec && spec->linux_ ? spec->linux_->cgroups_path : NULL));
	add_limits(o, spec && spec->linux_ ? spec->linux_->resources : NULL);
	return o;
}

static json_object *config(struct subject *s, const struct oci_spec *spec)
{
	json_object *o = json_object_new_object();
	const struct oci_process *p = spec ? spec->process : NULL;
	char user[64] = "";

	if (s->rec.user)
		snprintf(user, sizeof(user), "%s", s->rec.user);
	else if (p && (p->uid || p->gid))
		snprintf(user, sizeof(user), "%u:%u", p->uid, p->gid);
	add(o, "Hostname", text(spec ? spec->hostname : NULL));
	add(o, "Domainname", text(spec ? spec->domainname : NULL));
	add(o, "User", text(user));
	add(o, "Tty", truth(s->rec.tty));
	add(o, "OpenStdin", truth(s->rec.open_stdin));
	add(o, "StdinOnce", truth(s->rec.stdin_once));
	add(o, "Env", strings(p ? &p->env : NULL));
	add(o, "Cmd", list_of(&s->rec.command, 0));
	add(o, "Image", text(s->rec.image ? s->rec.image : s->rec.rootfs));
	add(o, "WorkingDir", text(p ? p->cwd : NULL));
	add(o, "Labels", pairs(&s->rec.labels));
	if (s->rec.health_test.n)
		add(o, "Healthcheck", health_check(s));
	add(o, "StopSignal", text(s->rec.stop_signal));
	add(o, "StopTimeout",
	    number(s->rec.stop_timeout_ms < 0 ? -1 : s->rec.stop_timeout_ms / 1000));
	return o;
}

static bool is_bind(const struct oci_mount *m)
{
	if (m->type && strcmp(m->type, "bind") == 0)
		return true;
	for (size_t i = 0; i < m->options.n; i++)
		if (!strcmp(m->options.v[i], "bind") || !strcmp(m->options.v[i], "rbind"))
			return true;
	return false;
}

/* The name of the volume that is mounted there, up to a blank; NULL: none. */
static const char *volume_of(struct subject *s, const char *destination)
{
	for (size_t i = 0; i < s->rec.volumes.n; i++) {
		const char *name = s->rec.volumes.v[i] + 2, *blank = strchr(name, ' ');

		if (blank && !strcmp(blank + 1, destination))
			return name;
	}
	return NULL;
}

/* The mounts that the user asked for: binds from outside the instance's own directory. */
static json_object *mounts(struct subject *s, const struct oci_spec *spec)
{
	json_object *a = json_object_new_array();

	for (size_t i = 0; spec && i < spec->mounts_n; i++) {
		const struct oci_mount *m = &spec->mounts[i];
		bool ro = false;

		if (!is_bind(m) || !m->source ||
		    strncmp(m->source, s->in.bundle, strlen(s->in.bundle)) == 0)
			continue;
		for (size_t k = 0; k < m->options.n; k++)
			ro |= strcmp(m->options.v[k], "ro") == 0;
		json_object *o = json_object_new_object();

		const char *volume = volume_of(s, m->destination);

		add(o, "Type", text(volume ? "volume" : "bind"));
		if (volume) {
			add(o, "Name",
			    json_object_new_string_len(volume, (int)strcspn(volume, " ")));
			add(o, "Driver", text("local"));
		}
		add(o, "Source", text(m->source));
		add(o, "Destination", text(m->destination));
		add(o, "Mode", text(ro ? "ro" : ""));
		add(o, "RW", truth(!ro));
		add(o, "Propagation", text("rprivate"));
		json_object_array_add(a, o);
	}
	return a;
}

static json_object *network(struct subject *s)
{
	json_object *o = json_object_new_object(), *all = json_object_new_object();
	json_object *one = json_object_new_object();
	char path[64] = "";

	if (subject_alive(s))
		snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)s->in.pid);
	add(o, "SandboxKey", text(path));
	add(o, "Ports", json_object_new_object());
	add(o, "IPAddress", text(""));
	add(o, "Gateway", text(""));
	add(o, "MacAddress", text(""));
	add(one, "IPAddress", text(""));
	add(all, s->rec.network ? s->rec.network : "private", one);
	add(o, "Networks", all);
	return o;
}

int describe_inspect(struct subject *s, const char *root, json_object **out, struct err *e)
{
	struct oci_spec *spec = NULL;
	json_object *o = json_object_new_object();
	char name[160], path[PATH_MAX];

	(void)e;
	/* A half-made instance has none; what is known is shown all the same. */
	instance_load_config(&s->in, &spec, NULL);
	snprintf(name, sizeof(name), "/%s", s->rec.name ? s->rec.name : "");
	add(o, "Id", text(s->in.id));
	add(o, "Created", text(s->in.created));
	add(o, "Path", text(s->rec.command.n ? s->rec.command.v[0] : ""));
	add(o, "Args", list_of(&s->rec.command, 1));
	add(o, "State", state(s));
	add(o, "Image", text(s->rec.image_id ? s->rec.image_id : s->rec.rootfs));
	snprintf(path, sizeof(path), "%s/%s", root, s->in.id);
	add(o, "Bundle", text(path));
	add(o, "HostnamePath", text(""));
	add(o, "LogPath", text(s->rec.log));
	add(o, "Name", text(name));
	add(o, "RestartCount", number(s->rec.restarts));
	add(o, "Driver", text(s->rec.image ? "overlay" : "directory"));
	add(o, "Platform", text("linux"));
	add(o, "Isolation", text(s->in.wall));
	add(o, "IsolationWished",
	    text(s->rec.isolation_wish ? s->rec.isolation_wish : "container"));
	add(o, "KeeperPid", number(instance_keeper_alive(&s->in) ? s->in.keeper_pid : 0));
	add(o, "HostConfig", host_config(s, spec));
	add(o, "Mounts", mounts(s, spec));
	add(o, "Config", config(s, spec));
	add(o, "NetworkSettings", network(s));
	oci_spec_free(spec);
	*out = o;
	return 0;
}
