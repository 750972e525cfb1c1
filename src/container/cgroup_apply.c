/*
 * The limits of `linux.resources`, given to whichever version has the controller.
 *
 * A limit whose controller the host (or the delegated subtree of an ordinary user) does not have is an error
 * that names the member: a limit that was asked for is never dropped in silence. What nobody asked for is
 * simply not there.
 *
 * Trust: as cgroup_file.c. Threads: any. #syscalls: openat read write close bpf
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "container/cgroup_int.h"

/* The first member that needs a controller outside of `have`, NULL when there is none. */
static const char *lacks(const struct oci_resources *r, uint32_t have, uint32_t *controller)
{
	const struct {
		bool asked;
		uint32_t controller;
		const char *field;
	} rows[] = {
		{ r->memory.limit.set && r->memory.limit.v > 0, CGROUP_MEMORY, "memory.limit" },
		{ r->memory.swap.set && r->memory.swap.v > 0, CGROUP_MEMORY, "memory.swap" },
		{ r->memory.reservation.set && r->memory.reservation.v > 0, CGROUP_MEMORY,
		  "memory.reservation" },
		{ r->memory.swappiness.set, CGROUP_MEMORY, "memory.swappiness" },
		{ r->memory.kernel_tcp.set && r->memory.kernel_tcp.v > 0, CGROUP_MEMORY,
		  "memory.kernelTCP" },
		{ r->memory.disable_oom_killer.set && r->memory.disable_oom_killer.v, CGROUP_MEMORY,
		  "memory.disableOOMKiller" },
		{ r->cpu.shares.set && r->cpu.shares.v, CGROUP_CPU, "cpu.shares" },
		{ r->cpu.quota.set && r->cpu.quota.v > 0, CGROUP_CPU, "cpu.quota" },
		{ r->cpu.burst.set && r->cpu.burst.v, CGROUP_CPU, "cpu.burst" },
		{ r->cpu.idle.set && r->cpu.idle.v, CGROUP_CPU, "cpu.idle" },
		{ r->cpu.realtime_period.set && r->cpu.realtime_period.v, CGROUP_CPU,
		  "cpu.realtimePeriod" },
		{ r->cpu.realtime_runtime.set && r->cpu.realtime_runtime.v, CGROUP_CPU,
		  "cpu.realtimeRuntime" },
		{ r->cpu.cpus && *r->cpu.cpus, CGROUP_CPUSET, "cpu.cpus" },
		{ r->cpu.mems && *r->cpu.mems, CGROUP_CPUSET, "cpu.mems" },
		{ r->pids_limit.set && r->pids_limit.v > 0, CGROUP_PIDS, "pids.limit" },
		{ r->blkio.weight.set && r->blkio.weight.v, CGROUP_BLKIO, "blockIO.weight" },
		{ r->blkio.leaf_weight.set && r->blkio.leaf_weight.v, CGROUP_BLKIO,
		  "blockIO.leafWeight" },
		{ r->blkio.weight_device_n != 0, CGROUP_BLKIO, "blockIO.weightDevice" },
		{ r->blkio.read_bps.n != 0, CGROUP_BLKIO, "blockIO.throttleReadBpsDevice" },
		{ r->blkio.write_bps.n != 0, CGROUP_BLKIO, "blockIO.throttleWriteBpsDevice" },
		{ r->blkio.read_iops.n != 0, CGROUP_BLKIO, "blockIO.throttleReadIOPSDevice" },
		{ r->blkio.write_iops.n != 0, CGROUP_BLKIO, "blockIO.throttleWriteIOPSDevice" },
		{ r->hugepages_n != 0, CGROUP_HUGETLB, "hugepageLimits" },
		{ r->network.class_id.set && r->network.class_id.v, CGROUP_NET_CLS,
		  "network.classID" },
		{ r->network.priorities_n != 0, CGROUP_NET_PRIO, "network.priorities" },
		{ r->rdma_n != 0, CGROUP_RDMA, "rdma" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].asked && !(have & rows[i].controller)) {
			*controller = rows[i].controller;
			return rows[i].field;
		}
	return NULL;
}

static int check_controllers(const struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	uint32_t have = 0, controller = 0;

	for (int i = 0; i < cg->n; i++)
		have |= cg->dirs[i].controllers;
	const char *field = lacks(r, have, &controller);
	const char *where = cg->rootless ? "is delegated to this user. See CG-03 of 'warren doctor'"
					 : "on this host";

	if (field)
		return err_set(e, -EOPNOTSUPP, "linux.resources.%s: no %s controller %s", field,
			       cgroup_controller_name(controller), where);
	if (r->unified.n && !cgroup_dir_v2(cg))
		return err_set(e, -EOPNOTSUPP, "linux.resources.unified: %s",
			       cg->rootless ? "no cgroup v2 directory is delegated to this user"
					    : "this host has no cgroup v2");
	return 0;
}

