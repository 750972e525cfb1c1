/*
 * warren exec: run a further command in a running instance.
 *
 * Exit status: the command's own; 126 and 127 when it could not be run.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/execute.c
 */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "run/execute.h"

struct settings {
	struct execute x;
	const char *detach_keys;
};

#define T struct settings

static const struct opt opts[] = {
	OPT_BOOL('d', "detach", T, x.detach, "Do not wait for it"),
	OPT_STRING(0, "detach-keys", "KEYS", T, detach_keys,
		   "Keys that leave an attached terminal (ctrl-p,ctrl-q)"),
	OPT_LIST('e', "env", "NAME[=VALUE]", T, x.env, "Set an environment variable"),
	OPT_BOOL('i', "interactive", T, x.interactive, "Connect its input"),
	OPT_BOOL(0, "privileged", T, x.privileged, "With all capabilities"),
	OPT_BOOL('t', "tty", T, x.tty, "Give it a terminal"),
	OPT_STRING('u', "user", "USER[:GROUP]", T, x.user, "User and group, by name or number"),
	OPT_STRING('w', "workdir", "DIR", T, x.workdir, "Working directory inside"),
	OPT_END,
};

static int run(void *settings, int argc, char **argv, struct err *e)
{
	struct settings *set = settings;
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	int status = EXIT_WARREN;
	int r = registry_root(&root, e);

	(void)argc;
	if (!r && set->x.tty && set->x.interactive && !isatty(STDIN_FILENO))
		r = err_set(e, -ENOTTY, "the input device is not a TTY");
	if (!r)
		r = detach_keys_parse(&set->x.keys,
				      set->detach_keys ? set->detach_keys : "ctrl-p,ctrl-q", e);
	if (!r)
		r = subject_open(&s, root, argv[0], false, e);
	if (r)
		return r;
	set->x.s = &s;
	set->x.root = root;
	set->x.args = argv + 1;
	r = execute_run(&set->x, &status, e);
	if (r)
		cli_complain(e);
	return status;
}

extern const struct command cmd_exec;
const struct command cmd_exec = {
	.name = "exec",
	.args = "INSTANCE COMMAND [ARG...]",
	.summary = "Run a command in a running instance",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.stop_at_arg = true,
	.min_args = 2,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};
