/*
 * warren rm: remove instances with everything that they wrote.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include "cli/cli.h"
#include "cli/each.h"
#include "run/lifecycle.h"

struct settings {
	bool force, volumes;
};

static const struct opt opts[] = {
	OPT_BOOL('f', "force", struct settings, force, "End running ones; ignore missing ones"),
	OPT_BOOL('v', "volumes", struct settings, volumes, "Remove their anonymous volumes too"),
	OPT_END,
};

static int remove_one(struct subject *s, const char *root, void *arg, struct err *e)
{
	const struct settings *set = arg;

	return lifecycle_remove(s, root, set->force, set->volumes, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;

	return each_subject_or_missing(argv, argc, set->force, remove_one, settings, e);
}

extern const struct command cmd_rm;
const struct command cmd_rm = {
	.name = "rm",
	.summary = "Remove instances",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	ARGS_INSTANCES,
};
