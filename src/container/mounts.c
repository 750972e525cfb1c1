/*
 * The config's mounts, in the order that it gives.
 *
 * A bind mount is opened as a detached tree, given its attributes there (so that it is never seen without
 * them), and moved onto the target's descriptor; a new file system is mounted on the target's descriptor
 * through /proc/self/fd of the host's /proc. Missing targets are made, inside the root only.
 *
 * In a user namespace the kernel refuses some file systems: sysfs of a network that is not ours is replaced by
 * a read-only bind of the host's, devpts loses an unmapped gid.
 *
 * Trust: the root is hostile, sources are the config's. Threads: none; runs in init, rootfs_open_trees in the
 * parent. #syscalls: mount openat2 open_tree move_mount mount_setattr fstat close clone3 kill wait4 openat write
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "container/mount_int.h"
#include "container/resolve_int.h"
#include "container/userns_int.h"
#include "os/sys.h"

static int open_source(const struct rootfs *r, const struct oci_mount *m,
		       const struct mount_opts *o, struct err *e)
{
	unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
			     (o->recursive ? AT_RECURSIVE : 0);
	char path[PATH_MAX];
	const char *source = m->source;

	if (!source || !*source)
		return err_set(e, -EINVAL, "source: missing");
	if (source[0] != '/') {
		int n = snprintf(path, sizeof(path), "%s/%s", r->args->bundle, source);

		if (n < 0 || (size_t)n >= sizeof(path))
			return err_sys(e, -ENAMETOOLONG, "source '%s'", source);
		source = path;
	}
	int tree = open_tree(AT_FDCWD, source, flags);

	return tree < 0 ? err_sys(e, -errno, "source '%s'", m->source) : tree;
}

static int set_attrs(int tree, const struct mount_opts *o, struct err *e)
{
	struct mount_attr top = { .attr_set = o->set, .attr_clr = o->clear };
	struct mount_attr all = { .attr_set = o->rec_set, .attr_clr = o->rec_clear };
	struct mount_attr prop = { .propagation = o->propagation };

	if ((top.attr_set || top.attr_clr) &&
	    mount_setattr(tree, "", AT_EMPTY_PATH, &top, sizeof(top)) < 0)
		return err_sys(e, -errno, "set attributes");
	if ((all.attr_set || all.attr_clr) &&
	    mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &all, sizeof(all)) < 0)
		return err_sys(e, -errno, "set recursive attributes");
	if (prop.propagation &&
	    mount_setattr(tree, "", AT_EMPTY_PATH | (o->prop_recursive ? AT_RECURSIVE : 0), &prop,
			  sizeof(prop)) < 0)
		return err_sys(e, -errno, "set propagation");
	return 0;
}

static int apply_bind(struct rootfs *r, const struct oci_mount *m, const struct mount_opts *o,
		      int given, struct err *e)
{
	cleanup_fd int opened = given >= 0 ? -1 : open_source(r, m, o, e);
	int tree = given >= 0 ? given : opened;
	struct stat st;

	if (tree < 0)
		return tree;
	if (fstat(tree, &st) < 0)
		return err_sys(e, -errno, "source '%s'", m->source);
	int err = set_attrs(tree, o, e);

	if (err)
		return err;
	cleanup_fd int target = root_make(r->root, m->destination, S_ISDIR(st.st_mode));

	if (target < 0)
		return err_sys(e, target, "make the mount point");
	err = mount_attach(tree, target);
	return err ? err_sys(e, err, "bind '%s'", m->source) : 0;
}

/* Attributes that mount(2) does not take together with a new file system. */
static int after_mount(struct rootfs *r, const struct oci_mount *m, const struct mount_opts *o,
		       struct err *e)
{
	if (!o->propagation && !o->rec_set && !o->rec_clear)
		return 0;
	cleanup_fd int fd = root_open(r->root, m->destination);
	struct mount_opts rest = *o;

	if (fd < 0)
		return err_sys(e, fd, "open");
	rest.set = rest.clear = 0;
	return set_attrs(fd, &rest, e);
}

