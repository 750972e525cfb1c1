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

/* The list of commands / one command's usage, to `f`. */
void help_overview(FILE *f, const char *path, const struct command *const *table);
void help_command(FILE *f, const char *path, const struct command *cmd);
