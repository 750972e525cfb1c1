/*
 * The limits of cgroup v2, whose files have other names, scales and units than the specification: shares
 * become weights, "memory and swap" becomes swap alone, -1 becomes "max".
 *
 * A controller works in a directory only when every ancestor has handed it down by cgroup.subtree_control;
 * cgroup_v2_enable() does that, and leaves out what an ancestor refuses (one with processes of its own cannot
 * hand down domain controllers). It is an error later, and only when a limit needs it.
 *
 * Trust: as cgroup_file.c. Threads: any. #syscalls: openat read write close
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/util.h"
#include "container/cgroup_int.h"
#include "os/file.h"

/* The quadratic in log2(shares) that runtimes agreed on in 2025: 2 -> 1, 1024 -> 100, 262144 -> 10000. */
uint64_t cgroup_weight_of_shares(uint64_t shares)
{
	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	double l = log2((double)shares);

	return (uint64_t)ceil(pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0));
}

/* 10..1000 -> 1..10000 */
uint64_t cgroup_weight_of_blkio(uint64_t weight)
{
	if (weight <= 10)
		return 1;
	return MIN(1 + (weight - 10) * 9999 / 990, (uint64_t)10000);
}

static uint32_t controllers_in(const char *dir, const char *file)
{
	const struct cgroup_dir d = { .path = (char *)(uintptr_t)dir };
	cleanup_with(buf_fini) struct buf b = BUF_INIT(4096);

	return cgroup_file_read(&d, file, &b) ? 0 : cgroup_controllers(buf_str(&b));
}

/* All in one write, which is all or nothing; if that is refused, one by one. */
static void hand_down(const char *dir, uint32_t bits)
{
	static const struct {
		uint32_t bit;
		const char *text;
	} words[] = {
		{ CGROUP_CPUSET, "+cpuset" }, { CGROUP_CPU, "+cpu" },
		{ CGROUP_BLKIO, "+io" },      { CGROUP_MEMORY, "+memory" },
		{ CGROUP_PIDS, "+pids" },     { CGROUP_HUGETLB, "+hugetlb" },
		{ CGROUP_RDMA, "+rdma" },     { CGROUP_MISC, "+misc" },
		{ CGROUP_DMEM, "+dmem" },
	};
	cleanup_with(buf_fini) struct buf all = BUF_INIT(256);
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (bits & words[i].bit)
			buf_addf(&all, "%s%s", all.len ? " " : "", words[i].text);
	int n = snprintf(path, sizeof(path), "%s/cgroup.subtree_control", dir);

	if (!all.len || n < 0 || (size_t)n >= sizeof(path) ||
	    !file_poke(AT_FDCWD, path, buf_str(&all)))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		int r = bits & words[i].bit ? file_poke(AT_FDCWD, path, words[i].text) : 0;

		if (r)
			log_debug("%s: '%s': %s", path, words[i].text, strerror(-r));
	}
}

uint32_t cgroup_v2_enable(const char *mount, const char *path, uint32_t wanted)
{
	char dir[PATH_MAX];
	size_t top = strlen(mount), len = strlen(path);

	if (len >= sizeof(dir))
		return 0;
	for (size_t at = top; at < len; at++) {
		if (at != top && path[at] != '/')
			continue;
		memcpy(dir, path, at);
		dir[at] = '\0';
		uint32_t missing = wanted & ~controllers_in(dir, "cgroup.subtree_control");

		if (missing)
			hand_down(dir, missing & controllers_in(dir, "cgroup.controllers"));
	}
	return controllers_in(path, "cgroup.controllers");
}

static int write_max(const struct cgroup_dir *d, const char *file, const char *field, int64_t v,
		     struct err *e)
{
	return v < 0 ? cgroup_file_write(d, file, field, e, "max")
		     : cgroup_file_write(d, file, field, e, "%" PRId64, v);
}

