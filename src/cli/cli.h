/* The command line's front door and what all commands share. */
#pragma once

#include <stdio.h>

#include "cli/opt.h"

/* The programs' exit status for Warren's own failures (docker's numbers). */
enum { EXIT_WARREN = 125, EXIT_NOT_INVOCABLE = 126, EXIT_NOT_FOUND = 127, EXIT_TIMEOUT = 124 };

/* The sorted table in cli/commands.c. NULL-terminated. */
extern const struct command *const commands[];

/* Runs argv by a command or its subcommands. `path` is what was typed so far ("warren oci"). Prints
 * errors and help. Returns the exit status. */
int cli_dispatch(const struct command *const *table, const char *path, int argc, char **argv);
/* One command, argv[0] its name. */
int cli_run(const struct command *cmd, const char *path, int argc, char **argv);

/* Prints an error that does not end the command. */
void cli_complain(const struct err *e);
/* `fn` also gets the text of every error that is printed. */
void cli_on_error(void (*fn)(const char *text));
/* cmd_version.c: what `version` prints, which callers of a runtime ask for too. */
void cli_print_version(void);

/* The command of that name in the table, NULL: none. */
const struct command *cli_find(const struct command *const *table, const char *name);

/* The list of commands / one command's usage, to `f`. */
void help_overview(FILE *f, const char *path, const struct command *const *table);
void help_command(FILE *f, const char *path, const struct command *cmd);

/* Fills `out` with "-x, --name VALUE" for help and manual. */
void help_label(const struct opt *o, char *out, size_t size);

/* The manual page of a command as roff, to `f`; `subs` for the page that lists commands. */
void man_page(FILE *f, const char *path, const struct command *cmd,
	      const struct command *const *subs);

/* Calls `fn` for each instance or image on this host. Unreadable ones are left out. */
typedef void name_fn(const char *name, const char *text, void *arg);
void names_each(enum opt_complete kind, name_fn *fn, void *arg);

/* Prints what may stand for the last of `words` (the line behind the program's name), one candidate
 * a line with its description behind a tab, and a last line ":", ":file" or ":dir" that tells the
 * shell what else to offer. */
void complete_words(FILE *f, const struct command *const *table, int n, char *const *words);
