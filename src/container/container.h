/* The container wall: one process tree behind namespaces, from a config.json.
 *
 * The life of a container, the same for the short-lived `warren oci` programs and for a keeper:
 *
 *	container_create()	clones init; it builds the root and stops before the command
 *	container_start()	lets it go on: over the sync socket in the process that created it,
 *				over `start.sock` in the instance's directory in any other
 *	container_exec()	a further process inside
 *	container_kill()	by pidfd, never by a number that may have been reused
 *
 * The caller of container_create() is init's parent: it waits for it, runs no hooks itself (all six
 * are run by these calls and container_poststop()), and keeps what must survive in its state file.
 * Nothing here writes state, except by the `record` callback. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "container/cgroup.h"
#include "wire/oci.h"

/* Layers that become the root directory: an overlay mounted by init inside the container's own
 * mount namespace, so nothing of it is ever seen outside or left over. */
struct container_overlay {
	const char *const *lower; /* topmost first; absolute directories; NULL-terminated */
	const char *upper, *work; /* both NULL: read-only */
	bool is_volatile;	  /* no syncs; for --rm */
};

/* What state.json of the specification tells hooks and `state`. */
struct container_state {
	const char *id, *status, *bundle; /* status: "creating", "created", "running", "stopped" */
	pid_t pid;			  /* 0: none */
	const struct oci_map *annotations;
};

struct container_args {
	const struct oci_spec *spec;
	const char *id;
	const char *bundle; /* absolute; relative root paths start here */
	int dir;	    /* the instance's directory */
	bool detached;	    /* another process will start it: listen on `start.sock` in `dir` */

	int stdio[3];	    /* given to the command as 0, 1, 2; -1: our own. Not with a terminal */
	int console_socket; /* connected AF_UNIX socket that receives the terminal's master, or -1:
			     * then container.master has it */
	int preserve_fds;   /* this many descriptors from 3 on reach the command */
	int listen_fds;	    /* of them, those that are handed over as LISTEN_FDS */
	bool no_pivot;	    /* MS_MOVE + chroot, for a root on an initramfs */
	bool no_new_keyring;
	bool init_reaper; /* --init: PID 1 is ours, reaps orphans and forwards signals */
	/* The caller does nothing between create and start: where nothing else asks for it, init does not wait for
	 * the start. Not with `detached`. */
	bool go_on;
	enum cgroup_manager cgroup_manager;
	const struct container_overlay *overlay; /* NULL: spec->root_path is a directory */

	/* Called in the parent when init lives and needs our leave to go on, so that a parent that is killed
	 * leaves either no container or a record of it. May be NULL. 0 or -errno, which ends the start. */
	int (*record)(void *arg, pid_t pid, const struct cgroup *cg, struct err *e);
	void *record_arg;
};

/* A container that this process created, or found. */
struct container {
	pid_t pid;  /* in our pid namespace */
	int pidfd;  /* readable when it has ended; -1: none */
	int sync;   /* to init, until it runs the command; -1 otherwise */
	int master; /* of the terminal, or -1 */
	bool told;  /* to start, already */
	struct cgroup cgroup;
};

#define CONTAINER_INIT                                \
	{                                             \
		.pidfd = -1, .sync = -1, .master = -1 \
	}

void container_fini(struct container *c); /* closes; the container goes on */

/* On return init waits before the command; prestart, createRuntime and createContainer hooks have
 * run. On failure nothing is left: the child is dead and reaped, its cgroup removed. 0 or -errno.
 */
int container_create(struct container *c, const struct container_args *a, struct err *e);

/* Lets init run the command and returns when it does (or with the reason why it could not: -ENOENT
 * and -EACCES from the exec itself). startContainer hooks run in it before, poststart hooks here
 * after; a poststart hook that fails is only a warning. `dir` is used when `c` has no sync socket.
 * 0 or -errno. */
int container_start(struct container *c, const struct oci_spec *spec, const char *id,
		    const char *bundle, int dir, struct err *e);

/* Kills and reaps a container that this process created and that must not live. */
void container_abort(struct container *c);

/* A further process. Namespaces, cgroup, seccomp and labels are those of the container; `process`
 * says the rest (NULL: as spec->process). */
struct container_exec {
	const struct oci_spec *spec; /* of the container */
	const struct oci_process *process;
	const char *id, *bundle;
	struct cgroup *cgroup; /* from cgroup_load(); may have n == 0 */
	pid_t pid;	       /* the container's init */
	int pidfd;
	int stdio[3];	    /* as in container_args */
	int console_socket; /* likewise */
	int preserve_fds;
	bool no_new_keyring;
};

/* `out` gets pid, pidfd and master; its exit status is the caller's to collect, it is our child.
 * Returns when the command runs. 0 or -errno. */
int container_exec(struct container *out, const struct container_exec *x, struct err *e);

/* Signals init by its pidfd; with `all` every process of the cgroup, also when init is gone. -ESRCH
 * when there was nobody to signal. 0 or -errno. */
int container_kill(int pidfd, const struct cgroup *cg, int sig, bool all, struct err *e);

/* After the end: runs the poststop hooks (failures are warnings) and removes the cgroup. Harmless
 * when done before. 0 or -errno. */
int container_cleanup(const struct oci_spec *spec, const struct container_state *st,
		      struct cgroup *cg, struct err *e);

/* The cgroup that a container of this id and config has or would have had: for one whose creator died before it
 * wrote it down. Nothing is made. 0 or -errno. */
int container_find_cgroup(const struct oci_spec *spec, const char *id, struct cgroup *cg,
			  struct err *e);

/* The specification's state object as one line of JSON without newline. 0 or -errno. */
int container_state_json(const struct container_state *st, struct buf *out);

/* Whether this host and user can have containers at all. 0, or -errno with the cause and the mend.
 */
int container_probe(struct err *e);
