/*
 * warren oci kill: a signal for a container's first process, or for all of them. Callers also kill what has ended
 * already: with --all that is no error.
 *
 * #syscalls: none of its own
 */
#include <errno.h>
#include <signal.h>

#include "base/cleanup.h"
#include "cli/oci.h"
#include "run/detach.h"

struct settings {
	bool all;
};

static const struct opt opts[] = {
	OPT_BOOL('a', "all", struct settings, all, "Signal every process of the container"),
	OPT_END,
};

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(instance_fini) struct instance in = INSTANCE_INIT;
	const struct settings *s = settings;
	const struct wall_ops *wall;
	int sig = SIGTERM;
	int r = argc > 1 ? signal_parse(argv[1], &sig, e) : 0;

	if (!r)
		r = oci_open(&in, argv[0], false, &wall, e);
	if (!r)
		r = wall->kill(&in, sig, s->all, e);
	if (r == -ESRCH && s->all)
		return 0;
	if (r == -ESRCH)
		return err_set(e, r, "kill '%s': container not running", argv[0]);
	return r ? err_wrap(e, "kill '%s'", argv[0]) : 0;
}

extern const struct command oci_cmd_kill;
const struct command oci_cmd_kill = {
	.name = "kill",
	.args = "ID [SIGNAL]",
	.summary = "Send a signal to a container (SIGTERM)",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = 2,
	.complete_args = COMPLETE_INSTANCE,
};
