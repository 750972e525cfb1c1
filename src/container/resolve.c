/*
 * Names inside a hostile root.
 *
 * Every lookup is one openat2 with RESOLVE_IN_ROOT, so that "..", absolute links and magic links end at the
 * root, also while somebody swaps directories for links beside us. What does not exist is made component by
 * component, each by mkdirat or openat(O_EXCL | O_NOFOLLOW) relative to a descriptor of its parent. A link that
 * leads to nothing is read and followed by hand, within the root, so that its target is what gets made.
 *
 * The result is always a descriptor; callers mount on and write to descriptors, never to names.
 *
 * Trust: the tree below `root` is hostile and may change at any time. Threads: none of its own.
 * #syscalls: openat2 openat mkdirat readlinkat fstat close
 */
#include "container/resolve_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/sys.h"

enum { LINKS_MAX = 40 };

static const char *skip_slashes(const char *s)
{
	while (*s == '/')
		s++;
	return s;
}

int root_open(int root, const char *path)
{
	path = skip_slashes(path);
	return sys_openat2(root, *path ? path : ".", O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
}

/* Makes `name` in `parent`. A descriptor, -EEXIST when there is something else by now, or -errno. */
static int make_one(int parent, const char *name, bool directory)
{
	cleanup_fd int fd = -1;
	struct stat st;

	if (directory) {
		if (mkdirat(parent, name, 0755) < 0)
			return -errno;
		fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	} else {
		fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0644);
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (directory ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
		return -EEXIST;
	if (directory)
		return steal_fd(&fd);
	int path = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (path < 0)
		return -errno;
	struct stat again;

	if (fstat(path, &again) < 0 || again.st_ino != st.st_ino || again.st_dev != st.st_dev) {
		close(path);
		return -EEXIST;
	}
	return path;
}

/* `path` without its first `done` bytes is still to be walked; a dangling link was found as the component
 * [start, end). Rewrites `path` to go where the link says. */
static int follow_dangling(int parent, char *path, size_t size, size_t start, size_t end)
{
	char link[PATH_MAX], name[NAME_MAX + 1], rest[PATH_MAX];

	if (end - start > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, path + start, end - start);
	name[end - start] = '\0';
	ssize_t n = readlinkat(parent, name, link, sizeof(link) - 1);

	if (n < 0)
		return -errno;
	link[n] = '\0';
	snprintf(rest, sizeof(rest), "%s", path + end);
	size_t keep = link[0] == '/' ? 0 : start;
	int r = snprintf(path + keep, size - keep, "%s%s", link, rest);

	return r < 0 || (size_t)r >= size - keep ? -ENAMETOOLONG : 0;
}

/* One pass over `path`. 1: the path was rewritten, walk again. */
static int walk(int root, char *path, size_t size, bool directory, int *out)
{
	cleanup_fd int at = root_open(root, "/");

	if (at < 0)
		return at;
	for (size_t start = 0; path[start];) {
		while (path[start] == '/')
			start++;
		size_t end = start + strcspn(path + start, "/");

		if (end == start)
			break;
		bool last = !*skip_slashes(path + end);
		char kept = path[end];

		path[end] = '\0';
		int fd = root_open(root, path);

		if (fd == -ENOENT) {
			fd = make_one(at, path + start, directory || !last);
			if (fd == -EEXIST) {
				path[end] = kept;
				int r = follow_dangling(at, path, size, start, end);

				/* Not a link: somebody made it meanwhile, look again. */
				return r && r != -EINVAL ? r : 1;
			}
		}
		path[end] = kept;
		if (fd < 0)
			return fd;
		close(at);
		at = fd;
		start = end;
	}
	*out = steal_fd(&at);
	return 0;
}

int root_make(int root, const char *path, bool directory)
{
	char own[PATH_MAX];
	int fd = root_open(root, path);

	if (fd != -ENOENT)
		return fd;
	if ((size_t)snprintf(own, sizeof(own), "%s", path) >= sizeof(own))
		return -ENAMETOOLONG;
	for (int i = 0; i < LINKS_MAX; i++) {
		int r = walk(root, own, sizeof(own), directory, &fd);

		if (r <= 0)
			return r ? r : fd;
	}
	return -ELOOP;
}

int root_parent(int root, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	*name = slash ? slash + 1 : path;
	if (!**name || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0)
		return -EINVAL;
	if ((size_t)snprintf(dir, sizeof(dir), "%.*s", (int)(*name - path), path) >= sizeof(dir))
		return -ENAMETOOLONG;
	return root_make(root, dir[0] ? dir : "/", true);
}
