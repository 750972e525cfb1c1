/*
 * An instance's root from outside.
 *
 * While it runs, /proc/PID/root is the root as its processes see it, volumes included. Otherwise its overlay
 * is mounted detached: nobody sees the mount, and it goes with the descriptor.
 *
 * Trust: everything below the root is hostile; each name is resolved by openat2 in one step.
 * Threads: any. #syscalls: openat openat2 fsopen fsconfig fsmount open_tree
 */
#include "run/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "bundle/bundle.h"

int inside_open(int root, const char *path, int flags, mode_t mode)
{
	const struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY)),
		.mode = (flags & (O_CREAT | O_TMPFILE)) ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* Colons and backslashes in names are escaped, as overlayfs wants it. */
static int add_escaped(struct buf *b, const char *path)
{
	for (; *path; path++) {
		if (*path == ':' || *path == '\\' || *path == ',')
			buf_addc(b, '\\');
		buf_addc(b, *path);
	}
	return b->error;
}

static int configure(int fs, const struct bundle_overlay *o)
{
	cleanup_with(buf_fini) struct buf lower = BUF_INIT(1 << 20);

	for (size_t i = 0; i < o->lower_n; i++) {
		if (i)
			buf_addc(&lower, ':');
		add_escaped(&lower, o->lower[i]);
	}
	if (lower.error)
		return lower.error;
	if (fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", buf_str(&lower), 0) < 0)
		return -errno;
	if (o->upper && (fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", o->upper, 0) < 0 ||
			 fsconfig(fs, FSCONFIG_SET_STRING, "workdir", o->work, 0) < 0))
		return -errno;
	if (geteuid() && fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0)
		return -errno;
	return fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ? -errno : 0;
}

static int mount_layers(const struct bundle_overlay *o, struct err *e)
{
	cleanup_fd int fs = fsopen("overlay", FSOPEN_CLOEXEC);
	int r = fs < 0 ? -errno : configure(fs, o);

	if (r)
		return err_sys(e, r, "mount the instance's layers");
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);

	return fd < 0 ? err_sys(e, -errno, "mount the instance's layers") : fd;
}

static int open_stopped(struct subject *s, struct err *e)
{
	struct bundle_overlay layers = { 0 };
	struct oci_spec *spec = NULL;
	int r = instance_load_config(&s->in, &spec, e);

	if (!r)
		r = bundle_overlay_parse(spec, &layers, e);
	if (r > 0)
		r = mount_layers(&layers, e);
	else if (!r)
		r = open(spec->root_path ? spec->root_path : "/nonexistent",
			 O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r < 0 && !(e && e->code))
		r = err_sys(e, -errno, "root directory");
	bundle_overlay_fini(&layers);
	oci_spec_free(spec);
	return r;
}

int inside_root(struct subject *s, struct err *e)
{
	char path[64];

	if (!subject_alive(s))
		return open_stopped(s, e);
	snprintf(path, sizeof(path), "/proc/%d/root", (int)s->in.pid);
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "root directory of '%s'", s->rec.name);
	/* The process may have ended and its number be another's by now. */
	if (instance_probe(&s->in) == INSTANCE_STOPPED) {
		close(fd);
		return err_set(e, -ESRCH, "'%s' has just ended", s->rec.name);
	}
	return fd;
}
