/*
 * The container's root directory.
 *
 * Init, alone in its new mount namespace, cuts propagation to the host, binds the root on itself (or mounts an
 * overlay of the image's layers there: in this namespace only, so that it vanishes with the last process),
 * puts everything of the config on it, and makes it "/" by pivot_root(".", "."), which needs no directory for
 * the old root. From the bind on, names inside the root are resolved by container/resolve.c only.
 *
 * Masked files are covered with the host's /dev/null, opened before the container's root counts and checked to be
 * that device, never with what the container calls /dev/null. Masked directories share one empty tmpfs.
 *
 * Trust: the root's content is hostile, also while we work. Threads: none; runs in init.
 * #syscalls: mount open_tree move_mount mount_setattr pivot_root umount2 fchdir chroot statx openat openat2
 * fstat fstatfs setns
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/util.h"
#include "container/mount_int.h"
#include "container/resolve_int.h"
#include "os/sys.h"

int mount_attach(int tree, int target)
{
	if (move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

/* pivot_root and our own binds must not reach the host: the mount that the root lies on becomes private. */
static int make_parent_private(const char *path, struct err *e)
{
	char at[PATH_MAX];

	snprintf(at, sizeof(at), "%s", path);
	for (;;) {
		struct statx st;

		if (statx(AT_FDCWD, at, 0, 0, &st) < 0)
			return err_sys(e, -errno, "%s", at);
		if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)
			break;
		char *slash = strrchr(at, '/');

		if (!slash || slash == at)
			snprintf(at, sizeof(at), "/");
		else
			*slash = '\0';
	}
	if (mount(NULL, at, NULL, MS_PRIVATE, NULL) < 0)
		return err_sys(e, -errno, "make '%s' private", at);
	return 0;
}

static int cut_propagation(struct rootfs *r, const char *path, struct err *e)
{
	const char *word = r->args->spec->linux_->rootfs_propagation;
	unsigned long flags = word ? mount_propagation(word) : 0;

	if (flags & MS_SHARED)
		return make_parent_private(path, e);
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(e, -errno, "make '/' a slave");
	return 0;
}

/* Colons separate layers, commas options: both are escaped. */
static int add_escaped(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (strchr(":,\\", *s))
			buf_addc(b, '\\');
		buf_addc(b, *s);
	}
	return b->error;
}

static int mount_overlay(struct rootfs *r, const char *path, struct err *e)
{
	const struct container_overlay *o = r->args->overlay;
	cleanup_with(buf_fini) struct buf data = BUF_INIT(4095);

	buf_adds(&data, "lowerdir=");
	for (const char *const *dir = o->lower; *dir; dir++) {
		if (dir != o->lower)
			buf_addc(&data, ':');
		add_escaped(&data, *dir);
	}
	if (o->upper) {
		buf_adds(&data, ",upperdir=");
		add_escaped(&data, o->upper);
		buf_adds(&data, ",workdir=");
		add_escaped(&data, o->work);
		if (o->is_volatile)
			buf_adds(&data, ",volatile");
	}
	if (r->user_ns)
		buf_adds(&data, ",userxattr");
	if (data.error)
		return err_set(e, -E2BIG, "overlay: the layers' names are longer than a page");
	if (mount("overlay", path, "overlay", 0, buf_str(&data)) < 0)
		return err_sys(e, -errno, "overlay on '%s'", path);
	return 0;
}

static int root_path(const struct rootfs *r, char path[PATH_MAX], struct err *e)
{
	const struct container_args *a = r->args;
	const char *root = a->spec->root_path;
	int n = root[0] == '/' ? snprintf(path, PATH_MAX, "%s", root)
			       : snprintf(path, PATH_MAX, "%s/%s", a->bundle, root);

	return n < 0 || n >= PATH_MAX ? err_sys(e, -ENAMETOOLONG, "root '%s'", root) : 0;
}

/* The container's own root may not be allowed to go the way to its root directory. A slave from the start, so that
 * nothing done to it is seen on the host. */
