/*
 * warren container: docker's longer way to say what instances are told.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: none of its own
 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "run/prune.h"
#include "run/registry.h"

extern const struct command cmd_attach, cmd_commit, cmd_container_ls, cmd_cp, cmd_create, cmd_diff;
extern const struct command cmd_exec, cmd_export, cmd_inspect, cmd_kill, cmd_logs, cmd_pause;
extern const struct command cmd_port, cmd_rename, cmd_restart, cmd_rm, cmd_run, cmd_start;
extern const struct command cmd_stats, cmd_stop, cmd_top, cmd_unpause, cmd_update, cmd_wait;

struct prune_settings {
	bool force;
};

static const struct opt prune_opts[] = {
	OPT_BOOL('f', "force", struct prune_settings, force, "Accepted; nothing is asked"),
	OPT_END,
};

static void print_removed(void *arg, const char *id)
{
	(void)arg;
	printf("Deleted: %s\n", id);
}

static int run_prune(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e);

	(void)settings, (void)argc, (void)argv;
	return r ? r : prune_instances(root, print_removed, NULL, e);
}

static const struct command cmd_prune = {
	.name = "prune",
	.summary = "Remove instances that have ended",
	.opts = prune_opts,
	.settings_size = sizeof(struct prune_settings),
	.run = run_prune,
};

/* clang-format off */
static const struct command *const subs[] = {
	&cmd_attach, &cmd_commit, &cmd_cp, &cmd_create, &cmd_diff, &cmd_exec, &cmd_export, &cmd_inspect, &cmd_kill,
	&cmd_logs, &cmd_container_ls, &cmd_pause, &cmd_port, &cmd_prune, &cmd_rename, &cmd_restart, &cmd_rm, &cmd_run,
	&cmd_start, &cmd_stats, &cmd_stop, &cmd_top, &cmd_unpause, &cmd_update, &cmd_wait, NULL,
};
/* clang-format on */

extern const struct command cmd_container;
const struct command cmd_container = {
	.name = "container",
	.summary = "Instances: the same commands, as docker nests them",
	.subs = subs,
};
