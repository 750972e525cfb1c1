/*
 * warren stop: ask instances to end, and end them when they do not.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include "cli/cli.h"
#include "cli/each.h"
#include "cli/opt_stop.h"

static int stop(struct subject *s, const char *root, void *arg, struct err *e)
{
	return stop_by_settings(s, root, arg, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	return each_subject(argv, argc, true, stop, settings, e);
}

extern const struct command cmd_stop;
const struct command cmd_stop = {
	.name = "stop",
	.summary = "Stop instances",
	.opts = stop_opts,
	.settings_size = sizeof(struct stop_settings),
	.run = run,
	ARGS_INSTANCES,
};
