/* What instances use, and which processes they have. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "run/registry.h"

struct json_object;

struct usage {
	uint64_t at;  /* CLOCK_MONOTONIC, ns */
	uint64_t cpu; /* ns so far */
	uint64_t memory,
		memory_limit; /* bytes; the limit is the host's memory when there is none */
	uint64_t net_in, net_out, block_in, block_out;
	uint64_t pids;
};

/* 0 or -errno. */
int usage_read(struct subject *s, struct usage *u, struct err *e);
/* A row of `stats` from two readings. The caller puts it. */
struct json_object *usage_row(struct subject *s, const struct usage *before,
			      const struct usage *now, bool no_trunc);
/* A row of one that does not run. */
struct json_object *usage_row_none(struct subject *s, bool no_trunc);

/* `top`'s rows: UID, PID, PPID, C, STIME, TTY, TIME, CMD. 0 or -errno; `*rows` is the caller's. */
int processes_list(struct subject *s, struct json_object **rows, struct err *e);
