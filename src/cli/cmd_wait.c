/*
 * warren wait: wait until instances have ended.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/each.h"
#include "run/lifecycle.h"

static int wait_one(struct subject *s, const char *root, void *arg, struct err *e)
{
	int status;
	int r = lifecycle_wait(s, root, false, &status, e);

	(void)arg;
	if (!r)
		printf("%d\n", status);
	return r;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	return each_subject(argv, argc, false, wait_one, settings, e);
}

extern const struct command cmd_wait;
const struct command cmd_wait = {
	.name = "wait",
	.summary = "Wait until instances have ended and print their exit codes",
	.run = run,
	ARGS_INSTANCES,
};
