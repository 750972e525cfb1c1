/*
 * --help from the option tables, wrapped to the terminal.
 *
 * Trust: prints our own tables only. Threads: none. #syscalls: write ioctl
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "cli/cli.h"

#define LABEL_WIDTH 30

static size_t terminal_width(FILE *f)
{
	struct winsize size;
	uint64_t columns;
	const char *env = getenv("COLUMNS");

	if (env && !str_to_u64(env, &columns) && columns >= 40)
		return MIN(columns, (uint64_t)120);
	if (ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
		return MIN((size_t)size.ws_col, (size_t)120);
	return 80;
}

/* Words of one line of text, broken before `width`; following lines begin at `indent`. */
static void wrap_line(FILE *f, const char *s, size_t len, size_t column, size_t indent,
		      size_t width)
{
	bool first = true;

	for (size_t i = 0; i < len;) {
		while (i < len && s[i] == ' ')
			i++;
		size_t n = 0;

		while (i + n < len && s[i + n] != ' ')
			n++;
		if (!n)
			break;
		if (!first && column + 1 + n > width) {
			fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
		} else if (!first) {
			fputc(' ', f);
			column++;
		}
		fprintf(f, "%.*s", (int)n, s + i);
		column += n;
		i += n;
		first = false;
	}
}

/* Paragraphs; a line that begins with a blank is an example and stays as it is. */
static void wrap_text(FILE *f, const char *text, size_t width)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		if (*text == ' ')
			fprintf(f, "%.*s", (int)len, text);
		else
			wrap_line(f, text, len, 0, 0, width);
		fputc('\n', f);
		text += len + (text[len] == '\n');
	}
}

void help_label(const struct opt *o, char *out, size_t size)
{
	char letter[4] = "";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c%s", o->letter, o->name ? "," : "");
	snprintf(out, size, "%-3s %s%s%s%s", letter, o->name ? "--" : "", o->name ? o->name : "",
		 o->metavar ? " " : "", o->metavar ? o->metavar : "");
}

struct page {
	FILE *f;
	size_t width;
};

static void print_option(const struct opt *o, void *arg)
{
	struct page *p = arg;
	char label[128], text[512];

	if (o->kind == OPT_HEADING_) {
		fprintf(p->f, "\n%s:\n", o->help);
		return;
	}
	help_label(o, label, sizeof(label));
	snprintf(text, sizeof(text), "%s%s%s%s", o->help, o->choices ? " (" : "",
		 o->choices ? o->choices : "", o->choices ? ")" : "");
	if (strlen(label) > LABEL_WIDTH)
		fprintf(p->f, "  %s\n  %*s  ", label, LABEL_WIDTH, "");
	else
		fprintf(p->f, "  %-*s  ", LABEL_WIDTH, label);
	wrap_line(p->f, text, strlen(text), LABEL_WIDTH + 4, LABEL_WIDTH + 4, p->width);
	fputc('\n', p->f);
}

static void print_commands(FILE *f, const struct command *const *table, size_t width)
{
	fprintf(f, "\nCommands:\n");
	for (; *table; table++) {
		if ((*table)->hidden)
			continue;
		fprintf(f, "  %-12s  ", (*table)->name);
		wrap_line(f, (*table)->summary, strlen((*table)->summary), 16, 16, width);
		fputc('\n', f);
	}
}

void help_overview(FILE *f, const char *path, const struct command *const *table)
{
	fprintf(f, "Usage: %s COMMAND [OPTION...] [ARG...]\n", path);
	print_commands(f, table, terminal_width(f));
	fprintf(f, "\n'%s COMMAND --help' shows a command's options.\n", path);
}

void help_command(FILE *f, const char *path, const struct command *cmd)
{
	struct page page = { f, terminal_width(f) };

	fprintf(f, "Usage: %s%s%s%s\n\n", path, cmd->opts ? " [OPTION...]" : "",
		cmd->args ? " " : "", cmd->args ? cmd->args : "");
	wrap_text(f, cmd->summary, page.width);
	if (cmd->text) {
		fputc('\n', f);
		wrap_text(f, cmd->text, page.width);
	}
	if (cmd->opts && cmd->opts->kind != OPT_END_) {
		if (cmd->opts->kind != OPT_HEADING_)
			fprintf(f, "\nOptions:\n");
		opt_each(cmd->opts, print_option, &page);
	}
	if (cmd->subs)
		print_commands(f, cmd->subs, page.width);
}
