/*
 * warren restart: stop instances and start them again.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include "cli/cli.h"
#include "cli/each.h"
#include "cli/opt_stop.h"
#include "run/events.h"
#include "run/lifecycle.h"

static int restart(struct subject *s, const char *root, void *arg, struct err *e)
{
	int status;
	int r = stop_by_settings(s, root, arg, e);

	if (!r)
		r = subject_reopen(s, root, false, e);
	if (!r)
		r = lifecycle_start(s, root, NULL, &status, e);
	if (!r)
		event_emit(root, s, "restart", NULL);
	return r;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	return each_subject(argv, argc, true, restart, settings, e);
}

extern const struct command cmd_restart;
const struct command cmd_restart = {
	.name = "restart",
	.summary = "Stop and start instances",
	.opts = stop_opts,
	.settings_size = sizeof(struct stop_settings),
	.run = run,
	ARGS_INSTANCES,
};
