/*
 * Looking into an image without mounting it: the layers are asked from the top, the first that has the
 * name answers, a whiteout answers no. Used for the handful of small files that a config.json depends on
 * (/etc/passwd, /etc/group), where a mount would cost ten times as much.
 *
 * Trust: the layers' content is hostile: links lead anywhere, a FIFO stands where a file is expected. Names
 * are resolved with RESOLVE_IN_ROOT, opens never block. A link that leads from one layer into another is
 * not followed. Threads: any.
 * #syscalls: openat openat2 fstat newfstatat fgetxattr read close
 */
#include "image/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"

static int open_inside(int dir, const char *path, uint64_t flags)
{
	/* A FIFO must not make us wait; with O_PATH nothing is opened, and the kernel refuses the flag. */
	struct open_how how = { .flags = flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NONBLOCK),
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static bool opaque(int fd)
{
	char v = 0;

	return (fgetxattr(fd, "trusted.overlay.opaque", &v, 1) == 1 ||
		fgetxattr(fd, "user.overlay.opaque", &v, 1) == 1) &&
	       (v == 'y');
}

/* Whether this layer hides `path` in the layers below: a whiteout at the name or above it, an opaque
 * directory above it, or something that is no directory. */
static bool hides(int layer, const char *path)
{
	char part[PATH_MAX];

	for (const char *p = path;; p++) {
		struct stat st;

		p += strcspn(p, "/");
		if ((size_t)(p - path) >= sizeof(part))
			return true;
		snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
		cleanup_fd int fd = open_inside(layer, part, O_PATH | O_NOFOLLOW);

		if (fd < 0)
			return fd != -ENOENT;
		if (fstat(fd, &st) < 0 || !*p)
			return true;
		if (S_ISLNK(st.st_mode)) {
			close_fd(&fd);
			fd = open_inside(layer, part, O_PATH);
			if (fd < 0)
				return fd != -ENOENT;
		} else if (!S_ISDIR(st.st_mode)) {
			return true;
		}
		cleanup_fd int dir = open_inside(layer, part, O_RDONLY | O_DIRECTORY);

		if (dir < 0 || opaque(dir))
			return true;
	}
}

int image_rootfs_read(const struct image_list *dirs, const char *path, struct buf *out)
{
	for (size_t i = dirs->n; i-- > 0;) {
		cleanup_fd int layer = open(dirs->v[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		struct stat st;

		if (layer < 0)
			return -errno;
		cleanup_fd int fd = open_inside(layer, path, O_RDONLY);

		if (fd >= 0 && fstat(fd, &st) < 0)
			return -errno;
		if (fd >= 0)
			return S_ISREG(st.st_mode) ? read_all(fd, out) : -ENOENT;
		if (hides(layer, path))
			return -ENOENT;
	}
	return -ENOENT;
}

int image_rootfs_stat(const struct image_list *dirs, const char *path, struct stat *st, char *real,
		      size_t size)
{
	for (size_t i = dirs->n; i-- > 0;) {
		cleanup_fd int layer = open(dirs->v[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		char link[64], where[PATH_MAX];

		if (layer < 0)
			return -errno;
		cleanup_fd int fd = open_inside(layer, path, O_PATH);

		if (fd < 0 && hides(layer, path))
			return -ENOENT;
		if (fd < 0)
			continue;
		if (fstat(fd, st) < 0)
			return -errno;
		if (S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0))
			return -ENOENT;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(link, where, sizeof(where) - 1);
		size_t skip = strlen(dirs->v[i]);

		if (n < 0 || (size_t)n < skip)
			return n < 0 ? -errno : -ESTALE;
		where[n] = '\0';
		const char *rest = where + skip;

		snprintf(real, size, "%s", rest + strspn(rest, "/"));
		return 0;
	}
	return -ENOENT;
}
