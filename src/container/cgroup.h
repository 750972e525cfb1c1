/* The control groups of one container, on cgroup v1, v2 and hybrid hosts.
 *
 * Order of a start:
 *	cgroup_begin()		plans the directories, makes that of v2
 *	clone3(CLONE_INTO_CGROUP, cgroup_clone_fd())
 *	cgroup_finish()		parent: those of v1, and limits; opens what the child will need
 *	  child: cgroup_join()	the v1 hierarchies, before it makes its cgroup namespace
 *	cgroup_attach()		parent; only does something with the systemd manager
 *	cgroup_save()		into the instance's state
 * and of an exec: cgroup_load(), cgroup_open(), clone3, child: cgroup_join().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/oci.h"
#include "wire/oci_stats.h"

enum { CGROUP_DIRS_MAX = 16 };

enum cgroup_manager {
	CGROUP_MANAGER_CGROUPFS, /* Warren makes the directories itself */
	CGROUP_MANAGER_SYSTEMD,	 /* systemd makes a scope; Warren sets what systemd cannot */
};

/* One directory in one hierarchy. */
struct cgroup_dir {
	uint32_t controllers; /* CGROUP_CPU, ...: see cgroup_int.h */
	bool v2;
	bool made;   /* by Warren (or systemd for it): only then it is removed and killed */
	int parents; /* how many directories above it Warren made too */
	char *path;  /* as seen on the host: "/sys/fs/cgroup/cpu/warren/web1" */
	int join_fd; /* v1: "tasks", v2: the directory; -1 while not open */
};

struct cgroup {
	enum cgroup_manager manager;
	bool rootless;
	char *unit;    /* systemd's scope, NULL otherwise */
	bool pending;  /* between cgroup_begin() and cgroup_finish() */
	uint32_t kept; /* while being made: bit i for those of the planned directories that stay */
	int n;	       /* 0: the container has no cgroup of its own */
	struct cgroup_dir dirs[CGROUP_DIRS_MAX];
};

struct cgroup_wish {
	const char *id;
	const char *path; /* linux.cgroupsPath; NULL: /warren/ID, or beside our own when rootless.
			   * systemd: "slice:prefix:name" */
	enum cgroup_manager manager;
	const struct oci_resources *resources; /* may be NULL */
	bool rootless; /* not root in the initial user namespace: go on without, unless limits were
			* asked for */
};

/* One of the host's hierarchies. */
struct cgroup_tree {
	bool v2;
	const char *mount;
	char controllers[256]; /* blank-separated, by their kernel's names */
	char own[4096];	       /* the directory that this process is in */
};

/* What is mounted here, without making anything: how many of `out` are filled, 0 when there are none. */
int cgroup_trees(struct cgroup_tree out[CGROUP_DIRS_MAX]);

void cgroup_init(struct cgroup *cg);
void cgroup_fini(struct cgroup *cg); /* frees and closes; the kernel's directories stay */

/* Plans all directories and makes what a clone into them needs. Where there is no v1 hierarchy that is all, limits
 * included, so that the child is limited from its first instruction; otherwise cg->pending says that cgroup_finish()
 * has work. With the systemd manager nothing exists before cgroup_attach(). On failure what was made is removed
 * again. 0 or -errno. */
int cgroup_begin(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e);
/* The rest, and the limits. Until then the child must not go on. After a failure the child is still in what was made:
 * the caller ends it and calls cgroup_remove(). 0 or -errno. */
int cgroup_finish(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e);

/* How a child that was cloned between the two catches up: the parent sends cg->kept and these descriptors. */
int cgroup_join_fds(const struct cgroup *cg, int fds[CGROUP_DIRS_MAX]);
/* Drops the directories without their bit. */
void cgroup_keep(struct cgroup *cg, uint32_t kept);
/* Takes those of the `n` descriptors that it needs; they are -1 then. */
void cgroup_take_fds(struct cgroup *cg, int *fds, int n);

/* What a cgroup_begin() whose caller died before it could save may have left: the directories that exist and
 * hold no process, as made by Warren. cgroupfs only. 0 or -errno. */
int cgroup_find(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e);

/* The directories of a container that another program (criu) made for us where `wish` has them. 0 or -errno. */
int cgroup_adopt(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e);

/* For a cgroup that exists: opens the join descriptors. 0 or -errno. */
int cgroup_open(struct cgroup *cg, struct err *e);

/* Closes what cgroup_finish() and cgroup_open() opened. */
void cgroup_close(struct cgroup *cg);

/* The v2 directory for CLONE_INTO_CGROUP, or -1: then clone3 goes without that flag. */
int cgroup_clone_fd(const struct cgroup *cg);

/* Called in the single-threaded child: enters every v1 hierarchy by the descriptors that the parent
 * opened. A thread that moves itself through "tasks" does not wait for an RCU grace period (0.1 ms
 * instead of 7-20 ms for a move from outside), and needs no rights of its own. Allocates nothing. 0
 * or -errno. */
int cgroup_join(const struct cgroup *cg, struct err *e);

/* From outside. cgroupfs: does nothing when `pid` joined by itself (`joined`), otherwise moves it
 * everywhere (slow). systemd: starts the scope with `pid` in it, waits for it, then applies the
 * limits. 0 or -errno. */
int cgroup_attach(struct cgroup *cg, const struct cgroup_wish *wish, pid_t pid, bool joined,
		  struct err *e);

/* Changes the limits that are set in `r`, leaves the others. 0 or -errno. */
int cgroup_update(struct cgroup *cg, const struct oci_resources *r, struct err *e);

/* Waits (at most 10 s) until everything stands still, or runs again. 0 or -errno. */
int cgroup_freeze(const struct cgroup *cg, bool freeze, struct err *e);
/* 1 frozen, 0 not, or -errno. */
int cgroup_frozen(const struct cgroup *cg);

/* Signals every process; SIGKILL also reaches frozen ones and races with fork are covered. Returns
 * the number of cgroups acted upon, 0 when there is nothing that is Warren's own to kill; -errno.
 */
int cgroup_kill(const struct cgroup *cg, int sig, struct err *e);

/* All processes, those of sub-cgroups included. `*pids` is to be freed. Their number, or -errno. */
int cgroup_pids(const struct cgroup *cg, pid_t **pids, struct err *e);

/* Fills what the kernel offers; members of absent controllers keep `set` false. 0 or -errno. */
int cgroup_stats(const struct cgroup *cg, struct oci_stats *st, struct err *e);

/* A descriptor that becomes readable (POLLPRI | POLLERR on v2: `*v2` is set) when the OOM killer
 * struck or the cgroup is gone; read the count with cgroup_oom_count(). -errno when there is no
 * memory controller. */
int cgroup_oom_fd(const struct cgroup *cg, bool *v2);
int64_t cgroup_oom_count(const struct cgroup *cg);

/* Removes what Warren made, sub-cgroups included; waits (at most 5 s) for processes that are still
 * dying. Harmless when it is gone already. 0 or -errno. */
int cgroup_remove(struct cgroup *cg, struct err *e);

/* One JSON object, and back. 0 or -errno. */
int cgroup_save(const struct cgroup *cg, struct buf *out);
int cgroup_load(struct cgroup *cg, const char *json, size_t n, struct err *e);