/* memory.swap of the specification counts memory and swap together. */
static int apply_swap(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	const struct oci_num *limit = &r->memory.limit, *swap = &r->memory.swap;
	uint64_t memory = 0;

	if (!swap->set || !swap->v)
		return 0;
	if (swap->v < 0) {
		/* A kernel without swap accounting cannot limit it either. */
		return cgroup_file_exists(d, "memory.swap.max")
			       ? write_max(d, "memory.swap.max", "memory.swap", -1, e)
			       : 0;
	}
	if (limit->set)
		memory = limit->v < 0 ? UINT64_MAX : (uint64_t)limit->v;
	else if (cgroup_file_u64(d, "memory.max", &memory))
		memory = UINT64_MAX;
	if (memory == UINT64_MAX)
		return err_set(
			e, -EINVAL,
			"linux.resources.memory.swap: needs a memory limit beside it on cgroup v2");
	if ((uint64_t)swap->v < memory)
		return err_set(e, -EINVAL,
			       "linux.resources.memory.swap: %" PRId64
			       " is less than the memory limit %" PRIu64,
			       swap->v, memory);
	return write_max(d, "memory.swap.max", "memory.swap", swap->v - (int64_t)memory, e);
}

static int not_on_v2(const char *field, struct err *e)
{
	return err_set(e, -EOPNOTSUPP, "linux.resources.%s: cgroup v2 does not have it", field);
}

static int apply_memory(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	int rc = apply_swap(d, r, e);

	if (!rc && r->memory.limit.set && r->memory.limit.v)
		rc = write_max(d, "memory.max", "memory.limit", r->memory.limit.v, e);
	if (!rc && r->memory.reservation.set && r->memory.reservation.v)
		rc = write_max(d, "memory.low", "memory.reservation", r->memory.reservation.v, e);
	/* No longer the specification's, and part of memory.limit here. */
	if (r->memory.kernel.set || r->memory.kernel_tcp.set)
		log_warn("linux.resources.memory.kernel: cgroup v2 does not limit kernel memory "
			 "alone");
	if (!rc && r->memory.swappiness.set)
		rc = not_on_v2("memory.swappiness", e);
	if (!rc && r->memory.disable_oom_killer.set && r->memory.disable_oom_killer.v)
		rc = not_on_v2("memory.disableOOMKiller", e);
	return rc;
}

static int apply_bandwidth(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	const struct oci_num *quota = &r->cpu.quota, *period = &r->cpu.period,
			     *burst = &r->cpu.burst;
	bool has_quota = quota->set && quota->v, has_period = period->set && period->v;
	int rc = 0;

	if (has_quota && burst->set && cgroup_file_exists(d, "cpu.max.burst"))
		cgroup_file_write(d, "cpu.max.burst", "cpu.burst", NULL, "0");
	if (has_quota || has_period) {
		cleanup_with(buf_fini) struct buf text = BUF_INIT(128);

		if (has_quota && quota->v > 0) {
			buf_addf(&text, "%" PRId64, quota->v);
		} else if (has_quota) {
			buf_adds(&text, "max");
		} else {
			cleanup_with(buf_fini) struct buf old = BUF_INIT(64);

			/* The first word of cpu.max stays as it is. */
			if (cgroup_file_read(d, "cpu.max", &old) || !*buf_str(&old))
				buf_adds(&text, "max");
			else
				buf_add(&text, old.data, strcspn(old.data, " \n"));
		}
		if (has_period)
			buf_addf(&text, " %" PRIu64, (uint64_t)period->v);
		rc = cgroup_file_write(d, "cpu.max", has_quota ? "cpu.quota" : "cpu.period", e,
				       "%s", buf_str(&text));
	}
	if (!rc && burst->set)
		rc = cgroup_file_write(d, "cpu.max.burst", "cpu.burst", e, "%" PRIu64,
				       (uint64_t)burst->v);
	return rc;
}

static int apply_cpu(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	int rc = cgroup_apply_shares(d, r, "cpu.weight",
				     cgroup_weight_of_shares((uint64_t)r->cpu.shares.v), e);

	if ((r->cpu.realtime_runtime.set && r->cpu.realtime_runtime.v) ||
	    (r->cpu.realtime_period.set && r->cpu.realtime_period.v))
		return not_on_v2("cpu.realtimeRuntime", e);
	return rc ? rc : apply_bandwidth(d, r, e);
}

