/*
 * How to stop: for `stop` and `restart`.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include "cli/opt_stop.h"

#include <errno.h>

#include "run/detach.h"
#include "run/lifecycle.h"

const struct opt stop_opts[] = {
	OPT_STRING('t', "time", "SECONDS", struct stop_settings, time,
		   "Time until SIGKILL, -1: never (10)"),
	OPT_STRING('s', "signal", "SIGNAL", struct stop_settings, signal, "Signal to send first"),
	OPT_END,
};

/* "10", "-1": seconds as milliseconds, -1 for ever. */
static int seconds_parse(const char *s, int64_t *ms, struct err *e)
{
	int64_t v;

	if (str_to_i64(s, &v) || v < -1 || v > 1000000)
		return err_set(e, -EINVAL, "--time '%s': expected seconds, or -1", s);
	*ms = v < 0 ? -1 : v * 1000;
	return 0;
}

int stop_by_settings(struct subject *s, const char *root, const struct stop_settings *set,
		     struct err *e)
{
	int64_t ms = s->rec.stop_timeout_ms;
	int sig = 0;
	int r = set->signal ? signal_parse(set->signal, &sig, e) : 0;

	if (!r && set->time)
		r = seconds_parse(set->time, &ms, e);
	return r ? r : lifecycle_stop(s, root, sig, ms, e);
}
