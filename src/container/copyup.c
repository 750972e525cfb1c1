/*
 * tmpcopyup: what a directory of the image holds appears in the tmpfs that covers it.
 *
 * Trust: the source tree is hostile: every step is relative to a descriptor, links are copied as links, files
 * are opened without following and without blocking, and only regular ones are read. Threads: none; runs in
 * init. #syscalls: openat getdents64 fstatat mkdirat symlinkat mknodat copy_file_range sendfile fchownat
 * fchmodat readlinkat
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "container/mount_int.h"

enum { DEPTH_MAX = 64 };

static int copy_level(int from, int to, int depth);

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	cleanup_fd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat now;

	if (in < 0)
		return -errno;
	if (fstat(in, &now) < 0 || !S_ISREG(now.st_mode))
		return -ESTALE;
	cleanup_fd int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (out < 0)
		return -errno;
	for (;;) {
		ssize_t n = sendfile(out, in, NULL, 1 << 30);

		if (n == 0)
			break;
		if (n < 0)
			return -errno;
	}
	if (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0)
		return -errno;
	return 0;
}

static int copy_dir(int from, int to, const char *name, const struct stat *st, int depth)
{
	if (mkdirat(to, name, 0700) < 0)
		return -errno;
	cleanup_fd int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (in < 0 || out < 0)
		return -errno;
	int err = copy_level(in, out, depth + 1);

	if (!err &&
	    (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0))
		err = -errno;
	return err;
}

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;
	char link[PATH_MAX];

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_dir(from, to, name, &st, depth);
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name, &st);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(from, name, link, sizeof(link) - 1);

		if (n < 0)
			return -errno;
		link[n] = '\0';
		if (symlinkat(link, to, name) < 0)
			return -errno;
	} else if (mknodat(to, name, st.st_mode, st.st_rdev) < 0) {
		return -errno;
	}
	return fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_level(int from, int to, int depth)
{
	int fd = dup(from), err = 0;
	struct dirent *d;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	if (fd < 0)
		return -errno;
	cleanup_closedir DIR *dir = fdopendir(fd);

	if (!dir) {
		close(fd);
		return -errno;
	}
	while (!err && (d = readdir(dir)))
		if (!streq(d->d_name, ".") && !streq(d->d_name, ".."))
			err = copy_entry(from, to, d->d_name, depth);
	return err;
}

int copy_tree(int from, int to)
{
	struct stat st;
	int err = copy_level(from, to, 0);

	if (!err && (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 ||
		     fchmod(to, st.st_mode & 07777) < 0))
		err = -errno;
	return err;
}