static int apply_weights(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	bool bfq = cgroup_file_exists(d, "io.bfq.weight");
	const char *file = bfq ? "io.bfq.weight" : "io.weight";
	int rc = 0;

	if (r->blkio.weight.set && r->blkio.weight.v) {
		uint64_t w = (uint64_t)r->blkio.weight.v;

		rc = cgroup_file_write(d, file, "blockIO.weight", e, "%" PRIu64,
				       bfq ? w : cgroup_weight_of_blkio(w));
	}
	if (!rc && r->blkio.leaf_weight.set && r->blkio.leaf_weight.v)
		rc = not_on_v2("blockIO.leafWeight", e);
	for (size_t i = 0; i < r->blkio.weight_device_n && !rc; i++) {
		const struct oci_weight_device *w = &r->blkio.weight_device[i];
		uint64_t v = (uint64_t)w->weight.v;

		if (w->leaf_weight.set && w->leaf_weight.v)
			return not_on_v2("blockIO.weightDevice.leafWeight", e);
		if (w->weight.set)
			rc = cgroup_file_write(d, file, "blockIO.weightDevice", e,
					       "%" PRId64 ":%" PRId64 " %" PRIu64, w->major,
					       w->minor, bfq ? v : cgroup_weight_of_blkio(v));
	}
	return rc;
}

static int apply_io(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	const struct {
		const struct oci_throttles *t;
		const char *key, *field;
	} rows[] = {
		{ &r->blkio.read_bps, "rbps", "blockIO.throttleReadBpsDevice" },
		{ &r->blkio.write_bps, "wbps", "blockIO.throttleWriteBpsDevice" },
		{ &r->blkio.read_iops, "riops", "blockIO.throttleReadIOPSDevice" },
		{ &r->blkio.write_iops, "wiops", "blockIO.throttleWriteIOPSDevice" },
	};
	int rc = apply_weights(d, r, e);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t j = 0; j < rows[i].t->n && !rc; j++) {
			const struct oci_throttle *t = &rows[i].t->v[j];

			/* 0 took a limit away on v1. */
			rc = t->rate ? cgroup_file_write(d, "io.max", rows[i].field, e,
							 "%" PRId64 ":%" PRId64 " %s=%" PRIu64,
							 t->major, t->minor, rows[i].key, t->rate)
				     : cgroup_file_write(d, "io.max", rows[i].field, e,
							 "%" PRId64 ":%" PRId64 " %s=max", t->major,
							 t->minor, rows[i].key);
		}
	return rc;
}

static int apply_pids(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	if (!r->pids_limit.set)
		return 0;
	return write_max(d, "pids.max", "pids.limit", r->pids_limit.v > 0 ? r->pids_limit.v : -1,
			 e);
}

static int apply_hugetlb(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	return cgroup_apply_hugetlb(d, r, "max", e);
}

/* Files of the v2 directory by name, after all else so that they have the last word. */
static int apply_unified(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	for (size_t i = 0; i < r->unified.n; i++) {
		const char *key = r->unified.v[i].key, *value = r->unified.v[i].value;
		char field[256];

		snprintf(field, sizeof(field), "unified.%s", key);
		if (strchr(key, '/') || !strchr(key, '.') || *key == '.')
			return err_set(e, -EINVAL,
				       "linux.resources.%s: not the name of a cgroup file", field);
		/* Some files take one line a write (io.max). */
		while (*value) {
			size_t n = strcspn(value, "\n");
			int rc = cgroup_file_write(d, key, field, e, "%.*s",
						   (int)MIN(n, (size_t)4096), value);

			if (rc)
				return rc;
			value += n;
			value += *value == '\n';
		}
	}
	return 0;
}

int cgroup_v2_apply(const struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	static const struct {
		uint32_t controller;
		int (*fn)(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e);
	} rows[] = {
		{ CGROUP_CPUSET, cgroup_apply_cpuset },
		{ CGROUP_MEMORY, apply_memory },
		{ CGROUP_CPU, apply_cpu },
		{ CGROUP_BLKIO, apply_io },
		{ CGROUP_PIDS, apply_pids },
		{ CGROUP_HUGETLB, apply_hugetlb },
	};
	const struct cgroup_dir *d = cgroup_dir_v2(cg);
	int rc = 0;

	if (!d)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows) && !rc; i++)
		if (d->controllers & rows[i].controller)
			rc = rows[i].fn(d, r, e);
	return rc ? rc : apply_unified(d, r, e);
}
