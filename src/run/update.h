/* Changing limits and the restart policy of an instance that exists. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "run/registry.h"

/* Members that are 0 or NULL stay as they are. */
struct update {
	uint64_t memory, memory_reservation; /* bytes */
	const char *memory_swap;	     /* size, or "-1" */
	const char *cpus;		     /* "1.5" */
	int64_t cpu_shares, cpu_period, cpu_quota, pids_limit, blkio_weight;
	const char *cpuset_cpus, *cpuset_mems;
	const char *restart; /* policy */
};

/* Whether it changes anything. */
bool update_wanted(const struct update *u);
/* Applies at once when it runs, and to every later start. 0 or -errno. */
int update_apply(struct subject *s, const char *root, const struct update *u, struct err *e);
