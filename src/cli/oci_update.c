/*
 * warren oci update: new limits for a container that exists, from options or from a resources object
 * (`--resources FILE`, or `-` for stdin, which is how containerd calls it). Options win over the object.
 *
 * Trust: the object is parsed and checked by wire/oci.c. Threads: none. #syscalls: openat read
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/oci.h"
#include "os/file.h"

enum { RESOURCES_MAX = 1 << 20 };

struct settings {
	const char *resources;
	const char *memory, *memory_reservation, *memory_swap, *kernel_memory, *kernel_memory_tcp;
	const char *cpu_period, *cpu_quota, *cpu_burst, *cpu_share, *cpu_idle, *rt_period,
		*rt_runtime;
	const char *cpus, *mems, *pids, *blkio_weight, *l3, *mem_bw;
};

#define LIMIT(n, member, meta, text) OPT_STRING(0, n, meta, struct settings, member, text)

static const struct opt opts[] = {
	OPT_STRING('r', "resources", "FILE", struct settings, resources,
		   "Read a resources object from FILE, or from stdin for -",
		   .complete = COMPLETE_FILE),
	LIMIT("memory", memory, "BYTES", "Memory limit; -1: none"),
	LIMIT("memory-reservation", memory_reservation, "BYTES",
	      "Memory that is left alone under pressure"),
	LIMIT("memory-swap", memory_swap, "BYTES", "Limit for memory and swap together; -1: none"),
	LIMIT("kernel-memory", kernel_memory, "BYTES", "Kernel memory limit (old kernels)"),
	LIMIT("kernel-memory-tcp", kernel_memory_tcp, "BYTES", "Limit for TCP buffers (cgroup v1)"),
	LIMIT("cpu-period", cpu_period, "US", "Length of a period in which the quota may be used"),
	LIMIT("cpu-quota", cpu_quota, "US", "CPU time in a period; -1: no limit"),
	LIMIT("cpu-burst", cpu_burst, "US", "Unused quota that may be saved up"),
	LIMIT("cpu-share", cpu_share, "N", "CPU shares against other containers, 2 to 262144"),
	LIMIT("cpu-idle", cpu_idle, "0|1", "Run only when nobody else wants the CPU"),
	LIMIT("cpu-rt-period", rt_period, "US", "Period of the realtime quota"),
	LIMIT("cpu-rt-runtime", rt_runtime, "US", "Realtime CPU time in a period"),
	LIMIT("cpuset-cpus", cpus, "LIST", "CPUs to use: 0-3,7"),
	LIMIT("cpuset-mems", mems, "LIST", "Memory nodes to use"),
	LIMIT("pids-limit", pids, "N", "Number of processes and threads; -1: no limit"),
	LIMIT("blkio-weight", blkio_weight, "N", "Share of block I/O, 10 to 1000"),
	LIMIT("l3-cache-schema", l3, "SCHEMA", "Intel RDT; not supported"),
	LIMIT("mem-bw-schema", mem_bw, "SCHEMA", "Intel RDT; not supported"),
	OPT_END,
};

/* "-1", "512m", "1073741824" */
static int size_of(const char *text, struct oci_num *out)
{
	uint64_t v;

	if (streq(text, "-1")) {
		*out = (struct oci_num){ true, -1 };
		return 0;
	}
	int r = str_to_size(text, &v);

	if (r || v > INT64_MAX)
		return r ? r : -ERANGE;
	*out = (struct oci_num){ true, (int64_t)v };
	return 0;
}

static int number_of(const char *text, struct oci_num *out)
{
	int64_t v;
	int r = str_to_i64(text, &v);

	if (!r)
		*out = (struct oci_num){ true, v };
	return r;
}

static int read_options(const struct settings *s, struct oci_resources *r, struct err *e)
{
	const struct {
		const char *name, *text;
		int (*read)(const char *text, struct oci_num *out);
		struct oci_num *to;
	} rows[] = {
		{ "memory", s->memory, size_of, &r->memory.limit },
		{ "memory-reservation", s->memory_reservation, size_of, &r->memory.reservation },
		{ "memory-swap", s->memory_swap, size_of, &r->memory.swap },
		{ "kernel-memory", s->kernel_memory, size_of, &r->memory.kernel },
		{ "kernel-memory-tcp", s->kernel_memory_tcp, size_of, &r->memory.kernel_tcp },
		{ "cpu-period", s->cpu_period, number_of, &r->cpu.period },
		{ "cpu-quota", s->cpu_quota, number_of, &r->cpu.quota },
		{ "cpu-burst", s->cpu_burst, number_of, &r->cpu.burst },
		{ "cpu-share", s->cpu_share, number_of, &r->cpu.shares },
		{ "cpu-idle", s->cpu_idle, number_of, &r->cpu.idle },
		{ "cpu-rt-period", s->rt_period, number_of, &r->cpu.realtime_period },
		{ "cpu-rt-runtime", s->rt_runtime, number_of, &r->cpu.realtime_runtime },
		{ "pids-limit", s->pids, number_of, &r->pids_limit },
		{ "blkio-weight", s->blkio_weight, number_of, &r->blkio.weight },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].text && *rows[i].text && rows[i].read(rows[i].text, rows[i].to))
			return err_set(e, -EINVAL, "--%s: '%s' is not a number", rows[i].name,
				       rows[i].text);
	if (s->cpus)
		r->cpu.cpus = s->cpus;
	if (s->mems)
		r->cpu.mems = s->mems;
	if (s->l3 || s->mem_bw)
		return err_set(e, -EOPNOTSUPP, "--%s: Intel RDT is not supported",
			       s->l3 ? "l3-cache-schema" : "mem-bw-schema");
	return 0;
}

static int read_object(const char *path, struct oci_spec **spec, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(RESOURCES_MAX);
	int r = streq(path, "-") ? read_all(STDIN_FILENO, &text) : file_read(AT_FDCWD, path, &text);

	if (r)
		return err_sys(e, r, "--resources '%s'", path);
	return oci_resources_parse(buf_str(&text), text.len, path, spec, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(instance_fini) struct instance in = INSTANCE_INIT;
	const struct settings *s = settings;
	const struct wall_ops *wall;
	struct oci_resources r = { .devices_n = 0 };
	struct oci_spec *spec = NULL;
	int err = s->resources ? read_object(s->resources, &spec, e) : 0;

	if (!err && spec)
		r = *spec->linux_->resources;
	if (!err)
		err = read_options(s, &r, e);
	if (!err)
		err = oci_open(&in, argv[0], true, &wall, e);
	if (!err && instance_probe(&in) == INSTANCE_STOPPED)
		err = err_set(e, -ESRCH, "it has stopped");
	if (!err && !wall->update)
		err = err_set(e, -EOPNOTSUPP,
			      "the %s wall cannot change limits of a running instance", wall->name);
	if (!err)
		err = wall->update(&in, &r, e);
	oci_spec_free(spec);
	if (err)
		err_wrap(e, "update '%s'", argv[0]);
	return err;
}

extern const struct command oci_cmd_update;
const struct command oci_cmd_update = {
	.name = "update",
	.args = "ID",
	.summary = "Change the limits of a container",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
