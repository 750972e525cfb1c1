/*
 * warren rename: give an instance another name.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/lifecycle.c
 */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/each.h"
#include "run/lifecycle.h"

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e);

	(void)settings, (void)argc;
	if (!r)
		r = subject_open(&s, root, argv[0], false, e);
	return r ? r : lifecycle_rename(&s, root, argv[1], e);
}

extern const struct command cmd_rename;
const struct command cmd_rename = {
	.name = "rename",
	.args = "INSTANCE NAME",
	.summary = "Give an instance another name",
	.run = run,
	.min_args = 2,
	.max_args = 2,
	.complete_args = COMPLETE_INSTANCE,
};
