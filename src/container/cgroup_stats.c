/*
 * What a container uses, read from its cgroups: the same members from v1 and v2 files.
 *
 * A controller that is not there leaves its part unset; a file that an older kernel lacks leaves a zero. Nothing
 * here is an error but a cgroup that has gone.
 *
 * Trust: the kernel's text, parsed with limits. Threads: the caller's. #syscalls: openat read close
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "container/cgroup_int.h"

enum { RAW_MAX = 128, IO_MAX = 4096, TICK_NS = 10000000 /* USER_HZ is 100 on x86 */ };

static uint64_t value_of(const struct cgroup_dir *d, const char *file)
{
	uint64_t v = 0;

	return cgroup_file_u64(d, file, &v) ? 0 : v;
}

static uint64_t key_of(const struct cgroup_dir *d, const char *file, const char *key)
{
	uint64_t v = 0;

	return cgroup_file_key(d, file, key, &v) ? 0 : v;
}

/* some avg10=0.00 avg60=0.00 avg300=0.00 total=0 */
static void read_psi(const struct cgroup_dir *d, const char *file, struct oci_psi *psi)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(1024);

	if (cgroup_file_read(d, file, &b))
		return;
	for (int i = 0; i < 2; i++) {
		const char *at = strstr(buf_str(&b), i ? "full " : "some ");
		__typeof__(psi->some) *x = i ? (void *)&psi->full : (void *)&psi->some;

		if (at && sscanf(at + 5, "avg10=%lf avg60=%lf avg300=%lf total=%" SCNu64, &x->avg10,
				 &x->avg60, &x->avg300, &x->total) == 4)
			psi->set = true;
	}
}

static int read_percpu(const struct cgroup_dir *d, struct oci_stats *st)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(OCI_STATS_CPUS_MAX * 24);
	char *end;

	if (cgroup_file_read(d, "cpuacct.usage_percpu", &b))
		return 0;
	st->cpu.percpu = calloc(OCI_STATS_CPUS_MAX, sizeof(*st->cpu.percpu));
	if (!st->cpu.percpu)
		return -ENOMEM;
	for (const char *s = buf_str(&b); st->cpu.percpu_n < OCI_STATS_CPUS_MAX; s = end) {
		uint64_t v = strtoull(s, &end, 10);

		if (end == s)
			break;
		st->cpu.percpu[st->cpu.percpu_n++] = v;
	}
	return 0;
}

static int read_cpu(const struct cgroup *cg, struct oci_stats *st)
{
	const struct cgroup_dir *cpu = cgroup_dir_of(cg, CGROUP_CPU),
				*acct = cgroup_dir_of(cg, CGROUP_CPUACCT);
	const struct cgroup_dir *v2 = cgroup_dir_v2(cg);

	if (acct) {
		st->cpu.set = true;
		st->cpu.total = value_of(acct, "cpuacct.usage");
		st->cpu.user = key_of(acct, "cpuacct.stat", "user") * TICK_NS;
		st->cpu.kernel = key_of(acct, "cpuacct.stat", "system") * TICK_NS;
		int r = read_percpu(acct, st);

		if (r)
			return r;
	} else if (v2) {
		/* Every v2 directory has this file, also without the controller. */
		st->cpu.set = cgroup_file_exists(v2, "cpu.stat");
		st->cpu.total = key_of(v2, "cpu.stat", "usage_usec") * 1000;
		st->cpu.user = key_of(v2, "cpu.stat", "user_usec") * 1000;
		st->cpu.kernel = key_of(v2, "cpu.stat", "system_usec") * 1000;
	}
	if (cpu) {
		st->cpu.periods = key_of(cpu, "cpu.stat", "nr_periods");
		st->cpu.throttled_periods = key_of(cpu, "cpu.stat", "nr_throttled");
		st->cpu.throttled_ns = cpu->v2 ? key_of(cpu, "cpu.stat", "throttled_usec") * 1000
					       : key_of(cpu, "cpu.stat", "throttled_time");
	}
	if (v2)
		read_psi(v2, "cpu.pressure", &st->cpu.psi);
	return 0;
}

static void read_mem_v1(const struct cgroup_dir *d, const char *part, struct oci_mem_stats *m)
{
	char file[64];

	snprintf(file, sizeof(file), "memory.%susage_in_bytes", part);
	m->set = !cgroup_file_u64(d, file, &m->usage);
	snprintf(file, sizeof(file), "memory.%slimit_in_bytes", part);
	m->limit = value_of(d, file);
	snprintf(file, sizeof(file), "memory.%smax_usage_in_bytes", part);
	m->max = value_of(d, file);
	snprintf(file, sizeof(file), "memory.%sfailcnt", part);
	m->failcnt = value_of(d, file);
}

