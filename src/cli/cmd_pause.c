/*
 * warren pause: freeze instances where they are.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include "cli/cli.h"
#include "cli/each.h"
#include "run/lifecycle.h"

static int pause_one(struct subject *s, const char *root, void *arg, struct err *e)
{
	(void)arg;
	return lifecycle_pause(s, root, true, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	return each_subject(argv, argc, true, pause_one, settings, e);
}

extern const struct command cmd_pause;
const struct command cmd_pause = {
	.name = "pause",
	.summary = "Freeze instances",
	.run = run,
	ARGS_INSTANCES,
};
