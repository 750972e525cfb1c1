/*
 * warren cp: copy files between the host and an instance.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/copy.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "run/copy.h"

struct settings {
	bool archive, follow, quiet;
};

static const struct opt opts[] = {
	OPT_BOOL('a', "archive", struct settings, archive, "Keep owners and set-id bits"),
	OPT_BOOL('L', "follow-link", struct settings, follow, "Follow a link that is named"),
	OPT_BOOL('q', "quiet", struct settings, quiet, "Accepted; nothing is said anyway"),
	OPT_END,
};

/* "instance:path": what stands before the colon, to be freed; NULL for a path of the host. */
static char *instance_of(const char *word, const char **path)
{
	const char *colon = strchr(word, ':');

	*path = word;
	if (word[0] == '/' || word[0] == '.' || !colon || colon == word)
		return NULL;
	*path = colon[1] ? colon + 1 : "/";
	return strndup(word, (size_t)(colon - word));
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	const char *from_path, *to_path;
	cleanup_free char *from = instance_of(argv[0], &from_path);
	cleanup_free char *to = instance_of(argv[1], &to_path);
	struct copy c = { .s = &s, .into = to, .archive = set->archive, .follow = set->follow };

	(void)argc;
	if (from && to)
		return err_set(e, -EINVAL, "cp: between two instances is not possible");
	if (!from && !to)
		return err_set(e, -EINVAL, "cp: one of the two must be INSTANCE:PATH");
	c.host = to ? from_path : to_path;
	c.inside = to ? to_path : from_path;
	int r = registry_root(&root, e);

	if (!r)
		r = subject_open(&s, root, to ? to : from, false, e);
	return r ? r : copy_run(&c, e);
}

extern const struct command cmd_cp;
const struct command cmd_cp = {
	.name = "cp",
	.args = "INSTANCE:PATH PATH|- | PATH|- INSTANCE:PATH",
	.summary = "Copy files between the host and an instance",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 2,
	.max_args = 2,
	.complete_args = COMPLETE_INSTANCE,
};
