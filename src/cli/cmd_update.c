/*
 * warren update: change limits and the restart policy of instances.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/update.c
 */
#include <errno.h>

#include "cli/cli.h"
#include "cli/each.h"
#include "run/update.h"

#define T struct update

static const struct opt opts[] = {
	OPT_SIZE('m', "memory", "SIZE", T, memory, "Memory limit"),
	OPT_STRING(0, "memory-swap", "SIZE", T, memory_swap, "Memory and swap together, -1: any"),
	OPT_SIZE(0, "memory-reservation", "SIZE", T, memory_reservation, "Soft memory limit"),
	OPT_STRING(0, "cpus", "NUMBER", T, cpus, "How many CPUs' worth of time"),
	OPT_INT('c', "cpu-shares", "NUMBER", T, cpu_shares, "Weight against others"),
	OPT_INT(0, "cpu-period", "US", T, cpu_period, "Length of a CPU period"),
	OPT_INT(0, "cpu-quota", "US", T, cpu_quota, "CPU time a period"),
	OPT_STRING(0, "cpuset-cpus", "LIST", T, cpuset_cpus, "CPUs to run on"),
	OPT_STRING(0, "cpuset-mems", "LIST", T, cpuset_mems, "Memory nodes to use"),
	OPT_INT(0, "pids-limit", "NUMBER", T, pids_limit, "How many processes, -1: any"),
	OPT_INT(0, "blkio-weight", "10-1000", T, blkio_weight, "Weight of block I/O"),
	OPT_STRING(0, "restart", "POLICY", T, restart,
		   "no, on-failure[:N], always, unless-stopped"),
	OPT_END,
};

static int update_one(struct subject *s, const char *root, void *arg, struct err *e)
{
	return update_apply(s, root, arg, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	if (!update_wanted(settings))
		return err_set(e, -EINVAL, "update: nothing to change; see 'warren update --help'");
	return each_subject(argv, argc, true, update_one, settings, e);
}

extern const struct command cmd_update;
const struct command cmd_update = {
	.name = "update",
	.summary = "Change limits of instances",
	.opts = opts,
	.settings_size = sizeof(struct update),
	.run = run,
	ARGS_INSTANCES,
};
