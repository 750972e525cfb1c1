/*
 * The table of commands, sorted by name. To add one: write cli/cmd_<name>.c with a `struct command`
 * and name it here (docs/FIRST_COMMAND.md).
 *
 * #syscalls: none
 */
#include "cli/cli.h"

extern const struct command cmd_complete;
extern const struct command cmd_completion;
extern const struct command cmd_doctor;
extern const struct command cmd_kernel;
extern const struct command cmd_lguest;
extern const struct command cmd_manual;
extern const struct command cmd_version;

/* One line a command. */
/* clang-format off */
const struct command *const commands[] = {
	&cmd_complete,
	&cmd_completion,
	&cmd_doctor,
	&cmd_kernel,
	&cmd_lguest,
	&cmd_manual,
	&cmd_version,
	NULL,
};
/* clang-format on */
