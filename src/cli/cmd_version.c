/*
 * warren version
 *
 * #syscalls: write
 */
#include <stdio.h>

#include "cli/cli.h"
#include "generated/version.h"

struct settings {
	bool quiet;
};

static const struct opt opts[] = {
	OPT_BOOL('q', "quiet", struct settings, quiet, "Only the number"),
	OPT_END,
};

static int run(void *settings, int argc, char **argv, struct err *e)
{
	struct settings *s = settings;

	(void)argc, (void)argv, (void)e;
	if (s->quiet)
		printf("%s\n", WARREN_VERSION);
	else
		printf("warren version %s\nspec: 1.3.0\n", WARREN_VERSION);
	return 0;
}

extern const struct command cmd_version;
const struct command cmd_version = {
	.name = "version",
	.summary = "Show the version of Warren and of the runtime specification",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
};
