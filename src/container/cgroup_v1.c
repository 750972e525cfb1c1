/*
 * The limits of cgroup v1: the specification was written for it, so most members are a file of the same name.
 *
 * What needs care: a new cpuset has no cpus and no memory nodes, and lets nobody in until it has some; the
 * kernel demands limit <= memsw limit at any moment, so the order of the two writes depends on the direction;
 * -1 takes a limit away.
 *
 * Trust: as cgroup_file.c. Threads: any. #syscalls: openat read write close
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "container/cgroup_int.h"

/* Fills `file` of a cpuset from the nearest ancestor that has a value, and the ancestors between. */
static int inherit(const char *path, const char *file, int depth, char value[4096])
{
	const struct cgroup_dir d = { .path = (char *)(uintptr_t)path };
	cleanup_with(buf_fini) struct buf b = BUF_INIT(4095);
	char parent[PATH_MAX];
	int r = cgroup_file_read(&d, file, &b);

	if (r)
		return r;
	size_t n = strcspn(buf_str(&b), "\n");

	if (n) {
		memcpy(value, buf_str(&b), n);
		value[n] = '\0';
		return 0;
	}
	const char *slash = strrchr(path, '/');

	if (!depth || !slash || slash == path || (size_t)(slash - path) >= sizeof(parent))
		return -ENOENT;
	memcpy(parent, path, (size_t)(slash - path));
	parent[slash - path] = '\0';
	r = inherit(parent, file, depth - 1, value);
	return r ? r : cgroup_file_write(&d, file, "cpu.cpus", NULL, "%s", value);
}

/* The kernel copies both values into each new child of a directory that says so. Taking them over by hand costs two
 * writes that every scheduler domain hears of. Only where the directory above is ours alone. */
static void let_children_inherit(const char *path)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash || (size_t)(slash - path) >= sizeof(parent))
		return;
	memcpy(parent, path, (size_t)(slash - path));
	parent[slash - path] = '\0';
	const struct cgroup_dir d = { .path = parent };

	cgroup_file_write(&d, "cgroup.clone_children", "cpu.cpus", NULL, "1");
}

int cgroup_v1_prepare(const struct cgroup_dir *d, bool own_parent, struct err *e)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };

	if (!(d->controllers & CGROUP_CPUSET))
		return 0;
	cleanup_with(buf_fini) struct buf now = BUF_INIT(4095);
	bool empty = !cgroup_file_read(d, files[0], &now) && buf_str(&now)[0] == '\n';

	for (size_t i = 0; i < 2; i++) {
		char value[4096];
		int r = inherit(d->path, files[i], 64, value);

		if (r)
			return err_sys(e, r, "%s/%s: inherit from the parent", d->path, files[i]);
	}
	/* For the next one: our own parent has values by now. */
	if (own_parent && empty)
		let_children_inherit(d->path);
	return 0;
}

static int apply_memory(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	const struct oci_num *limit = &r->memory.limit, *swap = &r->memory.swap;
	uint64_t memsw = 0;
	bool swap_first = false;
	int rc = 0;

	if (swap->set && !limit->set && swap->v > 0)
		swap_first = true;
	/* Growing beyond today's memsw limit: that one must make room first. */
	if (swap->set && limit->set && !cgroup_file_u64(d, "memory.memsw.limit_in_bytes", &memsw) &&
	    (limit->v < 0 || (uint64_t)limit->v > memsw))
		swap_first = true;
	for (int pass = 0; pass < 2 && !rc; pass++) {
		if (swap->set && swap->v && (pass == 0) == swap_first)
			rc = cgroup_file_write(d, "memory.memsw.limit_in_bytes", "memory.swap", e,
					       "%" PRId64, swap->v);
		else if (limit->set && (pass == 0) != swap_first)
			rc = cgroup_file_write(d, "memory.limit_in_bytes", "memory.limit", e,
					       "%" PRId64, limit->v);
	}
	if (!rc && r->memory.reservation.set)
		rc = cgroup_file_write(d, "memory.soft_limit_in_bytes", "memory.reservation", e,
				       "%" PRId64, r->memory.reservation.v);
	/* The kernel has dropped this limit, and the specification says not to use it. */
	if (!rc && r->memory.kernel.set &&
	    cgroup_file_write(d, "memory.kmem.limit_in_bytes", "memory.kernel", NULL, "%" PRId64,
			      r->memory.kernel.v))
		log_warn("linux.resources.memory.kernel: this kernel does not limit kernel memory "
			 "alone");
	if (!rc && r->memory.kernel_tcp.set)
		rc = cgroup_file_write(d, "memory.kmem.tcp.limit_in_bytes", "memory.kernelTCP", e,
				       "%" PRId64, r->memory.kernel_tcp.v);
	if (!rc && r->memory.swappiness.set)
		rc = cgroup_file_write(d, "memory.swappiness", "memory.swappiness", e, "%" PRIu64,
				       (uint64_t)r->memory.swappiness.v);
	if (!rc && r->memory.use_hierarchy.set && r->memory.use_hierarchy.v)
		cgroup_file_write(d, "memory.use_hierarchy", "memory.useHierarchy", NULL, "1");
	if (!rc && r->memory.disable_oom_killer.set)
		rc = cgroup_file_write(d, "memory.oom_control", "memory.disableOOMKiller", e, "%d",
				       r->memory.disable_oom_killer.v);
	return rc;
}