static int read_raw(const struct cgroup_dir *d, struct oci_stats *st)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(1 << 16);

	if (cgroup_file_read(d, "memory.stat", &b))
		return 0;
	st->memory.raw = calloc(RAW_MAX, sizeof(*st->memory.raw));
	if (!st->memory.raw)
		return -ENOMEM;
	for (const char *s = buf_str(&b); *s && st->memory.raw_n < RAW_MAX; s += *s == '\n') {
		struct oci_raw_stat *x = &st->memory.raw[st->memory.raw_n];

		if (sscanf(s, "%39s %" SCNu64, x->name, &x->value) == 2)
			st->memory.raw_n++;
		s += strcspn(s, "\n");
	}
	return 0;
}

static uint64_t raw_value(const struct oci_stats *st, const char *name)
{
	for (size_t i = 0; i < st->memory.raw_n; i++)
		if (streq(st->memory.raw[i].name, name))
			return st->memory.raw[i].value;
	return 0;
}

static int read_memory(const struct cgroup *cg, struct oci_stats *st)
{
	const struct cgroup_dir *d = cgroup_dir_of(cg, CGROUP_MEMORY), *v2 = cgroup_dir_v2(cg);
	struct oci_mem_stats *m = &st->memory.usage, *swap = &st->memory.swap;

	if (v2)
		read_psi(v2, "memory.pressure", &st->memory.psi);
	if (!d)
		return 0;
	int r = read_raw(d, st);

	if (r)
		return r;
	if (!d->v2) {
		read_mem_v1(d, "", m);
		read_mem_v1(d, "memsw.", swap);
		read_mem_v1(d, "kmem.", &st->memory.kernel);
		read_mem_v1(d, "kmem.tcp.", &st->memory.kernel_tcp);
		st->memory.cache = raw_value(st, "cache");
		return 0;
	}
	m->set = !cgroup_file_u64(d, "memory.current", &m->usage);
	m->limit = value_of(d, "memory.max");
	m->max = value_of(d, "memory.peak");
	m->failcnt = key_of(d, "memory.events", "max");
	/* As on v1: memory and swap together. */
	swap->set = !cgroup_file_u64(d, "memory.swap.current", &swap->usage);
	if (swap->set) {
		swap->limit = value_of(d, "memory.swap.max");
		swap->failcnt = key_of(d, "memory.swap.events", "fail");
		swap->usage += m->usage;
		swap->limit = swap->limit == UINT64_MAX || m->limit == UINT64_MAX
				      ? UINT64_MAX
				      : swap->limit + m->limit;
	}
	st->memory.cache = raw_value(st, "file");
	return 0;
}

static int add_io(struct oci_io_list *l, uint64_t major, uint64_t minor, const char *op,
		  size_t op_n, uint64_t v)
{
	if (l->n == IO_MAX || op_n >= sizeof(l->v->op))
		return 0;
	if (!(l->n & (l->n - 1))) {
		struct oci_io_entry *grown = realloc(l->v, (l->n ? l->n * 2 : 1) * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->v = grown;
	}
	struct oci_io_entry *x = &l->v[l->n++];

	memset(x, 0, sizeof(*x));
	x->major = major;
	x->minor = minor;
	x->value = v;
	memcpy(x->op, op, op_n);
	return 0;
}

/* v1: "8:0 Read 4096"; the last line is a sum without a device. */
static int read_io_v1(const struct cgroup_dir *d, const char *file, struct oci_io_list *l)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(1 << 20);
	int r = cgroup_file_read(d, file, &b);

	for (const char *s = buf_str(&b); !r && *s; s += *s == '\n') {
		uint64_t major, minor, v;
		char op[16];

		if (sscanf(s, "%" SCNu64 ":%" SCNu64 " %15s %" SCNu64, &major, &minor, op, &v) == 4)
			r = add_io(l, major, minor, op, strlen(op), v);
		s += strcspn(s, "\n");
	}
	return r == -ENOENT || r == -EOPNOTSUPP ? 0 : r;
}

