/*
 * The systemd cgroup manager: the container is a transient scope, made by systemd over the bus and delegated to us.
 *
 * StartTransientUnit gets the container's process and the limits that systemd has properties for (so that a
 * daemon-reload does not take them away); when JobRemoved says that the scope stands, we ask where it is, and set the
 * rest in the files as always. Delete stops the scope. As root it is the system manager, otherwise the user's.
 *
 * cgroupsPath is "slice:prefix:name" here, as other runtimes have it: a scope prefix-name.scope in that slice. Nothing
 * given: "system.slice:warren:ID", or "user.slice:..." without root.
 *
 * Trust: names come from config.json and are checked, answers come from the bus. Threads: the caller's.
 * #syscalls: those of container/bus.c
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "container/bus.h"
#include "container/cgroup_int.h"
#include "os/loop.h"

#define SYSTEMD_NAME  "org.freedesktop.systemd1"
#define SYSTEMD_PATH  "/org/freedesktop/systemd1"
#define MANAGER_IFACE "org.freedesktop.systemd1.Manager"

enum { JOB_SECONDS = 30, UNIT_NAME_MAX = 255 };

/* A job of our unit, watched by JobRemoved. */
struct watch {
	const char *unit;
	int done;
	char result[32]; /* "done", "failed", "timeout", ... */
};

static void on_signal(struct bus *b, const struct dbus_msg *m)
{
	struct watch *w = b->arg;
	struct dbus_reader r = { .p = m->body, .n = m->body_n };
	const char *job, *unit, *result;
	uint32_t id;

	if (!m->member || !streq(m->member, "JobRemoved") || !m->signature ||
	    !streq(m->signature, "uoss"))
		return;
	if (dbus_get_u32(&r, &id) || dbus_get_string(&r, &job) || dbus_get_string(&r, &unit) ||
	    dbus_get_string(&r, &result) || !streq(unit, w->unit))
		return;
	snprintf(w->result, sizeof(w->result), "%s", result);
	w->done = 1;
}

static int manager_call(struct bus *b, const char *member, const char *signature,
			const struct buf *body, struct dbus_msg *reply, char *error_name,
			struct err *e)
{
	const struct dbus_msg call = {
		.path = SYSTEMD_PATH,
		.destination = SYSTEMD_NAME,
		.interface = MANAGER_IFACE,
		.member = member,
		.signature = signature,
	};

	return bus_call(b, &call, body, reply, error_name, e);
}

static int open_manager(struct bus *b, bool rootless, struct watch *w, struct err *e)
{
	static const char match[] = "type='signal',sender='" SYSTEMD_NAME
				    "',interface='" MANAGER_IFACE "',member='JobRemoved'";
	const struct dbus_msg add_match = {
		.path = "/org/freedesktop/DBus",
		.destination = "org.freedesktop.DBus",
		.interface = "org.freedesktop.DBus",
		.member = "AddMatch",
		.signature = "s",
	};
	cleanup_with(buf_fini) struct buf body = BUF_INIT(1024);
	const char *address = getenv(rootless ? "DBUS_SESSION_BUS_ADDRESS"
					      : "DBUS_SYSTEM_BUS_ADDRESS");
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char fallback[PATH_MAX] = "unix:path=/run/dbus/system_bus_socket";
	struct dbus_msg reply;

	if (rootless && runtime)
		snprintf(fallback, sizeof(fallback), "unix:path=%s/bus", runtime);
	int r = bus_open(b, address && *address ? address : fallback, e);

	if (r) {
		err_wrap(e, "the systemd cgroup manager");
		return r;
	}
	b->on_signal = on_signal;
	b->arg = w;
	dbus_put_string(&body, match);
	r = bus_call(b, &add_match, &body, &reply, NULL, e);
	if (!r)
		r = manager_call(b, "Subscribe", NULL, NULL, &reply, NULL, e);
	if (r)
		bus_close(b);
	return r;
}

/* A letter, digit or one of the few others that a unit name may have. */
static bool valid_name(const char *s, size_t n)
{
	if (!n || n > UNIT_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@",
			    s[i]))
			return false;
	return true;
}

