/* Checkpoint and restore of a container by the program criu, when it is installed. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Strings may be NULL: the default. */
struct criu_options {
	const char *program;	    /* "criu" */
	const char *images;	    /* directory of the images, absolute */
	const char *work;	    /* directory of logs and statistics; NULL: `images` */
	const char *parent;	    /* images of an earlier pre-dump, relative to `images` */
	const char *manage_cgroups; /* "soft", "full", "strict", "ignore" */
	const char *status_fd;	    /* dump: a number; gets a NUL when lazy pages can be fetched */
	const char *page_server;    /* "ADDRESS:PORT" */
	const char *empty_ns;	    /* "network" */
	bool leave_running, pre_dump, auto_dedup, lazy_pages;
	bool tcp_established, ext_unix_sk, shell_job, file_locks;
};

/* Whether criu is there and works with this kernel. 0, or -errno with what is missing and the mend. */
int criu_check(const char *program, struct err *e);

/* Saves the processes under `pid`; without leave_running or pre_dump they are gone afterwards. `root` is the
 * container's root directory on the host. 0 or -errno with criu's own last words. */
int criu_dump(const struct criu_options *o, pid_t pid, const char *root, struct err *e);

/* Brings them back; the first process becomes our child, `*pid`. The caller is single-threaded and in a mount namespace
 * of its own, where `root` is a mount point. 0 or -errno. */
int criu_restore(const struct criu_options *o, const char *root, pid_t *pid, struct err *e);

/* A mount namespace for criu_restore(): the calling process gets one, with `root` bound on itself. */
int criu_enter(const char *root, struct err *e);