/* v2: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" */
static int read_io_v2(const struct cgroup_dir *d, struct oci_stats *st)
{
	static const struct {
		const char *key, *op;
		bool ops;
	} keys[] = {
		{ "rbytes=", "Read", false },	 { "wbytes=", "Write", false },
		{ "rios=", "Read", true },	 { "wios=", "Write", true },
		{ "dbytes=", "Discard", false }, { "dios=", "Discard", true },
	};
	cleanup_with(buf_fini) struct buf b = BUF_INIT(1 << 20);
	int r = cgroup_file_read(d, "io.stat", &b);

	for (const char *s = buf_str(&b); !r && *s; s += *s == '\n') {
		uint64_t major, minor;
		int at = 0;

		if (sscanf(s, "%" SCNu64 ":%" SCNu64 "%n", &major, &minor, &at) == 2)
			s += at;
		while (!r && *s == ' ' && at) {
			s++;
			for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !r; i++) {
				const char *v = str_after(s, keys[i].key);

				if (v)
					r = add_io(keys[i].ops ? &st->io.ops : &st->io.bytes, major,
						   minor, keys[i].op, strlen(keys[i].op),
						   strtoull(v, NULL, 10));
			}
			s += strcspn(s, " \n");
		}
		s += strcspn(s, "\n");
	}
	return r == -ENOENT ? 0 : r;
}

static int read_io(const struct cgroup *cg, struct oci_stats *st)
{
	const struct cgroup_dir *d = cgroup_dir_of(cg, CGROUP_BLKIO), *v2 = cgroup_dir_v2(cg);

	if (v2)
		read_psi(v2, "io.pressure", &st->io.psi);
	if (!d)
		return 0;
	st->io.set = true;
	if (d->v2)
		return read_io_v2(d, st);
	/* BFQ accounts only what it schedules; the throttling layer sees everything. */
	int r = read_io_v1(d, "blkio.throttle.io_service_bytes_recursive", &st->io.bytes);

	return r ? r : read_io_v1(d, "blkio.throttle.io_serviced_recursive", &st->io.ops);
}

static void read_huge(const struct cgroup *cg, struct oci_stats *st)
{
	static const char *const sizes[] = { "2MB", "1GB" };
	const struct cgroup_dir *d = cgroup_dir_of(cg, CGROUP_HUGETLB);

	for (size_t i = 0; d && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct oci_mem_stats *m = &st->huge[st->huge_n].use;
		char file[64];

		snprintf(file, sizeof(file), "hugetlb.%s.%s", sizes[i],
			 d->v2 ? "current" : "usage_in_bytes");
		if (cgroup_file_u64(d, file, &m->usage))
			continue;
		m->set = true;
		snprintf(file, sizeof(file), "hugetlb.%s.%s", sizes[i],
			 d->v2 ? "max" : "limit_in_bytes");
		m->limit = value_of(d, file);
		snprintf(file, sizeof(file), "hugetlb.%s.%s", sizes[i],
			 d->v2 ? "events" : "failcnt");
		m->failcnt = d->v2 ? key_of(d, file, "max") : value_of(d, file);
		snprintf(file, sizeof(file), "hugetlb.%s.max_usage_in_bytes", sizes[i]);
		m->max = d->v2 ? m->usage : value_of(d, file);
		snprintf(st->huge[st->huge_n].page_size, sizeof(st->huge[0].page_size), "%s",
			 sizes[i]);
		st->huge_n++;
	}
}

static void read_line(const struct cgroup_dir *d, const char *file, char *out, size_t size)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(4096);

	if (!cgroup_file_read(d, file, &b))
		snprintf(out, size, "%.*s", (int)strcspn(buf_str(&b), "\n"), buf_str(&b));
}

static void read_cpuset(const struct cgroup *cg, struct oci_stats *st)
{
	const struct cgroup_dir *d = cgroup_dir_of(cg, CGROUP_CPUSET);

	if (!d)
		return;
	read_line(d, d->v2 ? "cpuset.cpus.effective" : "cpuset.effective_cpus", st->cpus,
		  sizeof(st->cpus));
	read_line(d, d->v2 ? "cpuset.mems.effective" : "cpuset.effective_mems", st->mems,
		  sizeof(st->mems));
}

int cgroup_stats(const struct cgroup *cg, struct oci_stats *st, struct err *e)
{
	const struct cgroup_dir *pids = cgroup_dir_of(cg, CGROUP_PIDS);

	memset(st, 0, sizeof(*st));
	for (int i = 0; i < cg->n; i++)
		if (access(cg->dirs[i].path, F_OK) < 0)
			return err_sys(e, -errno, "cgroup %s", cg->dirs[i].path);
	int r = read_cpu(cg, st);

	if (!r)
		r = read_memory(cg, st);
	if (!r)
		r = read_io(cg, st);
	if (pids) {
		st->pids.set = true;
		st->pids.current = value_of(pids, "pids.current");
		st->pids.limit = value_of(pids, "pids.max");
		if (st->pids.limit == UINT64_MAX)
			st->pids.limit = 0;
	}
	read_huge(cg, st);
	read_cpuset(cg, st);
	if (r) {
		oci_stats_fini(st);
		return err_sys(e, r, "cgroup statistics");
	}
	return 0;
}
