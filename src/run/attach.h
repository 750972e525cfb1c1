/* This process's terminal or pipes, connected to a running instance. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "run/detach.h"
#include "run/registry.h"

struct attach {
	int link;	  /* greeted */
	bool start;	  /* ask the keeper to start it */
	uint16_t streams; /* CONTROL_STREAM_* */
	bool tty;	  /* the instance has a terminal: ours becomes raw if it is one */
	bool sig_proxy;	  /* signals that come to us go to the instance */
	struct detach_keys keys;
	const struct subject *subject; /* whom signals and sizes go to */
	/* Called once it runs, with its pid; may be NULL. */
	void (*started)(void *arg, int pid);
	void *arg;
};

enum attach_end {
	ATTACH_EXITED,	 /* `status` is the command's */
	ATTACH_DETACHED, /* by keys, or the reader of our output went away */
	ATTACH_NOT_RUN,	 /* it could not be started: `err` says why, `status` is 125 to 127 */
	ATTACH_LOST,	 /* the keeper died */
};

/* Returns when the instance has ended or the user left. An enum attach_end, or -errno. Signals are blocked
 * while it runs and put back. */
int attach_run(struct attach *a, int *status, struct err *e);