int rootfs_open_root(struct rootfs *r, struct err *e)
{
	struct mount_attr slave = { .propagation = MS_SLAVE };
	char path[PATH_MAX];
	int err = root_path(r, path, e);

	if (err)
		return err;
	r->root_tree = open_tree(AT_FDCWD, path,
				 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (r->root_tree >= 0 && mount_setattr(r->root_tree, "", AT_EMPTY_PATH | AT_RECURSIVE,
					       &slave, sizeof(slave)) < 0)
		close_fd(&r->root_tree);
	return 0;
}

/* On top of "/", where no name leads: it is only known by its descriptor, until it becomes "/" itself. */
static int mount_root_tree(struct rootfs *r, struct err *e)
{
	if (move_mount(r->root_tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(e, -errno, "root '%s'", r->args->spec->root_path);
	r->root = fcntl(r->root_tree, F_DUPFD_CLOEXEC, 3);
	return r->root < 0 ? err_sys(e, -errno, "root") : 0;
}

static int mount_root(struct rootfs *r, struct err *e)
{
	char path[PATH_MAX];
	int err = root_path(r, path, e);

	if (err)
		return err;
	if (r->new_mount) {
		bool hidden = r->root_tree >= 0 && access(path, F_OK) < 0 && errno == EACCES;

		err = cut_propagation(r, hidden ? "/" : path, e);
		if (!err && hidden)
			return mount_root_tree(r, e);
		if (!err && r->args->overlay)
			err = mount_overlay(r, path, e);
		else if (!err && mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
			err = err_sys(e, -errno, "root '%s'", path);
		if (err)
			return err;
	}
	r->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->root < 0)
		return err_sys(e, -errno, "root '%s'", path);
	return 0;
}

/* A descriptor of the host's own /dev/null, mounted in this namespace. */
static int open_null(struct err *e)
{
	cleanup_fd int fd = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_sys(e, -errno, "/dev/null");
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(e, -ENODEV, "the host's /dev/null is not the null device");
	return steal_fd(&fd);
}

int rootfs_build(struct rootfs *r, struct err *e)
{
	const struct oci_spec *spec = r->args->spec;

	if (!r->new_mount && spec->mounts_n)
		log_warn("mounts: left out, there is no new mount namespace to put them in");
	r->null = open_null(e);
	if (r->null < 0)
		return r->null;
	int err = mount_root(r, e);

	if (err || !r->new_mount)
		return err;
	mode_t mask = umask(0);

	err = mounts_apply(r, e);
	if (!err)
		err = devices_make(r, e);
	umask(mask);
	return err;
}

static int mask_directory(int target, int *empty, struct err *e)
{
	if (*empty < 0) {
		/* The first one is mounted, the others are clones of it. */
		int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

		if (fs < 0)
			return err_sys(e, -errno, "tmpfs");
		if (fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
		    fsconfig(fs, FSCONFIG_SET_STRING, "size", "0k", 0) < 0 ||
		    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
			close(fs);
			return err_sys(e, -errno, "tmpfs");
		}
		*empty = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
		close(fs);
		if (*empty < 0)
			return err_sys(e, -errno, "tmpfs");
		int r = mount_attach(*empty, target);

		return r ? err_sys(e, r, "tmpfs") : 0;
	}
	cleanup_fd int tree = open_tree(*empty, "",
					AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int r = tree < 0 ? -errno : mount_attach(tree, target);

	return r ? err_sys(e, r, "tmpfs") : 0;
}

/* Whether the config mounts this file system at `path`. */
static bool mounts_at(const struct oci_spec *spec, const char *path, const char *type)
{
	for (size_t i = 0; i < spec->mounts_n; i++) {
		const char *rest = str_after(spec->mounts[i].destination, path);

		if (rest && !rest[strspn(rest, "/")] && spec->mounts[i].type &&
		    streq(spec->mounts[i].type, type))
			return true;
	}
	return false;
}

enum { KERNEL_TOPS = 2 };

/* The tops of procfs and sysfs, opened and judged once: the same one counts for all paths below it. */
struct kernel_tops {
	int fd[KERNEL_TOPS];
	bool judged[KERNEL_TOPS];
};

/* Opens a path to be masked or protected. What lies below the procfs and the sysfs that the config mounts is looked
 * up below these, and they are looked up without links and by their kind: somebody who shares the root could have
 * moved them away since, and would be left with an open one (CVE-2019-19921). -EXDEV: it is another one. */
static int open_protected(const struct rootfs *r, struct kernel_tops *tops, const char *path)
{
	static const struct {
		const char *below, *at, *type;
		long magic;
	} kernels[KERNEL_TOPS] = {
		{ "/proc/", "/proc", "proc", PROC_SUPER_MAGIC },
		{ "/sys/", "/sys", "sysfs", SYSFS_MAGIC },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		const char *rest = str_after(path, kernels[i].below);
		struct statfs st;

		if (!rest || !mounts_at(r->args->spec, kernels[i].at, kernels[i].type))
			continue;
		int *top = &tops->fd[i];

		if (*top < 0)
			*top = sys_openat2(r->root, kernels[i].at + 1, O_PATH | O_CLOEXEC, 0,
					   RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
		if (*top < 0)
			return -EXDEV;
		if (!tops->judged[i] && (fstatfs(*top, &st) < 0 || st.f_type != kernels[i].magic))
			return -EXDEV;
		tops->judged[i] = true;
		return sys_openat2(*top, rest, O_PATH | O_CLOEXEC, 0,
				   RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	}
	return root_open(r->root, path);
}

static int mask_path(struct rootfs *r, struct kernel_tops *tops, const char *path, int *empty,
		     struct err *e)
{
	cleanup_fd int target = open_protected(r, tops, path);
	struct stat st;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0 || fstat(target, &st) < 0)
		return err_sys(e, target < 0 ? target : -errno, "open");
	if (S_ISDIR(st.st_mode))
		return mask_directory(target, empty, e);
	cleanup_fd int tree = open_tree(r->null, "",
					AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int err = tree < 0 ? -errno : mount_attach(tree, target);

	return err ? err_sys(e, err, "bind /dev/null") : 0;
}

static int set_read_only(int tree, bool recursive)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	if (mount_setattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr,
			  sizeof(attr)) < 0)
		return -errno;
	return 0;
}

static int protect_path(struct rootfs *r, struct kernel_tops *tops, const char *path, struct err *e)
{
	cleanup_fd int target = open_protected(r, tops, path);

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return err_sys(e, target, "open");
	cleanup_fd int tree = open_tree(
		target, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	int err = tree < 0 ? -errno : set_read_only(tree, true);

	if (!err)
		err = mount_attach(tree, target);
	return err ? err_sys(e, err, "make read-only") : 0;
}

static int cover_paths(struct rootfs *r, struct kernel_tops *tops, struct err *e)
{
	const struct oci_linux *l = r->args->spec->linux_;
	cleanup_fd int empty = -1;
	int err;

	for (size_t i = 0; i < l->readonly_paths.n; i++) {
		err = protect_path(r, tops, l->readonly_paths.v[i], e);
		if (err)
			return err_wrap(e, "readonlyPaths '%s'", l->readonly_paths.v[i]);
	}
	for (size_t i = 0; i < l->masked_paths.n; i++) {
		err = mask_path(r, tops, l->masked_paths.v[i], &empty, e);
		if (err)
			return err_wrap(e, "maskedPaths '%s'", l->masked_paths.v[i]);
	}
	return 0;
}

int rootfs_seal(struct rootfs *r, struct err *e)
{
	struct kernel_tops tops = { .fd = { -1, -1 } };

	if (!r->new_mount)
		return 0;
	int err = cover_paths(r, &tops, e);

	for (int i = 0; i < KERNEL_TOPS; i++)
		close_fd(&tops.fd[i]);
	if (err || !r->args->spec->root_readonly)
		return err;
	err = set_read_only(r->root, false);
	return err ? err_sys(e, err, "make the root read-only") : 0;
}

static int pivot(struct rootfs *r, struct err *e)
{
	cleanup_fd int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (old < 0 || fchdir(r->root) < 0)
		return err_sys(e, -errno, "enter the root");
	int err = sys_pivot_root(".", ".");

	if (err)
		return err_sys(e, err, "pivot_root");
	/* The old root lies on top of the new one now. A slave, so that its unmounting stays here. */
	if (fchdir(old) < 0 || mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0 ||
	    umount2(".", MNT_DETACH) < 0)
		return err_sys(e, -errno, "leave the old root");
	return 0;
}

/* Started inside a chroot, all this happened somewhere below the mount namespace's own root: then that is where
 * setns() leads an exec, and a second chroot anybody. To enter our own namespace leads there too, and tells. */
static int be_the_top(struct rootfs *r, struct err *e)
{
	cleanup_fd int own = openat(r->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct err ignored = ERR_INIT;
	struct statx ours, top;

	if (own < 0 || setns(own, CLONE_NEWNS) < 0) {
		log_debug("the root of the mount namespace: %s", strerror(errno));
		return 0;
	}
	if (statx(r->root, "", AT_EMPTY_PATH, STATX_MNT_ID, &ours) < 0 ||
	    statx(AT_FDCWD, "/", 0, STATX_MNT_ID, &top) < 0)
		return err_sys(e, -errno, "the root of the mount namespace");
	if (ours.stx_mnt_id == top.stx_mnt_id || (!r->args->no_pivot && pivot(r, &ignored) == 0))
		return 0;
	/* An initramfs cannot be exchanged, only covered. */
	if (fchdir(r->root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
		return err_sys(e, -errno,
			       "be the root of the mount namespace, which we are in by chroot");
	return 0;
}

int rootfs_enter(struct rootfs *r, struct err *e)
{
	const char *word = r->args->spec->linux_->rootfs_propagation;
	int err = 0;

	if (!r->new_mount) {
		if (fchdir(r->root) < 0 || chroot(".") < 0)
			return err_sys(e, -errno, "chroot");
	} else if (r->args->no_pivot) {
		if (fchdir(r->root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
		    chroot(".") < 0)
			return err_sys(e, -errno, "move the root");
	} else {
		err = pivot(r, e);
	}
	if (!err && r->new_mount)
		err = be_the_top(r, e);
	if (!err && chdir("/") < 0)
		err = err_sys(e, -errno, "chdir '/'");
	if (!err && r->new_mount && word &&
	    mount(NULL, "/", NULL, mount_propagation(word), NULL) < 0)
		err = err_sys(e, -errno, "rootfsPropagation '%s'", word);
	return err;
}
