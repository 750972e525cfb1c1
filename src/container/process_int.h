/* What turns a process of ours into the container's: private to container/. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"
#include "container/seccomp.h"
#include "wire/oci.h"

struct process_setup {
	const struct oci_process *process;
	const struct oci_linux *linux_;
	const char *id;
	const struct seccomp_program *seccomp; /* NULL: none */
	int proc;			       /* O_PATH of the host's /proc */
	int stdio[3];
	int preserve_fds; /* from 3 on */
	int listen_fds;	  /* of them, handed over as LISTEN_FDS */
	int sync;	  /* where the seccomp listener goes */
	bool user_ns;
	bool no_setgroups; /* the user namespace forbids it */
	bool no_new_keyring;
	bool selinux; /* the host has it */
	bool init_reaper;
	bool oom_score_done;

	char path[PATH_MAX]; /* of the program, once found */
	char **env;
};

/* Everything up to the wait for the start, in this order. `process_limits` while still privileged on the
 * host side; `process_become` switches user and drops capabilities. 0 or -errno. */
int process_limits(struct process_setup *s, struct err *e);
int process_become(struct process_setup *s, struct err *e);
/* The part of the limits that procfs refuses to a process that hides: done before that, and then only once. */
int process_oom_score(struct process_setup *s, struct err *e);
/* The program, as the user sees it: so that "not found" is an error of `create`. -ENOENT, -EACCES. */
int process_find(struct process_setup *s, struct err *e);

/* Loads the filter and runs the command; returns only on failure. */
int process_exec(struct process_setup *s, struct err *e);

/* Binds us to a list of CPUs ("0-3,7"); NULL or "": as it is. */
int process_affinity(const char *list, struct err *e);

/* Sets 0, 1 and 2 from a terminal's slave, which becomes the controlling one. */
int process_take_terminal(int slave);

/* Opens a terminal in the devpts at "dev/pts" below `root`. `*slave` and the result (the master). */
int terminal_open(int root, const struct oci_process *p, int *slave, struct err *e);

/* procfs.c: writes below a procfs that is known to be one, whatever is mounted in the container. */
int procfs_open(struct err *e);
int procfs_write(int proc, const char *path, const char *text);
int procfs_sysctls(int proc, const struct oci_linux *l, struct err *e);

/* The capability sets as the kernel wants them. `keep`: further bits that stay permitted and effective until
 * the exec. */
int caps_apply(const struct oci_caps *c, uint64_t keep, struct err *e);
int caps_drop_bounding(uint64_t bounding, struct err *e);

/* --init: stays as the parent of the command, never returns when it worked in the parent. */
int reaper_fork(const struct process_setup *s, struct err *e);
