/*
 * warren diff: what an instance changed in its image's files.
 *
 * Trust: argv is the user's; names were chosen by the instance and are made printable.
 * Threads: none. #syscalls: those of run/changes.c
 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "run/changes.h"

static int show(void *arg, enum change_kind kind, const char *path)
{
	static const char letters[] = {
		[CHANGE_MODIFIED] = 'C', [CHANGE_ADDED] = 'A', [CHANGE_DELETED] = 'D'
	};

	(void)arg;
	printf("%c ", letters[kind]);
	for (; *path; path++)
		putchar((unsigned char)*path < 0x20 || *path == 0x7f ? '?' : *path);
	putchar('\n');
	return 0;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e);

	(void)settings, (void)argc;
	if (!r)
		r = subject_open(&s, root, argv[0], false, e);
	return r ? r : changes_list(&s, show, NULL, e);
}

extern const struct command cmd_diff;
const struct command cmd_diff = {
	.name = "diff",
	.args = "INSTANCE",
	.summary = "Show what an instance changed in its image's files",
	.run = run,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
