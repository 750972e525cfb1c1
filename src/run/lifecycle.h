/* What people do to instances that exist. All take an open subject; 0 or -errno with the cause. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "run/keeper.h"
#include "run/registry.h"

/* Gives it a keeper: the one that was started for it already (`seed`, which is taken over) or a new one (NULL).
 * The result is the greeted creator's socket, on which CONTROL_START begins the run. -EALREADY when it runs. */
int lifecycle_keep(struct subject *s, const char *root, struct keeper_seed *seed, struct err *e);
/* Starts it and returns once it runs. `*status`: what a failure means as an exit status (125..127). */
int lifecycle_start(struct subject *s, const char *root, struct keeper_seed *seed, int *status,
		    struct err *e);

/* Signal, time, SIGKILL; returns when it has ended. `timeout_ms` -1: never SIGKILL. Harmless when it does
 * not run. `sig` 0: its own stop signal. */
int lifecycle_stop(struct subject *s, const char *root, int sig, int64_t timeout_ms, struct err *e);
/* -ESRCH when it does not run. */
int lifecycle_kill(struct subject *s, const char *root, int sig, struct err *e);
int lifecycle_pause(struct subject *s, const char *root, bool pause, struct err *e);
/* Waits for its end; `next`: its next exit, even if it will be restarted. `*status`: exit status. */
int lifecycle_wait(struct subject *s, const char *root, bool next, int *status, struct err *e);
/* `force`: ends it first; `volumes`: its anonymous volumes go with it. Takes over `s`, which is closed afterwards. */
int lifecycle_remove(struct subject *s, const char *root, bool force, bool volumes, struct err *e);
int lifecycle_rename(struct subject *s, const char *root, const char *name, struct err *e);
