/*
 * warren restart: stop instances and start them again.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include "cli/cli.h"
#include "cli/each.h"
#include "run/detach.h"
#include "run/events.h"
#include "run/lifecycle.h"

struct settings {
	const char *time, *signal;
};

static const struct opt opts[] = {
	OPT_STRING('t', "time", "SECONDS", struct settings, time,
		   "Time until SIGKILL, -1: never (10)"),
	OPT_STRING('s', "signal", "SIGNAL", struct settings, signal, "Signal to send first"),
	OPT_END,
};

static int restart(struct subject *s, const char *root, void *arg, struct err *e)
{
	const struct settings *set = arg;
	int64_t ms = s->rec.stop_timeout_ms;
	int sig = 0, status;
	int r = set->signal ? signal_parse(set->signal, &sig, e) : 0;

	if (!r && set->time)
		r = seconds_parse(set->time, &ms, e);
	if (!r)
		r = lifecycle_stop(s, root, sig, ms, e);
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
	.args = "INSTANCE...",
	.summary = "Stop and start instances",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};
