/* The container's view of the file system, private to container/. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "container/container.h"
#include "wire/oci.h"

/* The options of one mount, sorted out (config.md, "Mounts"). */
struct mount_opts {
	unsigned long flags;	     /* MS_*: what mount(2) takes for a new file system */
	uint64_t set, clear;	     /* MOUNT_ATTR_*: for a bind mount, only the top */
	uint64_t rec_set, rec_clear; /* the same for the whole tree */
	uint64_t propagation;	     /* MS_PRIVATE, ...; 0: as it comes */
	bool bind, recursive, prop_recursive;
	bool copy_up, idmap, idmap_recursive;
	char data[PATH_MAX]; /* everything else, comma-separated */
};

int mount_opts_parse(const struct oci_mount *m, struct mount_opts *o, struct err *e);
/* Every word that has a meaning here; others are handed to the file system. */
void mount_opts_each(void (*fn)(const char *word, void *arg), void *arg);

/* "private", "rslave", ... to MS_*, with MS_REC; 0 when it is none. */
unsigned long mount_propagation(const char *word);

/* What the child needs to know to build the root; set up by the parent before it clones. */
/* Whether the host labels by SELinux; asked before the root is the container's. */
bool mount_selinux(void);

struct rootfs {
	const struct container_args *args;
	const struct cgroup *cgroup;
	bool user_ns; /* ours is not the host's: no device nodes, some file systems refuse */
	bool new_mount, new_cgroup, new_net;
	/* Enters the cgroup, unless that has been done; called before what must not happen outside of it. */
	int (*enter_cgroup)(void *arg, struct err *e);
	void *enter_arg;
	int proc;   /* O_PATH of the host's /proc */
	int *trees; /* one a mount: a detached tree opened by the parent, or -1 */
	int root_tree; /* with another user's eyes: the root as a detached tree, opened by the parent, or -1 */
	int root; /* O_PATH of the root once it is mounted */
	int null; /* O_PATH of the host's /dev/null once in the mount namespace */
};

/* In the parent: the trees that only it may open (idmapped ones; sources that the container's root cannot
 * reach). 0 or -errno. */
int rootfs_open_trees(struct rootfs *r, struct err *e);
void rootfs_close_trees(struct rootfs *r);

/* In the child, in this order: root, mounts, devices; hooks may run; then the root becomes "/". */
int rootfs_build(struct rootfs *r, struct err *e);
int rootfs_enter(struct rootfs *r, struct err *e);
/* Masked and read-only paths and the root's own flags: after everything else is in place. */
int rootfs_seal(struct rootfs *r, struct err *e);

/* Parts of rootfs_open_trees and rootfs_build. */
int rootfs_open_root(struct rootfs *r, struct err *e);
int mounts_apply(struct rootfs *r, struct err *e);
int devices_make(struct rootfs *r, struct err *e);
int cgroup_mount(struct rootfs *r, const struct oci_mount *m, const struct mount_opts *o,
		 struct err *e);
/* Copies a directory's content: `from` and `to` are open directories. */
int copy_tree(int from, int to);
/* Mounts a detached tree on `target`; both descriptors. -errno. */
int mount_attach(int tree, int target);
/* Binds the terminal `slave` on /dev/console. */
int console_mount(struct rootfs *r, int slave, struct err *e);