/* A quota below the burst is refused, and so is a burst above the quota: take the burst away first when the
 * direct order fails. */
static int apply_quota(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	const struct oci_num *burst = &r->cpu.burst;
	int rc = 0;

	if (r->cpu.period.set && r->cpu.period.v)
		rc = cgroup_file_write(d, "cpu.cfs_period_us", "cpu.period", e, "%" PRIu64,
				       (uint64_t)r->cpu.period.v);
	if (!rc && r->cpu.quota.set && r->cpu.quota.v) {
		if (burst->set)
			cgroup_file_write(d, "cpu.cfs_burst_us", "cpu.burst", NULL, "0");
		rc = cgroup_file_write(d, "cpu.cfs_quota_us", "cpu.quota", e, "%" PRId64,
				       r->cpu.quota.v < 0 ? -1 : r->cpu.quota.v);
	}
	if (!rc && burst->set)
		rc = cgroup_file_write(d, "cpu.cfs_burst_us", "cpu.burst", e, "%" PRIu64,
				       (uint64_t)burst->v);
	return rc;
}

static int apply_cpu(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	int rc = cgroup_apply_shares(d, r, "cpu.shares", (uint64_t)r->cpu.shares.v, e);

	if (!rc)
		rc = apply_quota(d, r, e);
	if (!rc && r->cpu.realtime_period.set && r->cpu.realtime_period.v)
		rc = cgroup_file_write(d, "cpu.rt_period_us", "cpu.realtimePeriod", e, "%" PRIu64,
				       (uint64_t)r->cpu.realtime_period.v);
	if (!rc && r->cpu.realtime_runtime.set && r->cpu.realtime_runtime.v)
		rc = cgroup_file_write(d, "cpu.rt_runtime_us", "cpu.realtimeRuntime", e, "%" PRId64,
				       r->cpu.realtime_runtime.v);
	return rc;
}

static int apply_throttles(const struct cgroup_dir *d, const struct oci_throttles *t,
			   const char *file, const char *field, struct err *e)
{
	for (size_t i = 0; i < t->n; i++) {
		int rc = cgroup_file_write(d, file, field, e, "%" PRId64 ":%" PRId64 " %" PRIu64,
					   t->v[i].major, t->v[i].minor, t->v[i].rate);
		if (rc)
			return rc;
	}
	return 0;
}

