/*
 * Removing a tree that may hold anything: an instance wrote it.
 *
 * Every step is an openat() with O_NOFOLLOW below a descriptor that is already held, so swapping a
 * directory for a link while we work cannot lead outside. Depth is bounded by moving too-deep directories
 * up to the top and starting anew, so hostile nesting costs neither stack nor descriptors.
 *
 * Trust: the tree is hostile. Threads: any. #syscalls: openat unlinkat getdents64 fstat renameat fchmod mkdir close
 */
#include "os/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { DEPTH_MAX = 64 };

struct removal {
	int top; /* the tree's first directory */
	dev_t dev;
	unsigned int moved; /* names given to directories that were moved up */
	bool again;	    /* something was moved up: another pass is needed */
	int error;
};

static void note(struct removal *rm, int error)
{
	if (!rm->error)
		rm->error = error;
}

static int open_dir(int dirfd, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dirfd, name, flags);

	/* Our own directory without permissions: give them to us. */
	if (fd < 0 && errno == EACCES && fchmodat(dirfd, name, 0700, 0) == 0)
		fd = openat(dirfd, name, flags);
	return fd < 0 ? -errno : fd;
}

/* Takes a directory that lies too deep up to the top, to be removed in the next pass. */
static void move_up(struct removal *rm, int dirfd, const char *name)
{
	char fresh[64];

	snprintf(fresh, sizeof(fresh), ".warren-removal-%u", rm->moved++);
	if (renameat(dirfd, name, rm->top, fresh) < 0)
		note(rm, -errno);
	else
		rm->again = true;
}

static void empty(struct removal *rm, int fd, int depth);

static void remove_entry(struct removal *rm, int dirfd, const char *name, int depth)
{
	struct stat st;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return;
	int why = errno;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
		note(rm, -why);
		return;
	}
	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return;
	if (depth >= DEPTH_MAX) {
		move_up(rm, dirfd, name);
		return;
	}
	cleanup_fd int fd = open_dir(dirfd, name);

	if (fd < 0 || fstat(fd, &st) < 0) {
		note(rm, fd < 0 ? fd : -errno);
		return;
	}
	if (st.st_dev != rm->dev) {
		note(rm, -EBUSY);
		return;
	}
	empty(rm, fd, depth + 1);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT && !rm->again)
		note(rm, -errno);
}

static void empty(struct removal *rm, int fd, int depth)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	cleanup_closedir DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *ent;

	if (!d) {
		note(rm, -errno);
		close_fd(&copy);
		return;
	}
	fchmod(fd, 0700);
	while ((ent = readdir(d)))
		if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, ".."))
			remove_entry(rm, fd, ent->d_name, depth);
}

int tree_remove(int dirfd, const char *name)
{
	struct stat st;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno == ENOTDIR)
		return -errno;
	cleanup_fd int fd = open_dir(dirfd, name);

	if (fd == -ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? fd : -errno;
	struct removal rm = { .top = fd, .dev = st.st_dev, .again = true };

	while (rm.again && !rm.error) {
		rm.again = false;
		lseek(fd, 0, SEEK_SET);
		empty(&rm, fd, 1);
	}
	if (rm.error)
		return rm.error;
	return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int tree_make(const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, n + 1);
	for (char *p = part + 1;; p++) {
		p += strcspn(p, "/");
		char c = *p;

		*p = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
		if (!c)
			return 0;
		*p = c;
	}
}
