/*
 * The table of commands, sorted by name. To add one: write cli/cmd_<name>.c with a `struct command`
 * and name it here (docs/FIRST_COMMAND.md).
 *
 * #syscalls: none
 */
#include "cli/cli.h"

extern const struct command cmd_version;

const struct command *const commands[] = {
	&cmd_version,
	NULL,
};