int cgroup_systemd_plan(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e)
{
	const char *path = wish->path && *wish->path ? wish->path : NULL;
	const char *first = path ? strchr(path, ':') : NULL,
		   *second = first ? strchr(first + 1, ':') : NULL;
	char unit[2 * UNIT_NAME_MAX];

	if (path && !second)
		return err_set(e, -EINVAL,
			       "linux.cgroupsPath: '%s': the systemd cgroup manager wants "
			       "slice:prefix:name",
			       path);
	size_t slice_n = path ? (size_t)(first - path) : 0,
	       prefix_n = path ? (size_t)(second - first - 1) : 0;

	if (!path)
		snprintf(unit, sizeof(unit), "warren-%.200s.scope", wish->id);
	else if (str_ends(second + 1, ".slice"))
		return err_set(e, -EOPNOTSUPP,
			       "linux.cgroupsPath: '%s': a slice cannot hold processes", path);
	else
		snprintf(unit, sizeof(unit), "%.*s%s%.200s.scope", (int)MIN(prefix_n, (size_t)200),
			 first + 1, prefix_n ? "-" : "", second + 1);
	if (!valid_name(unit, strlen(unit)) ||
	    (slice_n &&
	     (!valid_name(path, slice_n) || slice_n < 7 || memcmp(first - 6, ".slice", 6))))
		return err_set(e, -EINVAL,
			       "linux.cgroupsPath: '%s': not the name of a slice and a scope",
			       path ? path : wish->id);
	cg->unit = strdup(unit);
	return cg->unit ? 0 : err_sys(e, -ENOMEM, "cgroup");
}

/* One (sv) of a property list; the caller puts the value after the signature. */
static void property(struct buf *b, const char *name, const char *signature)
{
	dbus_put_struct(b);
	dbus_put_string(b, name);
	dbus_put_signature(b, signature);
}

static void property_u64(struct buf *b, const char *name, uint64_t v)
{
	property(b, name, "t");
	dbus_put_u64(b, v);
}

static void property_bool(struct buf *b, const char *name, bool v)
{
	property(b, name, "b");
	dbus_put_bool(b, v);
}

static uint64_t or_infinity(int64_t v)
{
	return v < 0 ? UINT64_MAX : (uint64_t)v;
}

static void property_quota(struct buf *b, uint64_t quota, uint64_t period)
{
	/* systemd rounds to 10 ms of CPU a second; so that it does not end below what was asked. */
	if (quota != UINT64_MAX)
		quota = (quota * 1000000 / period + 9999) / 10000 * 10000;
	property_u64(b, "CPUQuotaPerSecUSec", quota);
	property_u64(b, "CPUQuotaPeriodUSec", period);
}

/* A list of CPUs or memory nodes. A wrong one is left to the kernel's own answer. */
static void property_set(struct buf *b, const char *name, const char *list)
{
	uint8_t set[128] = { 0 };
	int n = str_to_set(list, set, 8 * sizeof(set));

	if (n <= 0)
		return;
	property(b, name, "ay");
	size_t bytes = dbus_array_begin(b, 1);

	buf_add(b, set, (size_t)n);
	dbus_array_end(b, bytes, 1);
}

/* linux.resources.unified: what systemd has a property for. It would undo the others of these controllers when it
 * writes its own. */
static void unified_properties(struct buf *b, const struct oci_resources *r)
{
	static const struct {
		const char *key, *name;
	} numbers[] = {
		{ "memory.min", "MemoryMin" },	 { "memory.low", "MemoryLow" },
		{ "memory.high", "MemoryHigh" }, { "memory.max", "MemoryMax" },
		{ "pids.max", "TasksMax" },	 { "memory.swap.max", "MemorySwapMax" },
		{ "cpu.weight", "CPUWeight" },
	};

	for (size_t i = 0; i < r->unified.n; i++) {
		const char *key = r->unified.v[i].key, *value = r->unified.v[i].value;
		uint64_t v = UINT64_MAX, period = 100000;

		for (size_t k = 0; k < ARRAY_SIZE(numbers); k++)
			if (streq(key, numbers[k].key) &&
			    (streq(value, "max") || !str_to_u64(value, &v)))
				property_u64(b, numbers[k].name, v);
		if (streq(key, "cpu.max") &&
		    (str_after(value, "max") || sscanf(value, "%" SCNu64, &v) == 1)) {
			sscanf(value, "%*s %" SCNu64, &period);
			property_quota(b, v, period ? period : 100000);
		} else if (streq(key, "cpuset.cpus")) {
			property_set(b, "AllowedCPUs", value);
		} else if (streq(key, "cpuset.mems")) {
			property_set(b, "AllowedMemoryNodes", value);
		}
	}
}