/* memory.checkBeforeUpdate: not below what is in use, because the kernel would kill or stall. */
static int check_memory(const struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	const struct cgroup_dir *d = cgroup_dir_of(cg, CGROUP_MEMORY);
	uint64_t usage = 0;

	if (!r->memory.check_before_update.v || !r->memory.limit.set || r->memory.limit.v <= 0 ||
	    !d)
		return 0;
	if (cgroup_file_u64(d, d->v2 ? "memory.current" : "memory.usage_in_bytes", &usage) ||
	    usage <= (uint64_t)r->memory.limit.v)
		return 0;
	return err_set(e, -EBUSY,
		       "linux.resources.memory.limit: %" PRId64 " is less than the %" PRIu64
		       " bytes in use, and memory.checkBeforeUpdate is set",
		       r->memory.limit.v, usage);
}

int cgroup_apply_cpuset(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	int rc = 0;

	if (r->cpu.cpus && *r->cpu.cpus)
		rc = cgroup_file_write(d, "cpuset.cpus", "cpu.cpus", e, "%s", r->cpu.cpus);
	if (!rc && r->cpu.mems && *r->cpu.mems)
		rc = cgroup_file_write(d, "cpuset.mems", "cpu.mems", e, "%s", r->cpu.mems);
	return rc;
}

/* An idle group has no shares; 0 means unset. */
int cgroup_apply_shares(const struct cgroup_dir *d, const struct oci_resources *r, const char *file,
			uint64_t value, struct err *e)
{
	int rc = 0;

	if (r->cpu.idle.set)
		rc = cgroup_file_write(d, "cpu.idle", "cpu.idle", e, "%" PRId64, r->cpu.idle.v);
	if (!rc && r->cpu.shares.set && r->cpu.shares.v && !(r->cpu.idle.set && r->cpu.idle.v))
		rc = cgroup_file_write(d, file, "cpu.shares", e, "%" PRIu64, value);
	return rc;
}

/* Reservations count too where the kernel can (5.7): otherwise a mapping within the limit dies by SIGBUS at its first
 * touch instead of failing at mmap. */
int cgroup_apply_hugetlb(const struct cgroup_dir *d, const struct oci_resources *r,
			 const char *name, struct err *e)
{
	static const char *const kinds[] = { "", "rsvd." };
	char file[96];
	int rc = 0;

	for (size_t i = 0; i < r->hugepages_n; i++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds) && !rc; k++) {
			const struct oci_hugepage_limit *h = &r->hugepages[i];

			snprintf(file, sizeof(file), "hugetlb.%s.%s%s", h->page_size, kinds[k],
				 name);
			if (!*kinds[k] || cgroup_file_exists(d, file))
				rc = cgroup_file_write(d, file, "hugepageLimits", e, "%" PRIu64,
						       h->limit);
		}
	return rc;
}

static int apply_rdma(const struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	const struct cgroup_dir *d = cgroup_dir_of(cg, CGROUP_RDMA);

	for (size_t i = 0; d && i < r->rdma_n; i++) {
		const struct oci_rdma *x = &r->rdma[i];
		cleanup_with(buf_fini) struct buf b = BUF_INIT(512);

		buf_adds(&b, x->device);
		if (x->hca_handles.set)
			buf_addf(&b, " hca_handle=%" PRIu64, (uint64_t)x->hca_handles.v);
		if (x->hca_objects.set)
			buf_addf(&b, " hca_object=%" PRIu64, (uint64_t)x->hca_objects.v);
		int rc = cgroup_file_write(d, "rdma.max", "rdma", e, "%s", buf_str(&b));

		if (rc)
			return rc;
	}
	return 0;
}

int cgroup_apply(const struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	int rc = check_controllers(cg, r, e);

	if (!rc)
		rc = check_memory(cg, r, e);
	if (!rc)
		rc = cgroup_v1_apply(cg, r, e);
	if (!rc)
		rc = cgroup_v2_apply(cg, r, e);
	return rc ? rc : apply_rdma(cg, r, e);
}

int cgroup_update(struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	int rc = cgroup_apply(cg, r, e);

	if (!rc && r->devices_n)
		rc = cgroup_devices(cg, r, e);
	if (!rc && cg->manager == CGROUP_MANAGER_SYSTEMD)
		rc = cgroup_systemd_update(cg, r, e);
	return rc;
}
