/*
 * The verbs of `warren oci`, sorted by name: one file a verb.
 *
 * #syscalls: none
 */
#include "cli/oci.h"

extern const struct command oci_cmd_create;
extern const struct command oci_cmd_delete;
extern const struct command oci_cmd_exec;
extern const struct command oci_cmd_kill;
extern const struct command oci_cmd_run;
extern const struct command oci_cmd_start;
extern const struct command oci_cmd_state;

/* One line a command. */
/* clang-format off */
const struct command *const oci_commands[] = {
	&oci_cmd_create,
	&oci_cmd_delete,
	&oci_cmd_exec,
	&oci_cmd_kill,
	&oci_cmd_run,
	&oci_cmd_start,
	&oci_cmd_state,
	NULL,
};
/* clang-format on */