/* The proportional weights are BFQ's since CFQ went away in Linux 5.0; older kernels have the plain names. */
static int apply_weights(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	bool bfq = !cgroup_file_exists(d, "blkio.weight");
	const char *file = bfq ? "blkio.bfq.weight" : "blkio.weight";
	const char *device_file = bfq ? "blkio.bfq.weight_device" : "blkio.weight_device";
	int rc = 0;

	if (r->blkio.weight.set && r->blkio.weight.v)
		rc = cgroup_file_write(d, file, "blockIO.weight", e, "%" PRIu64,
				       (uint64_t)r->blkio.weight.v);
	if (!rc && r->blkio.leaf_weight.set && r->blkio.leaf_weight.v)
		rc = cgroup_file_write(d, "blkio.leaf_weight", "blockIO.leafWeight", e, "%" PRIu64,
				       (uint64_t)r->blkio.leaf_weight.v);
	for (size_t i = 0; i < r->blkio.weight_device_n && !rc; i++) {
		const struct oci_weight_device *w = &r->blkio.weight_device[i];

		if (w->weight.set)
			rc = cgroup_file_write(d, device_file, "blockIO.weightDevice", e,
					       "%" PRId64 ":%" PRId64 " %" PRIu64, w->major,
					       w->minor, (uint64_t)w->weight.v);
		if (!rc && w->leaf_weight.set)
			rc = cgroup_file_write(d, "blkio.leaf_weight_device",
					       "blockIO.weightDevice", e,
					       "%" PRId64 ":%" PRId64 " %" PRIu64, w->major,
					       w->minor, (uint64_t)w->leaf_weight.v);
	}
	return rc;
}

static int apply_blkio(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	const struct {
		const struct oci_throttles *t;
		const char *file, *field;
	} rows[] = {
		{ &r->blkio.read_bps, "blkio.throttle.read_bps_device",
		  "blockIO.throttleReadBpsDevice" },
		{ &r->blkio.write_bps, "blkio.throttle.write_bps_device",
		  "blockIO.throttleWriteBpsDevice" },
		{ &r->blkio.read_iops, "blkio.throttle.read_iops_device",
		  "blockIO.throttleReadIOPSDevice" },
		{ &r->blkio.write_iops, "blkio.throttle.write_iops_device",
		  "blockIO.throttleWriteIOPSDevice" },
	};
	int rc = apply_weights(d, r, e);

	for (size_t i = 0; i < 4 && !rc; i++)
		rc = apply_throttles(d, rows[i].t, rows[i].file, rows[i].field, e);
	return rc;
}

static int apply_hugetlb(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	return cgroup_apply_hugetlb(d, r, "limit_in_bytes", e);
}

static int apply_network(const struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	const struct cgroup_dir *cls = cgroup_dir_of(cg, CGROUP_NET_CLS);
	const struct cgroup_dir *prio = cgroup_dir_of(cg, CGROUP_NET_PRIO);
	int rc = 0;

	if (cls && r->network.class_id.set)
		rc = cgroup_file_write(cls, "net_cls.classid", "network.classID", e, "%" PRIu64,
				       (uint64_t)r->network.class_id.v);
	for (size_t i = 0; prio && i < r->network.priorities_n && !rc; i++)
		rc = cgroup_file_write(prio, "net_prio.ifpriomap", "network.priorities", e,
				       "%s %" PRIu32, r->network.priorities[i].name,
				       r->network.priorities[i].priority);
	return rc;
}

int cgroup_v1_apply(const struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	static const struct {
		uint32_t controller;
		int (*fn)(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e);
	} rows[] = {
		{ CGROUP_CPUSET, cgroup_apply_cpuset },
		{ CGROUP_MEMORY, apply_memory },
		{ CGROUP_CPU, apply_cpu },
		{ CGROUP_BLKIO, apply_blkio },
		{ CGROUP_HUGETLB, apply_hugetlb },
	};
	const struct cgroup_dir *pids = cgroup_dir_of(cg, CGROUP_PIDS);
	int rc = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++) {
		const struct cgroup_dir *d = cgroup_dir_of(cg, rows[i].controller);

		if (d && !d->v2)
			rc = rows[i].fn(d, r, e);
	}
	/* 0 is "no limit" too: podman says it so, and a container with no process at all makes no sense. */
	if (!rc && pids && !pids->v2 && r->pids_limit.set)
		rc = r->pids_limit.v > 0
			     ? cgroup_file_write(pids, "pids.max", "pids.limit", e, "%" PRId64,
						 r->pids_limit.v)
			     : cgroup_file_write(pids, "pids.max", "pids.limit", e, "max");
	return rc ? rc : apply_network(cg, r, e);
}
