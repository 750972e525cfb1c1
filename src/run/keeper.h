/* The keeper: the one process that stays beside an instance. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "run/registry.h"

/* All that a keeper needs to know; it reads no configuration itself. */
struct keeper_settings {
	const char *root, *id;
	const char *log; /* NULL: none */
	uint64_t log_max_size;
	int64_t log_max_file;
	bool tty, open_stdin, stdin_once, auto_remove;
	int64_t restart_policy, restart_max, restarts;
	uint64_t timeout_ns; /* 0: none */
};

/* Runs in a process of its own until the instance has ended; `creator` is the first client's socket. The
 * exit status of the process. */
int keeper_main(const struct keeper_settings *set, int creator);

/* Starts a keeper (this program's hidden command `keeper`) for an instance and returns the creator's end of
 * the socket; nothing runs before CONTROL_START. -errno. */
int keeper_spawn(const struct subject *s, const char *root, struct err *e);

/* The name of the control socket in the instance's directory. */
#define KEEPER_SOCKET "control"
