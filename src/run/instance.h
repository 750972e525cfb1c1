/* An instance is a directory: ROOT/<id>/ with state.json, config.json (the one it was created
 * from), and whatever its wall and keeper keep there (start.sock, control sockets, logs).
 *
 * ROOT is --root, else /run/warren for root, else $XDG_RUNTIME_DIR/warren (without one: /run/user/UID/warren, or
 * /tmp/warren-run-UID/warren). The directory is locked
 * by flock on itself while somebody changes the instance; readers need no lock, because state.json
 * is only ever replaced as a whole. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/oci.h"

enum instance_status {
	INSTANCE_CREATING, /* somebody is at it, or died while at it: `half` tells */
	INSTANCE_CREATED,
	INSTANCE_RUNNING,
	INSTANCE_PAUSED,
	INSTANCE_STOPPED,
};

enum { INSTANCE_STATE_VERSION = 1 };

struct instance {
	int dir; /* the directory, held open; the lock lives on it */
	bool locked;
	bool written; /* state.json exists */

	/* What state.json says; strings are owned. */
	char *id;
	char *bundle;		     /* absolute */
	char *wall;		     /* "container", "pv", "vm" */
	enum instance_status status; /* as last written; instance_probe() gives the truth */
	pid_t pid;		     /* the process whose end is the container's end; 0: none yet */
	uint64_t pid_start; /* its start time in clock ticks after boot: tells a reused pid */
	char *created;	    /* RFC 3339, UTC */
	uid_t owner;
	char *cgroup;	    /* cgroup_save()'s JSON object, NULL: none */
	char *wall_state;   /* another JSON object that belongs to the wall, or NULL */
	char *keeper_state; /* and one that belongs to the keeper (name, image, restart policy...),
			       or NULL */
	pid_t keeper_pid;   /* 0: driven by somebody else's program */
	uint64_t keeper_start;
	struct oci_map annotations; /* owned by `memory` */
	void *memory;
};

#define INSTANCE_INIT     \
	{                 \
		.dir = -1 \
	}

void instance_fini(struct instance *in); /* unlocks and closes; the directory stays */

/* The root directory to use: `wish` when not NULL. Made (0711) when it is missing. The result is to
 * be freed. 0 or -errno. */
int instance_root(const char *wish, char **root, struct err *e);

/* Letters, digits, "_+-." and not a dot first; at most 1024. 0 or -EINVAL. */
int instance_id_check(const char *id, struct err *e);

/* Makes the directory (-EEXIST when there is one), locked and without a state.json: until the first
 * instance_save() it loads as INSTANCE_CREATING. `in` has bundle, wall and annotations set by the caller before; id,
 * created, owner are filled in. 0 or -errno. */
int instance_new(struct instance *in, const char *root, const char *id, struct err *e);

/* Opens by id and reads the state. `lock`: waits for the lock, and the directory is certain to be
 * the one that the name still leads to. -ENOENT: "no instance 'x'". A half-created one (no
 * state.json, or a cut one) loads as INSTANCE_CREATING with pid 0. 0 or -errno. */
int instance_open(struct instance *in, const char *root, const char *id, bool lock, struct err *e);

/* Writes state.json anew. Needs the lock. 0 or -errno. */
int instance_save(struct instance *in, struct err *e);

/* Fills pid and pid_start. 0 or -errno. */
int instance_set_pid(struct instance *in, pid_t pid, struct err *e);

/* The status now: derived from the process (alive, same start time) and what was written. Does not
 * know of PAUSED unless it was written; ask the wall for that. */
enum instance_status instance_probe(const struct instance *in);
const char *instance_status_name(enum instance_status s);

/* A pidfd for the instance's process, certain to be that process. -ESRCH when it has ended. */
int instance_pidfd(const struct instance *in);
/* Whether the keeper lives. */
bool instance_keeper_alive(const struct instance *in);
/* True when `creating` was written but nobody holds the lock: its creator died. */
bool instance_half(const struct instance *in);

/* Removes the directory and what is in it. Needs the lock. Processes and cgroups must be gone. 0 or
 * -errno. */
int instance_remove(struct instance *in, const char *root, struct err *e);

/* The ids under `root`, sorted. An absent root is an empty list. 0 or -errno. */
int instance_list(const char *root, struct strlist *ids, struct err *e);

/* Start time of a process in clock ticks after boot (field 22 of /proc/PID/stat); -ESRCH when there
 * is none or it is a zombie. 0 or -errno. */
int process_start_time(pid_t pid, uint64_t *ticks);

/* The copy of config.json in the instance's directory. */
int instance_save_config(struct instance *in, const char *json, size_t n, struct err *e);
int instance_load_config(struct instance *in, struct oci_spec **spec, struct err *e);