/* Without "gid=N": devpts and others refuse a group that the user namespace does not map. */
static void drop_gid(char *data)
{
	char *p = strstr(data, "gid=");

	if (!p || (p != data && p[-1] != ','))
		return;
	char *end = p + strcspn(p, ",");

	if (*end == ',')
		end++;
	else if (p != data)
		p--;
	memmove(p, end, strlen(end) + 1);
}

static int bind_host_sysfs(int target, struct err *e)
{
	cleanup_fd int tree = open_tree(AT_FDCWD, "/sys",
					OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
					       MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };

	if (tree < 0 ||
	    mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return err_sys(e, -errno, "the host's /sys");
	int err = mount_attach(tree, target);

	return err ? err_sys(e, err, "the host's /sys") : 0;
}

bool mount_selinux(void)
{
	return access("/sys/fs/selinux/enforce", F_OK) == 0;
}

/* linux.mountLabel: files of a file system that keeps no labels get this one, where the host has SELinux. */
static int add_label(const struct rootfs *r, const char *type, struct mount_opts *o, struct err *e)
{
	static const char *const unlabelled[] = { "tmpfs", "devpts", "mqueue", "ramfs", "shm" };
	const char *label = r->args->spec->linux_->mount_label;
	size_t len = strlen(o->data);

	if (!label || !*label || strchr(label, '"') || !mount_selinux())
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(unlabelled); i++) {
		if (!streq(type, unlabelled[i]))
			continue;
		int n = snprintf(o->data + len, sizeof(o->data) - len, "%scontext=\"%s\"",
				 len ? "," : "", label);

		if (n < 0 || (size_t)n >= sizeof(o->data) - len)
			return err_set(e, -EINVAL, "mountLabel: too long");
	}
	return 0;
}

static int mount_new(struct rootfs *r, const struct oci_mount *m, struct mount_opts *o, int target,
		     struct err *e)
{
	struct fd_path path = fd_path(target);
	const char *type = m->type ? m->type : "none";
	const char *source = m->source ? m->source : type;
	int tries = 2, label = add_label(r, type, o, e);

	if (label)
		return label;
	while (mount(source, path.s, type, o->flags, o->data[0] ? o->data : NULL) < 0) {
		int err = -errno;

		if (err == -EPERM && r->user_ns && streq(type, "sysfs"))
			return bind_host_sysfs(target, e);
		if (err == -EINVAL && r->user_ns && --tries) {
			drop_gid(o->data);
			continue;
		}
		return err_sys(e, err, "%s%s%s", type, o->data[0] ? " with " : "", o->data);
	}
	return 0;
}

static int copy_up(struct rootfs *r, const char *destination, int from, struct err *e)
{
	cleanup_fd int top = root_open(r->root, destination);

	if (top < 0)
		return err_sys(e, top, "tmpcopyup");
	cleanup_fd int to = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = to < 0 ? -errno : copy_tree(from, to);

	return err ? err_sys(e, err, "tmpcopyup") : 0;
}

/* The mount point of a new file system. That of a procfs or sysfs must be reached without links: masked and
 * read-only paths count on it (CVE-2019-19921). */
static int make_target(const struct rootfs *r, const struct oci_mount *m, struct err *e)
{
	cleanup_fd int target = root_make(r->root, m->destination, true);

	if (target < 0)
		return err_sys(e, target, "make the mount point");
	if (m->type && (streq(m->type, "proc") || streq(m->type, "sysfs"))) {
		const char *name = m->destination + strspn(m->destination, "/");
		int plain = sys_openat2(r->root, *name ? name : ".", O_PATH | O_CLOEXEC, 0,
					RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);

		if (plain == -ELOOP)
			return err_set(e, -ELOOP, "the mount point is reached by a symbolic link");
		if (plain < 0)
			return err_sys(e, plain, "open the mount point");
		return plain;
	}
	return steal_fd(&target);
}

static int apply_new(struct rootfs *r, const struct oci_mount *m, struct mount_opts *o,
		     struct err *e)
{
	cleanup_fd int from = -1;
	bool copy = o->copy_up && m->type && streq(m->type, "tmpfs");
	unsigned long flags = o->flags;

	if (o->flags & MS_REMOUNT) {
		cleanup_fd int fd = root_open(r->root, m->destination);

		if (fd < 0)
			return err_sys(e, fd, "open");
		if (mount(NULL, fd_path(fd).s, NULL, o->flags, o->data) < 0)
			return err_sys(e, -errno, "remount");
		return 0;
	}
	cleanup_fd int target = make_target(r, m, e);

