/*
 * The options of `run` and `create` that end up in config.json: one line each, straight into
 * struct bundle_options, whose maker judges the values.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: none
 */
#include "cli/run_options.h"

#include <errno.h>

#define T struct bundle_options

/* 0 is a wish of its own here, so it is kept as 1 + value. */
static int swappiness(const char *value, void *dest, struct err *e)
{
	uint64_t v;

	if (str_to_u64(value, &v) || v > 100)
		return err_set(e, -ERANGE, "'%s' is not from 0 to 100", value);
	*(int64_t *)dest = (int64_t)v + 1;
	return 0;
}

const struct opt run_bundle_opts[] = {
	OPT_LIST('e', "env", "NAME[=VALUE]", T, env, "Set an environment variable"),
	OPT_LIST(0, "env-file", "FILE", T, env_file, "Read environment variables from a file",
		 .complete = COMPLETE_FILE),
	OPT_STRING('w', "workdir", "DIR", T, workdir, "Working directory inside"),
	OPT_STRING('u', "user", "USER[:GROUP]", T, user, "User and group, by name or number"),
	OPT_STRING(0, "entrypoint", "PROGRAM", T, entrypoint, "In place of the image's entrypoint"),
	OPT_LIST(0, "group-add", "GROUP", T, group_add, "A further group of the user"),
	OPT_BOOL('i', "interactive", T, interactive, "Keep standard input open"),
	OPT_BOOL('t', "tty", T, tty, "Give the command a terminal"),
	OPT_BOOL(0, "init", T, init, "Run a reaper as PID 1"),
	OPT_LIST(0, "ulimit", "NAME=SOFT[:HARD]", T, ulimits,
		 "A resource limit (nofile, nproc, ...)"),
	OPT_INT(0, "oom-score-adj", "NUMBER", T, oom_score_adj, "Preference of the OOM killer"),

	OPT_STRING('h', "hostname", "NAME", T, hostname, "Host name inside"),
	OPT_STRING(0, "domainname", "NAME", T, domainname, "NIS domain name inside"),
	OPT_LIST(0, "add-host", "HOST:ADDRESS", T, add_host, "A line for /etc/hosts"),
	OPT_LIST(0, "dns", "ADDRESS", T, dns, "A name server"),
	OPT_LIST(0, "dns-search", "DOMAIN", T, dns_search, "A search domain"),
	OPT_LIST(0, "dns-option", "OPTION", T, dns_option, "An option for resolv.conf"),
	OPT_LIST('l', "label", "NAME=VALUE", T, labels, "Label the instance"),
	OPT_LIST(0, "label-file", "FILE", T, label_file, "Read labels from a file",
		 .complete = COMPLETE_FILE),
	OPT_LIST(0, "annotation", "NAME=VALUE", T, annotations, "Annotate config.json"),

	OPT_LIST('v', "volume", "SOURCE:DIR[:OPTIONS]", T, volumes,
		 "Mount a directory of the host or a volume", .complete = COMPLETE_DIR),
	OPT_LIST(0, "mount", "type=TYPE,...", T, mounts, "The same in long form"),
	OPT_LIST(0, "tmpfs", "DIR[:OPTIONS]", T, tmpfs, "Mount memory"),
	OPT_LIST(0, "device", "HOST[:DIR[:rwm]]", T, devices, "Give access to a device",
		 .complete = COMPLETE_FILE),
	OPT_BOOL(0, "read-only", T, read_only, "The root file system cannot be written"),
	OPT_SIZE(0, "shm-size", "SIZE", T, shm_size, "Size of /dev/shm (64m)"),

	OPT_STRING(0, "cpus", "NUMBER", T, cpus, "How many CPUs' worth of time"),
	OPT_SIZE('m', "memory", "SIZE", T, memory, "Memory limit"),
	OPT_STRING(0, "memory-swap", "SIZE", T, memory_swap, "Memory and swap together, -1: any"),
	OPT_SIZE(0, "memory-reservation", "SIZE", T, memory_reservation, "Soft memory limit"),
	OPT_CALL(0, "memory-swappiness", "0-100", T, memory_swappiness, "Inclination to swap",
		 .call = swappiness),
	OPT_INT(0, "pids-limit", "NUMBER", T, pids_limit, "How many processes, -1: any"),
	OPT_INT('c', "cpu-shares", "NUMBER", T, cpu_shares, "Weight against others (1024)"),
	OPT_INT(0, "cpu-period", "US", T, cpu_period, "Length of a CPU period"),
	OPT_INT(0, "cpu-quota", "US", T, cpu_quota, "CPU time a period"),
	OPT_STRING(0, "cpuset-cpus", "LIST", T, cpuset_cpus, "CPUs to run on (0-3,7)"),
	OPT_STRING(0, "cpuset-mems", "LIST", T, cpuset_mems, "Memory nodes to use"),
	OPT_INT(0, "blkio-weight", "10-1000", T, blkio_weight, "Weight of block I/O"),
	OPT_LIST(0, "device-read-bps", "DEVICE:RATE", T, device_read_bps,
		 "Limit reading in bytes/s"),
	OPT_LIST(0, "device-write-bps", "DEVICE:RATE", T, device_write_bps,
		 "Limit writing in bytes/s"),
	OPT_LIST(0, "device-read-iops", "DEVICE:RATE", T, device_read_iops, "Limit reads a second"),
	OPT_LIST(0, "device-write-iops", "DEVICE:RATE", T, device_write_iops,
		 "Limit writes a second"),
	OPT_LIST(0, "device-cgroup-rule", "RULE", T, device_cgroup_rules,
		 "Allow devices by number ('c 1:3 rwm')"),
	OPT_BOOL(0, "oom-kill-disable", T, oom_kill_disable, "Wait instead of killing (cgroup v1)"),
	OPT_STRING(0, "cgroup-parent", "PATH", T, cgroup_parent, "Parent control group"),

	OPT_LIST(0, "cap-add", "NAME", T, cap_add, "Add a capability, or ALL"),
	OPT_LIST(0, "cap-drop", "NAME", T, cap_drop, "Drop a capability, or ALL"),
	OPT_LIST(0, "security-opt", "OPTION", T, security_opt,
		 "no-new-privileges, seccomp=unconfined|FILE, apparmor=PROFILE, label=type:TYPE, "
		 "..."),
	OPT_BOOL(0, "privileged", T, privileged, "All capabilities, all devices, nothing hidden"),
	OPT_LIST(0, "sysctl", "NAME=VALUE", T, sysctls, "A kernel parameter of the namespaces"),

	OPT_STRING(0, "network", "host|none|private|tap:NAME", T, network,
		   "Network (private: a container and a pv guest have only loopback; a vm reaches "
		   "out by passt)"),
	OPT_STRING(0, "pid", "host|private", T, pid, "Process namespace"),
	OPT_STRING(0, "ipc", "host|private", T, ipc, "IPC namespace and /dev/shm"),
	OPT_STRING(0, "uts", "host|private", T, uts, "Host name namespace"),
	OPT_STRING(0, "cgroupns", "host|private", T, cgroupns, "Control group namespace"),
	OPT_STRING(0, "userns", "host|private", T, userns, "User namespace"),
	OPT_END,
};
