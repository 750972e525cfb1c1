/*
 * --help from the option tables.
 *
 * Trust: prints our own tables only. Threads: none. #syscalls: write
 */
#include <stdio.h>

#include "cli/cli.h"

static int option_label(const struct opt *o, char *out, size_t size)
{
	char letter[4] = "";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c%s", o->letter, o->name ? "," : "");
	return snprintf(out, size, "%-3s %s%s%s%s", letter, o->name ? "--" : "",
			o->name ? o->name : "", o->metavar ? " " : "",
			o->metavar ? o->metavar : "");
}

static void print_option(const struct opt *o, void *arg)
{
	FILE *f = arg;
	char label[128];

	option_label(o, label, sizeof(label));
	if (strlen(label) > 30)
		fprintf(f, "  %s\n  %30s  %s\n", label, "", o->help);
	else
		fprintf(f, "  %-30s  %s\n", label, o->help);
}

void help_overview(FILE *f, const char *path, const struct command *const *table)
{
	fprintf(f, "Usage: %s COMMAND [OPTION...] [ARG...]\n\nCommands:\n", path);
	for (; *table; table++)
		if (!(*table)->hidden)
			fprintf(f, "  %-12s  %s\n", (*table)->name, (*table)->summary);
	fprintf(f, "\n'%s COMMAND --help' shows a command's options.\n", path);
}

void help_command(FILE *f, const char *path, const struct command *cmd)
{
	fprintf(f, "Usage: %s%s%s%s\n\n%s.\n", path, cmd->opts ? " [OPTION...]" : "",
		cmd->args ? " " : "", cmd->args ? cmd->args : "", cmd->summary);
	if (cmd->text)
		fprintf(f, "\n%s\n", cmd->text);
	if (cmd->opts) {
		fprintf(f, "\nOptions:\n");
		opt_each(cmd->opts, print_option, f);
	}
}