	if (target < 0)
		return target;
	if (copy) {
		from = openat(target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (from < 0)
			return err_sys(e, -errno, "tmpcopyup");
		o->flags &= ~(unsigned long)MS_RDONLY;
	}
	int err = mount_new(r, m, o, target, e);

	if (!err && copy)
		err = copy_up(r, m->destination, from, e);
	if (!err && copy && (flags & MS_RDONLY)) {
		o->rec_set |= MOUNT_ATTR_RDONLY;
	}
	return err ? err : after_mount(r, m, o, e);
}

int mounts_apply(struct rootfs *r, struct err *e)
{
	const struct oci_spec *spec = r->args->spec;

	for (size_t i = 0; i < spec->mounts_n; i++) {
		const struct oci_mount *m = &spec->mounts[i];
		struct mount_opts o;
		int err = mount_opts_parse(m, &o, e);
		bool cgroup = m->type && (streq(m->type, "cgroup") || streq(m->type, "cgroup2"));

		/* Its view starts where we are; copies count as the container's memory. */
		if (!err && (cgroup || o.copy_up))
			err = r->enter_cgroup(r->enter_arg, e);
		if (!err && o.bind)
			err = apply_bind(r, m, &o, r->trees ? r->trees[i] : -1, e);
		else if (!err && cgroup)
			err = cgroup_mount(r, m, &o, e);
		else if (!err)
			err = apply_new(r, m, &o, e);
		if (err)
			return err_wrap(e, "mount '%s'", m->destination);
	}
	return 0;
}

static int set_idmap(int tree, const struct rootfs *r, const struct oci_mount *m,
		     const struct mount_opts *o, struct err *e)
{
	const struct oci_linux *l = r->args->spec->linux_;
	bool own = m->uid_mappings.n || m->gid_mappings.n;

	if (!own && !l->uid_mappings.n)
		return err_set(e, -EINVAL, "idmap: there are no id mappings");
	cleanup_fd int ns = userns_make(own ? &m->uid_mappings : &l->uid_mappings,
					own ? &m->gid_mappings : &l->gid_mappings, e);
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };

	if (ns < 0)
		return ns;
	attr.userns_fd = (uint64_t)ns;
	if (mount_setattr(tree, "", AT_EMPTY_PATH | (o->idmap_recursive ? AT_RECURSIVE : 0), &attr,
			  sizeof(attr)) < 0)
		return err_sys(e, -errno, "map the ids of '%s'", m->source);
	return 0;
}

int rootfs_open_trees(struct rootfs *r, struct err *e)
{
	const struct oci_spec *spec = r->args->spec;
	bool others_eyes = spec->linux_->ns[OCI_NS_USER].present && geteuid() == 0;

	if (others_eyes && r->new_mount && !r->args->overlay) {
		int err = rootfs_open_root(r, e);

		if (err)
			return err;
	}
	for (size_t i = 0; i < spec->mounts_n; i++) {
		const struct oci_mount *m = &spec->mounts[i];
		struct mount_opts o;
		int err = mount_opts_parse(m, &o, e);

		if (err)
			return err_wrap(e, "mount '%s'", m->destination);
		if (!o.bind || (!o.idmap && !others_eyes))
			continue;
		if (!r->trees) {
			r->trees = malloc(spec->mounts_n * sizeof(int));
			if (!r->trees)
				return err_sys(e, -ENOMEM, "mounts");
			for (size_t k = 0; k < spec->mounts_n; k++)
				r->trees[k] = -1;
		}
		r->trees[i] = open_source(r, m, &o, e);
		err = r->trees[i] < 0 ? r->trees[i] : 0;
		if (!err && o.idmap)
			err = set_idmap(r->trees[i], r, m, &o, e);
		if (err)
			return err_wrap(e, "mount '%s'", m->destination);
	}
	return 0;
}

void rootfs_close_trees(struct rootfs *r)
{
	for (size_t i = 0; r->trees && i < r->args->spec->mounts_n; i++)
		close_fd(&r->trees[i]);
	free(r->trees);
	r->trees = NULL;
	close_fd(&r->root_tree);
}
