/*
 * warren create: make an instance for a later `start`, print its id.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/launch.c
 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/opt_run.h"

static int run(void *settings, int argc, char **argv, struct err *e)
{
	struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e);

	if (!r)
		r = run_create(settings, argc, argv, root, &s, e);
	if (!r)
		printf("%s\n", s.in.id);
	subject_fini(&s);
	return r;
}

extern const struct command cmd_create;
const struct command cmd_create = {
	.name = "create",
	.args = "IMAGE [COMMAND [ARG...]]",
	.summary = "Make a new instance without starting it",
	.opts = run_create_opts,
	.settings_size = sizeof(struct run_settings),
	.run = run,
	.stop_at_arg = true,
	.max_args = -1,
	.complete_args = COMPLETE_IMAGE,
};
