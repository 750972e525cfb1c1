/*
 * The cgroup file systems as the container sees them: its own directory of each hierarchy, bound where the host
 * has the hierarchy (/sys/fs/cgroup/cpu, ...; /sys/fs/cgroup itself on a pure v2 host). With a cgroup
 * namespace the bound directory is that namespace's root, so /proc/self/cgroup and the mounts agree.
 *
 * Trust: the target lies in a hostile root and is only used by descriptor. Threads: none; runs in init.
 * #syscalls: mount open_tree move_mount mount_setattr mkdirat symlinkat
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "container/mount_int.h"
#include "container/resolve_int.h"
#include "os/sys.h"

#define TOP "/sys/fs/cgroup"

static int bind_directory(const char *source, const struct mount_opts *o, bool recursive,
			  int target, struct err *e)
{
	cleanup_fd int tree = open_tree(AT_FDCWD, source,
					OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
						(recursive ? AT_RECURSIVE : 0));
	struct mount_attr attr = { .attr_set = o->set, .attr_clr = o->clear };

	if (tree < 0)
		return err_sys(e, -errno, "'%s'", source);
	if ((attr.attr_set || attr.attr_clr) &&
	    mount_setattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr,
			  sizeof(attr)) < 0)
		return err_sys(e, -errno, "set attributes of '%s'", source);
	int err = mount_attach(tree, target);

	return err ? err_sys(e, err, "bind '%s'", source) : 0;
}

/* "cpu,cpuacct" is also reached as "cpu" and as "cpuacct". */
static int add_links(int dir, const char *name, struct err *e)
{
	for (const char *p = name; strchr(name, ',') && *p;) {
		char word[64];
		size_t n = strcspn(p, ",");

		snprintf(word, sizeof(word), "%.*s", (int)n, p);
		if (symlinkat(name, dir, word) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "link '%s'", word);
		p += n + (p[n] == ',');
	}
	return 0;
}

static int bind_hierarchy(int top, const struct cgroup_dir *d, const struct mount_opts *o,
			  struct err *e)
{
	const char *rest = str_after(d->path, TOP "/");
	char name[64];

	if (!rest)
		return 0;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(rest, "/"), rest);
	if (mkdirat(top, name, 0755) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "make '%s'", name);
	cleanup_fd int target = openat(top, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (target < 0)
		return err_sys(e, -errno, "open '%s'", name);
	int err = bind_directory(d->path, o, false, target, e);

	return err ? err : add_links(top, name, e);
}

static int mount_v1(struct rootfs *r, const struct oci_mount *m, const struct mount_opts *o,
		    struct err *e)
{
	cleanup_fd int target = root_make(r->root, m->destination, true);
	struct mount_attr attr = { .attr_set = o->set };

	if (target < 0)
		return err_sys(e, target, "make the mount point");
	if (mount("cgroup", fd_path(target).s, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=755") < 0)
		return err_sys(e, -errno, "tmpfs");
	cleanup_fd int top = root_open(r->root, m->destination);

	if (top < 0)
		return err_sys(e, top, "open");
	for (int i = 0; i < r->cgroup->n; i++) {
		int err = bind_hierarchy(top, &r->cgroup->dirs[i], o, e);

		if (err)
			return err;
	}
	if (attr.attr_set && mount_setattr(top, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(e, -errno, "set attributes");
	return 0;
}

static int mount_v2(struct rootfs *r, const struct oci_mount *m, const struct mount_opts *o,
		    struct err *e)
{
	cleanup_fd int target = root_make(r->root, m->destination, true);

	if (target < 0)
		return err_sys(e, target, "make the mount point");
	/* Without a cgroup namespace /proc/self/cgroup gives host paths: they must be found here. */
	if (!r->new_cgroup)
		return bind_directory(TOP, o, true, target, e);
	if (r->cgroup->n == 1)
		return bind_directory(r->cgroup->dirs[0].path, o, false, target, e);
	if (mount("cgroup", fd_path(target).s, "cgroup2", o->flags, NULL) == 0)
		return 0;
	return r->user_ns ? bind_directory(TOP, o, true, target, e) : err_sys(e, -errno, "cgroup2");
}

int cgroup_mount(struct rootfs *r, const struct oci_mount *m, const struct mount_opts *o,
		 struct err *e)
{
	struct mount_opts ro = *o;
	struct stat st;

	if (r->cgroup->n > 1 || (r->cgroup->n == 1 && !r->cgroup->dirs[0].v2))
		return mount_v1(r, m, o, e);
	/* No cgroup of our own on a v1 host: the host's view, for reading. */
	if (r->cgroup->n == 0 && stat(TOP "/cgroup.procs", &st) < 0) {
		cleanup_fd int target = root_make(r->root, m->destination, true);

		if (target < 0)
			return err_sys(e, target, "make the mount point");
		ro.set |= MOUNT_ATTR_RDONLY;
		ro.clear &= ~(uint64_t)MOUNT_ATTR_RDONLY;
		return bind_directory(TOP, &ro, true, target, e);
	}
	return mount_v2(r, m, o, e);
}
