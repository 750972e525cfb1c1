/* The user's wishes: every option of `run` and `create` that ends up in config.json. The command
 * line's table is cli/run_options.c; the Docker API fills the same struct. A zeroed struct is a
 * valid one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct bundle_options {
	/* process */
	struct strlist env;	 /* -e: "K=V", or "K" to take it from our own environment */
	struct strlist env_file; /* --env-file */
	const char *workdir;	 /* -w */
	const char *user;	 /* -u: user[:group], names or numbers */
	const char *entrypoint;	 /* --entrypoint; "" clears the image's */
	struct strlist group_add;
	bool interactive, tty;	/* -i -t */
	bool init;		/* --init: a reaper as PID 1 */
	struct strlist ulimits; /* --ulimit name=soft[:hard] */
	int64_t oom_score_adj;

	/* names */
	const char *hostname, *domainname;
	struct strlist add_host; /* host:address */
	struct strlist dns, dns_search, dns_option;
	struct strlist labels; /* -l; handed on as annotations only where asked */
	struct strlist label_file;
	struct strlist annotations; /* --annotation K=V */

	/* files */
	struct strlist volumes; /* -v src:dst[:opts] */
	struct strlist mounts;	/* --mount type=...,src=...,dst=... */
	struct strlist tmpfs;	/* --tmpfs dst[:opts] */
	struct strlist devices; /* --device host[:container[:rwm]] */
	bool read_only;
	uint64_t shm_size; /* bytes, 0: 64 MiB */

	/* limits */
	const char *cpus;	 /* "1.5" */
	uint64_t memory;	 /* bytes, 0: none */
	const char *memory_swap; /* size or "-1" */
	uint64_t memory_reservation;
	int64_t memory_swappiness; /* given as 1 + value; 0: not given */
	int64_t pids_limit;	   /* 0: not given, -1: none */
	int64_t cpu_shares, cpu_period, cpu_quota;
	int64_t blkio_weight;
	const char *cpuset_cpus, *cpuset_mems;
	struct strlist device_read_bps, device_write_bps, device_read_iops, device_write_iops;
	struct strlist device_cgroup_rules;
	bool oom_kill_disable;
	const char *cgroup_parent;

	/* rights */
	struct strlist cap_add, cap_drop;
	struct strlist security_opt;
	bool privileged;
	struct strlist sysctls;

	/* namespaces: NULL is the default (private) */
	const char *network;			/* host|none|private, tap:NAME for guests */
	const char *pid, *ipc, *uts, *cgroupns; /* host|private */
	const char *userns;			/* host|private|auto|keep-id */
};
