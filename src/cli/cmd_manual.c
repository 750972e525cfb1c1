/*
 * warren manual DIR (hidden): writes the manual pages of all commands, for the installer.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: openat write close
 */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"

static int write_page(const char *dir, const char *path, const struct command *cmd,
		      const struct command *const *subs, struct err *e)
{
	char file[4096];
	int n = snprintf(file, sizeof(file), "%s/%s.1", dir, path);

	if (n < 0 || (size_t)n >= sizeof(file))
		return err_set(e, -ENAMETOOLONG, "manual: %s: too long", dir);
	for (char *p = file + strlen(dir) + 1; *p; p++)
		if (*p == ' ')
			*p = '-';
	cleanup_fclose FILE *f = fopen(file, "we");

	if (!f)
		return err_sys(e, -errno, "manual: %s", file);
	man_page(f, path, cmd, subs);
	if (fflush(f))
		return err_sys(e, -errno, "manual: %s", file);
	return 0;
}

static int write_pages(const char *dir, const char *path, const struct command *const *table,
		       struct err *e)
{
	for (; *table; table++) {
		const struct command *cmd = *table;
		char full[256];

		if (cmd->hidden)
			continue;
		snprintf(full, sizeof(full), "%s %s", path, cmd->name);
		int r = write_page(dir, full, cmd, cmd->subs, e);

		if (!r && cmd->subs)
			r = write_pages(dir, full, cmd->subs, e);
		if (r)
			return r;
	}
	return 0;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings, (void)argc;
	int r = write_page(argv[0], "warren", NULL, commands, e);

	return r ? r : write_pages(argv[0], "warren", commands, e);
}

extern const struct command cmd_manual;
const struct command cmd_manual = {
	.name = "manual",
	.args = "DIR",
	.summary = "Write the manual pages of all commands",
	.run = run,
	.hidden = true,
	.min_args = 1,
	.max_args = 1,
};
