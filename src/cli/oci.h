/* What the commands of `warren oci` share. */
#pragma once

#include <stdbool.h>

#include "cli/cli.h"
#include "run/instance.h"
#include "run/wall.h"

/* The options before the verb, and what argv[0] says. */
struct oci_globals {
	const char *root, *log, *log_format, *cgroup_manager;
	bool systemd_cgroup, debug, version;
	const char *rootless; /* accepted for compatibility, not used */
	const char *criu;     /* the program; NULL: from PATH */
	const char *wall;     /* from argv[0]; NULL: the bundle decides */
};

extern struct oci_globals oci;
extern const struct command cmd_oci;
/* The verbs, sorted, NULL-terminated. */
extern const struct command *const oci_commands[];

/* The root directory, made when missing; to be freed. */
int oci_root(char **root, struct err *e);

/* Opens an instance and finds its wall; an unknown id reads "container 'x' does not exist", which callers look
 * for. `wall` may be NULL. */
int oci_open(struct instance *in, const char *id, bool lock, const struct wall_ops **wall,
	     struct err *e);

/* The wall for a bundle: by argv[0], by the annotation dev.warren.isolation, by the `vm` object. */
int oci_wall(const struct oci_spec *spec, const struct wall_ops **wall, struct err *e);

/* Where the bundle and terminals come from: `create` and `run`, partly `exec`. */
struct oci_create_options {
	const char *bundle, *console_socket, *pid_file;
	int64_t preserve_fds;
	bool no_pivot, no_new_keyring, no_subreaper;
};

extern const struct opt oci_create_opts[];

/* Makes the instance and creates the container; on failure nothing is left. */
struct oci_created {
	struct instance in;
	struct oci_spec *spec;
	const struct wall_ops *wall;
	struct wall_process process;
};

/* The instance alone, without its processes: `restore`. On failure oci_destroy() clears what there is. */
int oci_prepare(struct oci_created *c, const struct oci_create_options *o, const char *id,
		struct err *e);
int oci_create(struct oci_created *c, const struct oci_create_options *o, const char *id,
	       bool detached, struct err *e);
void oci_created_fini(struct oci_created *c);

/* Ends it and removes every trace. */
void oci_destroy(struct oci_created *c);

/* Connects to --console-socket; -1 when `path` is NULL. -errno with `e` set. */
int oci_console_connect(const char *path, int *fd, struct err *e);
/* Checks that what --preserve-fds and LISTEN_FDS promise is open, by the caller. */
int oci_preserved_fds(int64_t wish, int *preserve, int *listen, struct err *e);
/* Writes the number as a whole; does nothing when `path` is NULL. */
int oci_write_pid(const char *path, pid_t pid, struct err *e);

/* Blocks the signals that oci_wait will pass on. Before the child exists. */
void oci_block_signals(void);
/* Waits for a child, passes signals on to it, and between it and our terminal every byte when it has one. Its
 * exit status as a shell gives it. */
int oci_wait(struct wall_process *p);

/* The exit status for a command that could not be run. */
int oci_exec_status(int err);
