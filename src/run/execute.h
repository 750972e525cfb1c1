/* A further command in a running instance, with our terminal or pipes. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "run/detach.h"
#include "run/registry.h"

struct execute {
	struct subject *s;
	const char *root;
	char *const *args; /* NULL-terminated */
	bool tty, interactive, privileged, detach;
	const char *user;    /* "name[:group]" or numbers; NULL: the instance's */
	const char *workdir; /* NULL: the instance's */
	struct strlist env;  /* "K=V", or "K" to take it from our own environment */
	struct detach_keys keys;
	struct buf
		*capture; /* what it prints goes here, as much as fits; NULL: to our own streams */
	uint64_t timeout_ns; /* then it is killed and `*timed_out` set; 0: none */
	bool *timed_out;
};

/* Runs it. `*status`: its exit status, or what a failure to run it means (126, 127, 125). 0 or -errno. */
int execute_run(const struct execute *x, int *status, struct err *e);
