/*
 * Removing what an instance wrote.
 *
 * Trust: the tree is hostile; see os/tree.c. Threads: one. #syscalls: those of os/tree.c and run/inner.c
 */
#include "run/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "os/tree.h"
#include "run/inner.h"

#define DEPTH_MAX 64

/* Bytes that a tree takes on disk; parts that cannot be read do not count. */
static uint64_t tree_bytes(int dirfd, const char *name, int depth)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_closedir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	uint64_t sum = 0;

	for (struct dirent *x; d && (x = readdir(d));) {
		struct stat st;

		if (streq(x->d_name, ".") || streq(x->d_name, "..") ||
		    fstatat(fd, x->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
			sum += tree_bytes(fd, x->d_name, depth + 1);
		else
			sum += (uint64_t)st.st_blocks * 512;
	}
	return sum;
}

uint64_t disk_bytes(const char *path)
{
	return tree_bytes(AT_FDCWD, path, 0);
}

static int remove_it(void *arg, struct err *e)
{
	const char *path = arg;
	int r = tree_remove(AT_FDCWD, path);

	return r ? err_sys(e, r, "remove '%s'", path) : 0;
}

int disk_remove(const char *path, struct err *e)
{
	int r = tree_remove(AT_FDCWD, path);

	if ((r == -EACCES || r == -EPERM) && geteuid() != 0)
		return inner_root(0, remove_it, (void *)(uintptr_t)path, e);
	return r ? err_sys(e, r, "remove '%s'", path) : 0;
}
