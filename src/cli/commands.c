/*
 * The table of commands, sorted by name. To add one: write cli/cmd_<name>.c with a `struct command`
 * and name it here (docs/FIRST_COMMAND.md).
 *
 * #syscalls: none
 */
#include "cli/cli.h"

extern const struct command cmd_artifact;
extern const struct command cmd_attach;
extern const struct command cmd_build;
extern const struct command cmd_commit;
extern const struct command cmd_complete;
extern const struct command cmd_completion;
extern const struct command cmd_console;
extern const struct command cmd_container;
extern const struct command cmd_cp;
extern const struct command cmd_create;
extern const struct command cmd_diff;
extern const struct command cmd_doctor;
extern const struct command cmd_events;
extern const struct command cmd_exec;
extern const struct command cmd_export;
extern const struct command cmd_features;
extern const struct command cmd_history;
extern const struct command cmd_image;
extern const struct command cmd_images;
extern const struct command cmd_import;
extern const struct command cmd_info;
extern const struct command cmd_inspect;
extern const struct command cmd_keeper;
extern const struct command cmd_kernel;
extern const struct command cmd_kill;
extern const struct command cmd_lguest;
extern const struct command cmd_load;
extern const struct command cmd_login;
extern const struct command cmd_logout;
extern const struct command cmd_logs;
extern const struct command cmd_manual;
extern const struct command cmd_oci;
extern const struct command cmd_pause;
extern const struct command cmd_port;
extern const struct command cmd_ps;
extern const struct command cmd_pull;
extern const struct command cmd_push;
extern const struct command cmd_rename;
extern const struct command cmd_restart;
extern const struct command cmd_rm;
extern const struct command cmd_rmi;
extern const struct command cmd_run;
extern const struct command cmd_save;
extern const struct command cmd_start;
extern const struct command cmd_stats;
extern const struct command cmd_stop;
extern const struct command cmd_system;
extern const struct command cmd_tag;
extern const struct command cmd_top;
extern const struct command cmd_unpause;
extern const struct command cmd_update;
extern const struct command cmd_version;
extern const struct command cmd_volume;
extern const struct command cmd_wait;
extern const struct command cmd_xl;

/* One line a command. */
/* clang-format off */
const struct command *const commands[] = {
	&cmd_artifact,
	&cmd_attach,
	&cmd_build,
	&cmd_commit,
	&cmd_complete,
	&cmd_completion,
	&cmd_console,
	&cmd_container,
	&cmd_cp,
	&cmd_create,
	&cmd_diff,
	&cmd_doctor,
	&cmd_events,
	&cmd_exec,
	&cmd_export,
	&cmd_features,
	&cmd_history,
	&cmd_image,
	&cmd_images,
	&cmd_import,
	&cmd_info,
	&cmd_inspect,
	&cmd_keeper,
	&cmd_kernel,
	&cmd_kill,
	&cmd_lguest,
	&cmd_load,
	&cmd_login,
	&cmd_logout,
	&cmd_logs,
	&cmd_manual,
	&cmd_oci,
	&cmd_pause,
	&cmd_port,
	&cmd_ps,
	&cmd_pull,
	&cmd_push,
	&cmd_rename,
	&cmd_restart,
	&cmd_rm,
	&cmd_rmi,
	&cmd_run,
	&cmd_save,
	&cmd_start,
	&cmd_stats,
	&cmd_stop,
	&cmd_system,
	&cmd_tag,
	&cmd_top,
	&cmd_unpause,
	&cmd_update,
	&cmd_version,
	&cmd_volume,
	&cmd_wait,
	&cmd_xl,
	NULL,
};
/* clang-format on */
