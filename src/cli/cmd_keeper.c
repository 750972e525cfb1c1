/*
 * warren keeper (hidden): the process that stays beside an instance. keeper_spawn() writes this command
 * line; descriptor 3 is the creator's socket.
 *
 * Trust: argv is our own. Threads: none. #syscalls: those of run/keeper*.c
 */
#include <errno.h>

#include "cli/cli.h"
#include "run/keeper.h"

struct settings {
	const char *root;
};

static const struct opt opts[] = {
	OPT_STRING(0, "root", "DIR", struct settings, root, "Directory of instances"),
	OPT_END,
};

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;

	(void)argc;
	if (!set->root)
		return err_set(e, -EINVAL, "keeper: it is started by Warren itself");
	return keeper_main(set->root, argv[0], 3);
}

extern const struct command cmd_keeper;
const struct command cmd_keeper = {
	.name = "keeper",
	.args = "ID",
	.summary = "The process beside an instance; started by Warren itself",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.hidden = true,
	.min_args = 1,
	.max_args = 1,
};
