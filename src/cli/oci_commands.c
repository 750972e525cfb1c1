/*
 * The verbs of `warren oci`, sorted by name: one file a verb.
 *
 * #syscalls: none
 */
#include "cli/oci.h"

extern const struct command oci_cmd_checkpoint;
extern const struct command oci_cmd_create;
extern const struct command oci_cmd_delete;
extern const struct command oci_cmd_events;
extern const struct command oci_cmd_exec;
extern const struct command oci_cmd_features;
extern const struct command oci_cmd_kill;
extern const struct command oci_cmd_list;
extern const struct command oci_cmd_pause;
extern const struct command oci_cmd_ps;
extern const struct command oci_cmd_restore;
extern const struct command oci_cmd_resume;
extern const struct command oci_cmd_run;
extern const struct command oci_cmd_spec;
extern const struct command oci_cmd_start;
extern const struct command oci_cmd_state;
extern const struct command oci_cmd_update;

/* One line a command. */
/* clang-format off */
const struct command *const oci_commands[] = {
	&oci_cmd_checkpoint,
	&oci_cmd_create,
	&oci_cmd_delete,
	&oci_cmd_events,
	&oci_cmd_exec,
	&oci_cmd_features,
	&oci_cmd_kill,
	&oci_cmd_list,
	&oci_cmd_pause,
	&oci_cmd_ps,
	&oci_cmd_restore,
	&oci_cmd_resume,
	&oci_cmd_run,
	&oci_cmd_spec,
	&oci_cmd_start,
	&oci_cmd_state,
	&oci_cmd_update,
	NULL,
};
/* clang-format on */