/* The limits that systemd knows, so that it keeps them. */
static void limit_properties(struct buf *b, const struct oci_resources *r, bool v2)
{
	const struct oci_num *limit = &r->memory.limit, *swap = &r->memory.swap;

	if (limit->set && limit->v)
		property_u64(b, v2 ? "MemoryMax" : "MemoryLimit", or_infinity(limit->v));
	if (v2 && r->memory.reservation.set && r->memory.reservation.v)
		property_u64(b, "MemoryLow", or_infinity(r->memory.reservation.v));
	if (v2 && swap->set && swap->v &&
	    (swap->v < 0 || (limit->set && limit->v > 0 && swap->v >= limit->v)))
		property_u64(b, "MemorySwapMax",
			     swap->v < 0 ? UINT64_MAX : (uint64_t)(swap->v - limit->v));
	if (r->cpu.idle.set && r->cpu.idle.v && v2)
		property_u64(b, "CPUWeight", 0);
	else if (r->cpu.shares.set && r->cpu.shares.v)
		property_u64(b, v2 ? "CPUWeight" : "CPUShares",
			     v2 ? cgroup_weight_of_shares((uint64_t)r->cpu.shares.v)
				: (uint64_t)r->cpu.shares.v);
	if (r->cpu.quota.set && r->cpu.quota.v)
		property_quota(b, or_infinity(r->cpu.quota.v),
			       r->cpu.period.set && r->cpu.period.v ? (uint64_t)r->cpu.period.v
								    : 100000);
	if (v2 && r->cpu.cpus && *r->cpu.cpus)
		property_set(b, "AllowedCPUs", r->cpu.cpus);
	if (v2 && r->cpu.mems && *r->cpu.mems)
		property_set(b, "AllowedMemoryNodes", r->cpu.mems);
	if (r->pids_limit.set)
		property_u64(b, "TasksMax",
			     r->pids_limit.v > 0 ? (uint64_t)r->pids_limit.v : UINT64_MAX);
	if (r->blkio.weight.set && r->blkio.weight.v)
		property_u64(b, v2 ? "IOWeight" : "BlockIOWeight",
			     v2 ? cgroup_weight_of_blkio((uint64_t)r->blkio.weight.v)
				: (uint64_t)r->blkio.weight.v);
	if (v2)
		unified_properties(b, r);
}

static bool has_v2(void)
{
	const struct cgroup_layout *l = cgroup_layout_get(NULL);
	bool v1 = false, v2 = false;

	for (int i = 0; l && i < l->n; i++) {
		v1 |= !l->h[i].v2 && l->h[i].controllers != CGROUP_SYSTEMD;
		v2 |= l->h[i].v2;
	}
	return v2 && !v1;
}

static void scope_body(struct buf *b, const struct cgroup *cg, const struct cgroup_wish *wish,
		       pid_t pid)
{
	const char *path = wish->path && *wish->path ? wish->path : NULL;
	size_t slice_n = path ? strcspn(path, ":") : 0;
	char slice[UNIT_NAME_MAX + 1] = "";

	if (slice_n)
		snprintf(slice, sizeof(slice), "%.*s", (int)slice_n, path);
	else
		snprintf(slice, sizeof(slice), "%s",
			 wish->rootless ? "user.slice" : "system.slice");
	dbus_put_string(b, cg->unit);
	dbus_put_string(b, "replace");
	size_t props = dbus_array_begin(b, 8);

	property(b, "Description", "s");
	dbus_put_string(b, "Warren container");
	property(b, "Slice", "s");
	dbus_put_string(b, slice);
	property(b, "PIDs", "au");
	size_t pids = dbus_array_begin(b, 4);

	dbus_put_u32(b, (uint32_t)pid);
	dbus_array_end(b, pids, 4);
	property_bool(b, "Delegate", true);
	property_bool(b, "DefaultDependencies", false);
	property_bool(b, "CPUAccounting", true);
	property_bool(b, "MemoryAccounting", true);
	property_bool(b, "TasksAccounting", true);
	property_bool(b, has_v2() ? "IOAccounting" : "BlockIOAccounting", true);
	if (wish->resources)
		limit_properties(b, wish->resources, has_v2());
	dbus_array_end(b, props, 8);
	/* No auxiliary units: a(sa(sv)) */
	size_t aux = dbus_array_begin(b, 8);

	dbus_array_end(b, aux, 8);
}

