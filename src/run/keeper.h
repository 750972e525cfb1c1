/* The keeper: the one process that stays beside an instance. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "run/registry.h"
#include "wire/control.h"

/* Runs in a process of its own until the instance has ended. `creator` is the first client's socket; its
 * START says all the rest. The exit status of the process. */
int keeper_main(const char *root, const char *id, int creator);

/* A keeper that waits for its instance to be made; none when `sock` is -1. */
struct keeper_seed {
	int sock; /* the creator's end; closing it ends the keeper */
	char id[65];
};

#define KEEPER_SEED_INIT   \
	{                  \
		.sock = -1 \
	}

/* Starts a keeper (this program's hidden command `keeper`) for the instance `seed->id`; it gets ready while
 * the caller makes the instance. 0 or -errno. */
int keeper_spawn(const char *root, struct keeper_seed *seed, struct err *e);
void keeper_seed_fini(struct keeper_seed *seed);

/* What START is to say. */
void keeper_start_of(const struct subject *s, struct control_start *out);

/* The name of the control socket in the instance's directory. */
#define KEEPER_SOCKET "control"
