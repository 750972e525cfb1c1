/*
 * What may stand at the end of an unfinished command line. The three shells' scripts
 * (cmd_completion.c) hold no knowledge of their own: each key press on Tab starts the program,
 * which walks the same tables that it parses argv by, and reads the names of instances and images
 * from disk.
 *
 * Trust: words are the user's. Threads: none. #syscalls: write
 */
#include <stdio.h>

#include "cli/cli.h"

struct offer {
	FILE *f;
	const char *typed;
};

static void offer_one(const struct offer *o, const char *word, const char *text)
{
	if (str_after(word, o->typed))
		fprintf(o->f, "%s\t%s\n", word, text);
}

static void offer_commands(const struct offer *o, const struct command *const *table)
{
	for (; *table; table++)
		if (!(*table)->hidden)
			offer_one(o, (*table)->name, (*table)->summary);
}

static void offer_option(const struct opt *opt, void *arg)
{
	const struct offer *o = arg;
	char word[128];

	if (opt->kind == OPT_HEADING_)
		return;
	if (opt->name) {
		snprintf(word, sizeof(word), "--%s", opt->name);
		offer_one(o, word, opt->help);
	} else if (opt->letter) {
		snprintf(word, sizeof(word), "-%c", opt->letter);
		offer_one(o, word, opt->help);
	}
}

/* The value of an option; `front` is what stands before it in the same word ("--format="). */
static void offer_choices(const struct offer *o, const char *front, const char *choices)
{
	char word[256];

	for (const char *p = choices; *p;) {
		size_t len = strcspn(p, "|");

		snprintf(word, sizeof(word), "%s%.*s", front, (int)len, p);
		offer_one(o, word, "");
		p += len + (p[len] == '|');
	}
}

static void offer_name(const char *name, const char *text, void *arg)
{
	offer_one(arg, name, text);
}

static void offer_kind(const struct offer *o, enum opt_complete kind)
{
	switch (kind) {
	case COMPLETE_INSTANCE:
	case COMPLETE_IMAGE:
		names_each(kind, offer_name, (void *)(uintptr_t)o);
		break;
	case COMPLETE_FILE:
		fputs(":file\n", o->f);
		return;
	case COMPLETE_DIR:
		fputs(":dir\n", o->f);
		return;
	case COMPLETE_NONE:
		break;
	}
	fputs(":\n", o->f);
}

/* The option that takes its value from the word behind `word`; NULL when none does. */
static const struct opt *waits_for_value(const struct opt *opts, const char *word)
{
	const struct opt *o = NULL;

	if (word[0] != '-' || !word[1])
		return NULL;
	if (word[1] == '-') {
		if (!strchr(word, '='))
			o = opt_find(opts, word + 2, strlen(word + 2), 0);
		return o && o->kind != OPT_BOOL_ ? o : NULL;
	}
	for (const char *p = word + 1; *p; p++) {
		o = opt_find(opts, NULL, 0, *p);
		if (!o || o->kind != OPT_BOOL_)
			return o && !p[1] ? o : NULL;
	}
	return NULL;
}

static void complete_value(struct offer *o, const struct opt *opt, const char *front)
{
	if (opt->choices) {
		offer_choices(o, front, opt->choices);
		fputs(":\n", o->f);
		return;
	}
	offer_kind(o, opt->complete);
}

/* `words[0]` is the command's own name. */
static void complete_command(FILE *f, const struct command *cmd, int n, char *const *words)
{
	struct offer o = { .f = f, .typed = words[n - 1] };
	const struct opt *waiting = NULL;
	bool options_end = false;
	int args = 0;

	for (int i = 1; i < n - 1; i++) {
		if (waiting) {
			waiting = NULL;
		} else if (options_end || words[i][0] != '-' || !words[i][1]) {
			if (cmd->subs) {
				complete_words(f, cmd->subs, n - i, words + i);
				return;
			}
			args++;
			options_end |= cmd->stop_at_arg;
		} else if (streq(words[i], "--")) {
			options_end = true;
		} else {
			waiting = waits_for_value(cmd->opts, words[i]);
		}
	}
	if (waiting) {
		complete_value(&o, waiting, "");
		return;
	}
	if (!options_end && o.typed[0] == '-') {
		size_t len = strcspn(o.typed, "=");
		const struct opt *opt = NULL;
		char front[128];

		if (o.typed[len] && len > 2)
			opt = opt_find(cmd->opts, o.typed + 2, len - 2, 0);
		if (opt) {
			snprintf(front, sizeof(front), "%.*s", (int)len + 1, o.typed);
			complete_value(&o, opt, front);
			return;
		}
		opt_each(cmd->opts, offer_option, &o);
		offer_one(&o, "--help", "Show the options");
		fputs(":\n", f);
		return;
	}
	if (cmd->subs) {
		complete_words(f, cmd->subs, 1, words + n - 1);
		return;
	}
	offer_kind(&o, cmd->stop_at_arg && args ? COMPLETE_FILE : cmd->complete_args);
}

void complete_words(FILE *f, const struct command *const *table, int n, char *const *words)
{
	while (n > 1) {
		const struct command *cmd = cli_find(table, words[0]);

		if (!cmd) {
			fputs(":\n", f);
			return;
		}
		if (!cmd->subs || cmd->opts) {
			complete_command(f, cmd, n, words);
			return;
		}
		table = cmd->subs;
		words++;
		n--;
	}
	offer_commands(&(struct offer){ .f = f, .typed = n ? words[0] : "" }, table);
	fputs(":\n", f);
}
