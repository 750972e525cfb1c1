/*
 * warren: one program, many words. Finds the command in the table, parses its options by its table,
 * runs it, and turns an error into one line on stderr and exit status 125. Nothing else in the tree
 * prints errors or exits.
 *
 * Trust: argv and the environment are the user's. Threads: none. #syscalls: write exit_group
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/cli.h"

static void (*error_hook)(const char *text);

void cli_on_error(void (*fn)(const char *text))
{
	error_hook = fn;
}

static void print_error(const char *path, const struct err *e, int code)
{
	struct err plain = ERR_INIT;

	if (!e->msg[0]) {
		err_sys(&plain, code < 0 ? code : -EINVAL, "%s", path);
		e = &plain;
	}
	fprintf(stderr, "Error: %s\n", e->msg);
	if (error_hook)
		error_hook(e->msg);
}

void cli_complain(const struct err *e)
{
	print_error("warren", e, e->code);
}

int cli_run(const struct command *cmd, const char *path, int argc, char **argv)
{
	char full[256];
	struct err e = ERR_INIT;

	snprintf(full, sizeof(full), "%s %s", path, cmd->name);
	if (cmd->subs && !cmd->run)
		return cli_dispatch(cmd->subs, full, argc, argv);
	cleanup_free void *settings = calloc(1, cmd->settings_size ? cmd->settings_size : 1);

	if (!settings) {
		print_error(full, &e, -ENOMEM);
		return EXIT_WARREN;
	}
	int n = opt_parse(cmd->opts, cmd->stop_at_arg, settings, argc, argv, &e);

	if (n == -ECANCELED) {
		help_command(stdout, full, cmd);
		opt_free(cmd->opts, settings);
		return 0;
	}
	if (n >= 0 && (n < cmd->min_args || (cmd->max_args >= 0 && n > cmd->max_args)))
		n = err_set(&e, -EINVAL, "%s: %s: usage: %s%s%s", cmd->name,
			    n < cmd->min_args ? "too few arguments" : "too many arguments", full,
			    cmd->args ? " " : "", cmd->args ? cmd->args : "");
	int status = n < 0 ? n : cmd->run(settings, n, argv, &e);

	if (fflush(stdout) && !status)
		status = err_sys(&e, -errno, "write to stdout");
	if (status < 0) {
		print_error(full, &e, status);
		if (n < 0)
			fprintf(stderr, "See '%s --help'.\n", full);
		status = EXIT_WARREN;
	}
	opt_free(cmd->opts, settings);
	return status;
}

/* The visible command whose name is nearest to what was typed, NULL when none is near. */
static const char *nearest(const struct command *const *table, const char *typed)
{
	size_t best = 1 + str_slips_allowed(typed);
	const char *name = NULL;

	for (; *table; table++) {
		size_t d = (*table)->hidden ? SIZE_MAX : str_distance(typed, (*table)->name);

		if (d < best) {
			best = d;
			name = (*table)->name;
		}
	}
	return name;
}

const struct command *cli_find(const struct command *const *table, const char *name)
{
	for (; table && *table; table++)
		if (streq((*table)->name, name))
			return *table;
	return NULL;
}

int cli_dispatch(const struct command *const *table, const char *path, int argc, char **argv)
{
	static char help_word[] = "--help";

	if (argc > 2 && streq(argv[1], "help")) {
		argv[1] = argv[2];
		argv[2] = help_word;
	}
	if (argc == 2 && streq(argv[1], "--version") && cli_find(table, "version"))
		argv[1] += 2;
	if (argc < 2 || streq(argv[1], "--help") || streq(argv[1], "-h") ||
	    streq(argv[1], "help")) {
		help_overview(argc < 2 ? stderr : stdout, path, table);
		return argc < 2 ? EXIT_WARREN : 0;
	}
	const struct command *cmd = cli_find(table, argv[1]);

	if (cmd)
		return cli_run(cmd, path, argc - 1, argv + 1);
	const char *meant = nearest(table, argv[1]);

	fprintf(stderr, "Error: unknown command '%s'", argv[1]);
	if (meant)
		fprintf(stderr, "; did you mean '%s %s'?\n", path, meant);
	else
		fprintf(stderr, ". See '%s --help'.\n", path);
	return EXIT_WARREN;
}
