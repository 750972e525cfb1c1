/* The host and what Warren has on it, for `info`. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "run/doctor.h"

struct info {
	char *run_dir, *data_dir;
	size_t instances, running, paused, stopped;
	char kernel[128], system[128], architecture[65], name[128], cgroups[32];
	long cpus;
	uint64_t memory; /* bytes */
	struct doctor_verdict walls[DOCTOR_WALLS];
};

/* 0 or -errno. */
int info_collect(struct info *i, struct err *e);
void info_fini(struct info *i);
