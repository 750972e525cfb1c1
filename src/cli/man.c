/*
 * Manual pages from the option tables, in roff's man macros. The same table that parses argv is
 * printed, so a page cannot promise an option that is not there.
 *
 * Trust: prints our own tables only. Threads: none. #syscalls: write
 */
#include <ctype.h>
#include <stdio.h>

#include "cli/cli.h"
#include "generated/version.h"

/* Text that roff would take for a request or an escape is made plain. */
static void roff_text(FILE *f, const char *s, size_t len)
{
	bool line_start = true;

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (line_start && (c == '.' || c == '\''))
			fputs("\\&", f);
		if (c == '-')
			fputs("\\-", f);
		else if (c == '\\')
			fputs("\\e", f);
		else
			fputc(c, f);
		line_start = c == '\n';
	}
}

static void roff(FILE *f, const char *s)
{
	roff_text(f, s, strlen(s));
}

/* "warren oci create" as the page's name: warren-oci-create. */
static void page_name(FILE *f, const char *path, bool upper)
{
	for (; *path; path++)
		if (*path == ' ')
			fputs(upper ? "-" : "\\-", f);
		else
			fputc(upper ? toupper((unsigned char)*path) : *path, f);
}

static void print_option(const struct opt *o, void *arg)
{
	FILE *f = arg;

	if (o->kind == OPT_HEADING_) {
		fprintf(f, ".SS %s\n", o->help);
		return;
	}
	fputs(".TP\n", f);
	if (o->letter)
		fprintf(f, "\\fB\\-%c\\fR%s", o->letter, o->name ? ", " : "");
	if (o->name) {
		fputs("\\fB\\-\\-", f);
		roff(f, o->name);
		fputs("\\fR", f);
	}
	if (o->metavar) {
		fputs(" \\fI", f);
		roff(f, o->metavar);
		fputs("\\fR", f);
	}
	fputc('\n', f);
	roff(f, o->help);
	if (o->choices) {
		fputs(" (", f);
		roff(f, o->choices);
		fputc(')', f);
	}
	fputs(".\n", f);
}

/* Paragraphs; lines that begin with a blank are examples. */
static void print_paragraphs(FILE *f, const char *text)
{
	bool example = false;

	while (*text) {
		size_t len = strcspn(text, "\n");
		bool indented = *text == ' ';

		if (indented != example)
			fputs(indented ? ".EX\n" : ".EE\n", f);
		example = indented;
		if (!len)
			fputs(".PP", f);
		roff_text(f, text, len);
		fputc('\n', f);
		text += len + (text[len] == '\n');
	}
	if (example)
		fputs(".EE\n", f);
}

static void print_commands(FILE *f, const char *path, const struct command *const *subs)
{
	fputs(".SH COMMANDS\n", f);
	for (; *subs; subs++) {
		if ((*subs)->hidden)
			continue;
		fputs(".TP\n\\fB", f);
		page_name(f, path, false);
		fprintf(f, "\\-%s\\fR(1)\n", (*subs)->name);
		roff(f, (*subs)->summary);
		fputs(".\n", f);
	}
}

void man_page(FILE *f, const char *path, const struct command *cmd,
	      const struct command *const *subs)
{
	const char *parent = strrchr(path, ' ');
	const char *summary = cmd ? cmd->summary
				  : "one command line for containers, paravirtual guests and VMs";

	fputs(".TH ", f);
	page_name(f, path, true);
	fprintf(f, " 1 \"\" \"Warren %s\" \"Warren\"\n.SH NAME\n", WARREN_VERSION);
	page_name(f, path, false);
	fputs(" \\- ", f);
	roff(f, summary);
	fprintf(f, "\n.SH SYNOPSIS\n\\fB%s\\fR ", path);
	if (subs)
		fputs("\\fICOMMAND\\fR [\\fIOPTION\\fR...] [\\fIARG\\fR...]\n", f);
	else
		fprintf(f, "%s%s\n", cmd->opts ? "[\\fIOPTION\\fR...] " : "",
			cmd->args ? cmd->args : "");
	if (cmd) {
		fputs(".SH DESCRIPTION\n", f);
		roff(f, summary);
		fputs(".\n", f);
	}
	if (cmd && cmd->text) {
		fputs(".PP\n", f);
		print_paragraphs(f, cmd->text);
	}
	if (cmd && cmd->opts && cmd->opts->kind != OPT_END_) {
		fputs(".SH OPTIONS\n", f);
		opt_each(cmd->opts, print_option, f);
	}
	if (subs)
		print_commands(f, path, subs);
	fputs(".SH EXIT STATUS\n125: Warren's own error. 126: the command cannot be invoked. "
	      "127: the command was not found. 124: \\-\\-timeout ran out. Otherwise the "
	      "command's own status, or 128 plus the number of the signal that ended it.\n",
	      f);
	if (!parent)
		fputs(".SH ENVIRONMENT\n.TP\n\\fBWARREN_DATA\\fR\nImages, kernels, volumes and "
		      "instances' disks, in "
		      "place of /var/lib/warren or an ordinary user's ~/.local/share/warren.\n"
		      ".TP\n\\fBWARREN_RUN\\fR\nThe state of instances, in place of /run/warren or "
		      "what "
		      "an ordinary user has for it; 'warren info' shows both.\n"
		      ".TP\n\\fBWARREN_UNPACK_MAX\\fR\nThe most that may come out of an archive, "
		      "in place of the "
		      "free space of the disk.\n",
		      f);
	if (parent) {
		fputs(".SH SEE ALSO\n\\fB", f);
		for (const char *p = path; p < parent; p++)
			fputs(*p == ' ' ? "\\-" : (char[]){ *p, 0 }, f);
		fputs("\\fR(1)\n", f);
	}
}
