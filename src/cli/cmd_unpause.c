/*
 * warren unpause: let frozen instances go on.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include "cli/cli.h"
#include "cli/each.h"
#include "run/lifecycle.h"

static int unpause_one(struct subject *s, const char *root, void *arg, struct err *e)
{
	(void)arg;
	return lifecycle_pause(s, root, false, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	return each_subject(argv, argc, true, unpause_one, settings, e);
}

extern const struct command cmd_unpause;
const struct command cmd_unpause = {
	.name = "unpause",
	.summary = "Let frozen instances go on",
	.run = run,
	ARGS_INSTANCES,
};