/* Where systemd put the scope: the property ControlGroup of the unit. */
static int control_group(struct bus *b, const char *unit, char path[PATH_MAX], struct err *e)
{
	struct dbus_msg get = {
		.destination = SYSTEMD_NAME,
		.interface = "org.freedesktop.DBus.Properties",
		.member = "Get",
		.signature = "ss",
	};
	cleanup_with(buf_fini) struct buf name = BUF_INIT(1024);
	cleanup_with(buf_fini) struct buf body = BUF_INIT(1024);
	struct dbus_msg reply;
	const char *s;

	dbus_put_string(&name, unit);
	int r = manager_call(b, "GetUnit", "s", &name, &reply, NULL, e);

	if (r)
		return r;
	struct dbus_reader rd = { .p = reply.body, .n = reply.body_n };

	if (dbus_get_string(&rd, &s))
		return err_set(e, -EBADMSG, "systemd: GetUnit: malformed answer");
	cleanup_free char *object = strdup(s);

	if (!object)
		return err_sys(e, -ENOMEM, "systemd");
	get.path = object;
	dbus_put_string(&body, "org.freedesktop.systemd1.Scope");
	dbus_put_string(&body, "ControlGroup");
	r = bus_call(b, &get, &body, &reply, NULL, e);
	if (r)
		return r;
	rd = (struct dbus_reader){ .p = reply.body, .n = reply.body_n };
	if (dbus_get_signature(&rd, &s) || !streq(s, "s") || dbus_get_string(&rd, &s) ||
	    *s != '/' || !s[1])
		return err_set(e, -EBADMSG, "systemd: scope '%s' has no control group", unit);
	return cgroup_path_clean(path, PATH_MAX, "/", s);
}

static int wait_for_job(struct bus *b, struct watch *w, const char *verb, struct err *e)
{
	int r = bus_wait(b, &w->done, now_ns() + JOB_SECONDS * 1000000000ULL, e);

	if (!r && !streq(w->result, "done") && !streq(w->result, "skipped"))
		r = err_set(e, -EREMOTEIO, "the job ended as '%s'", w->result);
	if (r)
		err_wrap(e, "systemd: %s '%s'", verb, w->unit);
	return r;
}

int cgroup_systemd_start(struct cgroup *cg, const struct cgroup_wish *wish, pid_t pid,
			 char path[PATH_MAX], struct err *e)
{
	cleanup_with(buf_fini) struct buf body = BUF_INIT(1 << 16);
	struct watch w = { .unit = cg->unit };
	char error_name[64];
	struct dbus_msg reply;
	struct bus b;
	int r = open_manager(&b, wish->rootless, &w, e);

	if (r)
		return r;
	scope_body(&body, cg, wish, pid);
	r = manager_call(&b, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body, &reply, error_name,
			 e);
	if (r && streq(error_name, SYSTEMD_NAME ".UnitExists")) {
		cleanup_with(buf_fini) struct buf name = BUF_INIT(1024);

		/* A scope of that name that failed earlier is still remembered: once more without it. */
		dbus_put_string(&name, cg->unit);
		if (e)
			err_clear(e);
		if (!manager_call(&b, "ResetFailedUnit", "s", &name, &reply, NULL, NULL))
			r = manager_call(&b, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body,
					 &reply, NULL, e);
	}
	if (!r)
		r = wait_for_job(&b, &w, "start", e);
	if (!r)
		r = control_group(&b, cg->unit, path, e);
	bus_close(&b);
	return r;
}

int cgroup_systemd_update(const struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	cleanup_with(buf_fini) struct buf body = BUF_INIT(1 << 16);
	struct watch w = { .unit = cg->unit };
	struct dbus_msg reply;
	struct bus b;

	dbus_put_string(&body, cg->unit);
	dbus_put_bool(&body, true); /* until the next boot */
	size_t props = dbus_array_begin(&body, 8);
	size_t before = body.len;

	limit_properties(&body, r, has_v2());
	dbus_array_end(&body, props, 8);
	if (body.len == before)
		return 0;
	int rc = open_manager(&b, cg->rootless, &w, e);

	if (rc)
		return rc;
	rc = manager_call(&b, "SetUnitProperties", "sba(sv)", &body, &reply, NULL, e);
	bus_close(&b);
	return rc;
}

int cgroup_systemd_stop(const struct cgroup *cg, struct err *e)
{
	cleanup_with(buf_fini) struct buf body = BUF_INIT(1024);
	struct watch w = { .unit = cg->unit };
	char error_name[64];
	struct dbus_msg reply;
	struct bus b;

	if (!cg->unit || !cg->n)
		return 0;
	int r = open_manager(&b, cg->rootless, &w, e);

	if (r)
		return r;
	dbus_put_string(&body, cg->unit);
	dbus_put_string(&body, "replace");
	r = manager_call(&b, "StopUnit", "ss", &body, &reply, error_name, e);
	/* An empty scope goes by itself, so it is mostly gone by now. */
	if (r && streq(error_name, SYSTEMD_NAME ".NoSuchUnit")) {
		if (e)
			err_clear(e);
		r = 0;
	} else if (!r) {
		r = wait_for_job(&b, &w, "stop", e);
	}
	bus_close(&b);
	return r;
}
