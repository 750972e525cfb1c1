/*
 * warren kill: send a signal to the first process of instances.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include <signal.h>

#include "cli/cli.h"
#include "cli/each.h"
#include "run/detach.h"
#include "run/lifecycle.h"

struct settings {
	const char *signal;
};

static const struct opt opts[] = {
	OPT_STRING('s', "signal", "SIGNAL", struct settings, signal, "Signal to send (SIGKILL)"),
	OPT_END,
};

static int kill_one(struct subject *s, const char *root, void *arg, struct err *e)
{
	return lifecycle_kill(s, root, *(const int *)arg, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;
	int sig = SIGKILL;
	int r = set->signal ? signal_parse(set->signal, &sig, e) : 0;

	return r ? r : each_subject(argv, argc, true, kill_one, &sig, e);
}

extern const struct command cmd_kill;
const struct command cmd_kill = {
	.name = "kill",
	.summary = "Send a signal to instances",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	ARGS_INSTANCES,
};
