/*
 * Device nodes, the links that programs expect in /dev, and the console.
 *
 * Trust: the root may be hostile: parents are resolved inside it, nodes are made relative to descriptors of
 * them. What the container finds under a device's name is never used by us. In a user namespace mknod is not
 * allowed; there the host's node is bound on an empty file.
 *
 * Threads: none; runs in init with umask 0. #syscalls: mknodat fchownat symlinkat open_tree move_mount
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "container/mount_int.h"
#include "container/resolve_int.h"

/* config-linux.md, "Default Devices" */
static const struct oci_device defaults[] = {
	{ .path = "/dev/null", .type = 'c', .major = 1, .minor = 3 },
	{ .path = "/dev/zero", .type = 'c', .major = 1, .minor = 5 },
	{ .path = "/dev/full", .type = 'c', .major = 1, .minor = 7 },
	{ .path = "/dev/random", .type = 'c', .major = 1, .minor = 8 },
	{ .path = "/dev/urandom", .type = 'c', .major = 1, .minor = 9 },
	{ .path = "/dev/tty", .type = 'c', .major = 5, .minor = 0 },
};

static const struct {
	const char *target, *name;
} links[] = {
	{ "/proc/self/fd", "fd" },	 { "/proc/self/fd/0", "stdin" },
	{ "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" },
	{ "/proc/kcore", "core" },	 { "pts/ptmx", "ptmx" },
};

/* The node must be what was asked for: a mount of the host's node, whatever the root says. */
static int bind_device(struct rootfs *r, const struct oci_device *d, struct err *e)
{
	cleanup_fd int tree = open_tree(AT_FDCWD, d->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct stat st;

	if (tree < 0)
		return err_sys(e, -errno, "the host's '%s'", d->path);
	if (fstat(tree, &st) < 0)
		return err_sys(e, -errno, "the host's '%s'", d->path);
	if (d->type != 'p' && st.st_rdev != makedev((unsigned int)d->major, (unsigned int)d->minor))
		return err_set(e, -EPERM, "a device node of one's own needs privileges");
	cleanup_fd int target = root_make(r->root, d->path, false);
	int err = target < 0 ? target : mount_attach(tree, target);

	return err ? err_sys(e, err, "bind") : 0;
}

static mode_t device_mode(const struct oci_device *d)
{
	mode_t type = d->type == 'b' ? S_IFBLK : d->type == 'p' ? S_IFIFO : S_IFCHR;

	return type | (d->file_mode.set ? (mode_t)d->file_mode.v & 07777 : 0666);
}

static int make_device(struct rootfs *r, int dev, const struct oci_device *d, struct err *e)
{
	const char *name = str_after(d->path, "/dev/");
	cleanup_fd int own = -1;
	int parent = dev;

	if (r->user_ns && d->type != 'p')
		return bind_device(r, d, e);
	if (!name || strchr(name, '/')) {
		own = root_parent(r->root, d->path, &name);
		if (own < 0)
			return err_sys(e, own, "open its directory");
		parent = own;
	}
	if (mknodat(parent, name, device_mode(d),
		    makedev((unsigned int)d->major, (unsigned int)d->minor)) < 0) {
		if (errno == EEXIST)
			return 0;
		return err_sys(e, -errno, "mknod");
	}
	if ((d->uid.set || d->gid.set) &&
	    fchownat(parent, name, (uid_t)d->uid.v, (gid_t)d->gid.v, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, -errno, "chown");
	return 0;
}

/* A /dev that is the host's own stays as it is. */
static bool dev_is_bound(const struct oci_spec *spec)
{
	bool bound = false;

	for (size_t i = 0; i < spec->mounts_n; i++) {
		const struct oci_mount *m = &spec->mounts[i];
		const char *rest = str_after(m->destination, "/dev");

		if (!rest || rest[strspn(rest, "/")])
			continue;
		bound = m->type && streq(m->type, "bind");
		for (size_t k = 0; k < m->options.n; k++)
			bound |= streq(m->options.v[k], "bind") || streq(m->options.v[k], "rbind");
	}
	return bound;
}

int devices_make(struct rootfs *r, struct err *e)
{
	const struct oci_linux *l = r->args->spec->linux_;
	int err = 0;

	if (dev_is_bound(r->args->spec) && !l->devices_n)
		return 0;
	cleanup_fd int dev = root_make(r->root, "/dev", true);

	if (dev < 0)
		return err_sys(e, dev, "/dev");
	if (!dev_is_bound(r->args->spec)) {
		for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
			err = make_device(r, dev, &defaults[i], e);
			if (err)
				return err_wrap(e, "device '%s'", defaults[i].path);
		}
		for (size_t i = 0; i < ARRAY_SIZE(links); i++)
			if (symlinkat(links[i].target, dev, links[i].name) < 0 && errno != EEXIST &&
			    errno != EROFS)
				return err_sys(e, -errno, "link '/dev/%s'", links[i].name);
	}
	for (size_t i = 0; i < l->devices_n && !err; i++) {
		err = make_device(r, dev, &l->devices[i], e);
		if (err)
			err_wrap(e, "device '%s'", l->devices[i].path);
	}
	return err;
}

int console_mount(struct rootfs *r, int slave, struct err *e)
{
	if (!r->new_mount || dev_is_bound(r->args->spec))
		return 0;
	cleanup_fd int target = root_make(r->root, "/dev/console", false);

	if (target < 0)
		return err_sys(e, target, "/dev/console");
	cleanup_fd int tree = open_tree(slave, "",
					AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int err = tree < 0 ? -errno : mount_attach(tree, target);

	return err ? err_sys(e, err, "/dev/console") : 0;
}
