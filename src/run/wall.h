/* What every wall can do. A wall makes instances from a config.json; the rest of the program never
 * asks which one it is. The table of walls is run/walls.c. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "container/container.h"
#include "run/instance.h"
#include "wire/oci.h"
#include "wire/oci_stats.h"
#include "wire/passwd.h"

/* How an instance is made, beyond its config.json. Descriptors stay the caller's. */
struct wall_create {
	const struct oci_spec *spec;
	bool detached;	    /* another process will call start */
	bool at_once;	    /* this process will, right away: RUNNING is written, once */
	bool go_on;	    /* and does nothing before: the wall need not wait for it */
	int stdio[3];	    /* -1: our own */
	int console_socket; /* -1: struct wall_process.master has the terminal */
	int preserve_fds;
	int listen_fds; /* of them, those that are handed over as LISTEN_FDS */
	bool no_pivot, no_new_keyring, init_reaper;
	enum cgroup_manager cgroup_manager;
	const struct container_overlay *overlay; /* the image's layers; NULL: spec->root_path */
};

#define WALL_CREATE_INIT                                      \
	{                                                     \
		.stdio = { -1, -1, -1 }, .console_socket = -1 \
	}

/* A further process in a running instance. */
struct wall_exec {
	const struct oci_spec *spec; /* the instance's own */
	const struct oci_process *process;
	int stdio[3];
	int console_socket;
	int preserve_fds;
	bool no_new_keyring;
};

#define WALL_EXEC_INIT                                        \
	{                                                     \
		.stdio = { -1, -1, -1 }, .console_socket = -1 \
	}

/* A process of the host whose end and exit status are those of the command: init itself behind the
 * container wall, the VMM or a go-between behind the others. Our child. */
struct wall_process {
	pid_t pid;
	int pidfd;
	int master; /* the terminal, or -1 */
	void *live; /* the wall's own, between create and start in one process; NULL in others */
	void (*live_fini)(void *live);
};

#define WALL_PROCESS_INIT                 \
	{                                 \
		.pidfd = -1, .master = -1 \
	}

/* Every function that takes an instance wants it open; those that change it want it locked, and
 * save it before they return. All return 0 or -errno with `e` set. A member that is NULL: this wall
 * cannot do it. */
struct wall_ops {
	const char *name;    /* "container": what --isolation takes and state.json says */
	const char *summary; /* one line for help */
	bool guest;	     /* its processes, network and files are behind a kernel of its own */

	/* Whether it can work here and now, for this user: 0, or -errno with the failing check and
	 * the mend. */
	int (*probe)(struct err *e);
	/* The same, and what costs more to find out: asked where the user allows a second choice. `kernel`:
	 * the name that was wished for, or NULL. */
	int (*ready)(const char *kernel, struct err *e);

	/* `in` is fresh from instance_new(). On success its status is CREATED, pid and cgroup are
	 * set and saved. On failure nothing but the directory is left. */
	int (*create)(struct instance *in, const struct wall_create *a, struct wall_process *p,
		      struct err *e);
	/* `p` from create in the same process, or NULL. Status becomes RUNNING. */
	int (*start)(struct instance *in, const struct oci_spec *spec, struct wall_process *p,
		     struct err *e);
	/* -ESRCH: nobody there. Needs no lock. */
	int (*kill)(struct instance *in, int sig, bool all, struct err *e);
	int (*exec)(struct instance *in, const struct wall_exec *x, struct wall_process *p,
		    struct err *e);
	int (*pause)(struct instance *in, struct err *e);
	int (*resume)(struct instance *in, struct err *e);
	/* 1 paused, 0 not, -errno. */
	int (*paused)(struct instance *in);
	int (*update)(struct instance *in, const struct oci_resources *r, struct err *e);
	int (*stats)(struct instance *in, struct oci_stats *st, struct err *e);
	/* How often the kernel's out-of-memory killer struck in it so far; asked before cleanup. */
	int64_t (*oom_kills)(struct instance *in);
	/* It ended in a way after which it is to stay although it would be removed; NULL: never. */
	bool (*kept)(struct instance *in);
	/* Pids as the host sees them; `*pids` is to be freed. Their number. */
	int (*pids)(struct instance *in, pid_t **pids, struct err *e);
	/* cp for instances whose files the host cannot reach; NULL: through the process's root. `host` may
	 * be "-", a tar stream. */
	int (*copy)(struct instance *in, bool into, const char *host, const char *inside,
		    bool archive, bool follow, struct err *e);
	/* The same for looking up "USER[:GROUP]", ... */
	int (*user)(struct instance *in, const char *wish, struct user_ids *out, struct err *e);
	/* ... for `top`'s rows as JSON text, and for `diff`: "C/path" with a zero behind each. */
	int (*top)(struct instance *in, struct buf *rows, struct err *e);
	int (*changes)(struct instance *in, struct buf *lines, struct err *e);
	/* After the end (with `force`: ends it first): poststop hooks, cgroup, everything but the
	 * directory. `spec` may be NULL when it could not be read. Harmless when repeated. */
	int (*cleanup)(struct instance *in, const struct oci_spec *spec, bool force, struct err *e);
};

/* Closes; frees `live`. */
void wall_process_fini(struct wall_process *p);

/* NULL-terminated, sorted by name. */
extern const struct wall_ops *const walls[];

/* By name; "default", "process" and NULL mean container. -EINVAL names those that there are. */
int wall_find(const char *name, const struct wall_ops **out, struct err *e);
/* The wall of an existing instance. */
int wall_of(const struct instance *in, const struct wall_ops **out, struct err *e);
/* The status with PAUSED asked from the wall. */
enum instance_status wall_status(struct instance *in);
