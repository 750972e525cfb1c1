/*
 * Small files as a whole.
 *
 * Trust: paths are the caller's; nothing here resolves names inside a hostile tree (see os/path.h
 * for that). Threads: any. #syscalls: read write openat fsync renameat unlinkat close getpid
 */
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

ssize_t read_full(int fd, void *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = read(fd, (char *)p + done, n - done);

		if (r == 0)
			break;
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int write_full(int fd, const void *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = write(fd, (const char *)p + done, n - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		done += (size_t)r;
	}
	return 0;
}

int read_all(int fd, struct buf *b)
{
	for (;;) {
		size_t room = b->max - b->len;
		size_t step = b->cap - b->len > 1024 ? b->cap - b->len - 1 : 4096;

		if (step > room)
			step = room;
		if (!step) {
			char c;
			ssize_t r = read_full(fd, &c, 1);

			return r < 0 ? (int)r : r ? -EMSGSIZE : 0;
		}
		char *p = buf_reserve(b, step);

		if (!p)
			return b->error;
		ssize_t r = read(fd, p, step);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return 0;
		buf_commit(b, (size_t)r);
	}
}

enum { LINES_PIECE = 65536 };

int read_lines(int fd, struct buf *b, int (*fn)(void *arg, const char *line, size_t n), void *arg)
{
	for (;;) {
		char *room = buf_reserve(b, LINES_PIECE);

		if (!room) {
			buf_clear(b);
			continue;
		}
		ssize_t n = read(fd, room, LINES_PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		buf_commit(b, (size_t)n);
		size_t done = 0;
		int r = 0;

		for (char *nl; !r && (nl = memchr(b->data + done, '\n', b->len - done));) {
			r = fn(arg, b->data + done, (size_t)(nl - b->data) - done);
			done = (size_t)(nl - b->data) + 1;
		}
		buf_consume(b, done);
		if (r)
			return r;
	}
}

int file_read(int dirfd, const char *path, struct buf *b)
{
	cleanup_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return read_all(fd, b);
}

int file_poke(int dirfd, const char *path, const char *text)
{
	cleanup_fd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	size_t n = strlen(text);
	ssize_t r;

	do
		r = write(fd, text, n);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return (size_t)r == n ? 0 : -EIO;
}

int file_replace(int dirfd, const char *path, const void *p, size_t n, mode_t mode, int sync)
{
	char tmp[4096];
	int len = snprintf(tmp, sizeof(tmp), "%s.%d.tmp", path, (int)getpid());

	if (len < 0 || (size_t)len >= sizeof(tmp))
		return -ENAMETOOLONG;
	unlinkat(dirfd, tmp, 0);
	cleanup_fd int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
				   mode);

	if (fd < 0)
		return -errno;
	int r = write_full(fd, p, n);

	if (!r && sync && fsync(fd) < 0)
		r = -errno;
	/* Some file systems write the data out on a rename over a file. Without `sync` nobody asked for that; an
	 * exchange does not. */
	if (!r && !sync && renameat2(dirfd, tmp, dirfd, path, RENAME_EXCHANGE) == 0) {
		if (unlinkat(dirfd, tmp, 0) == 0)
			return 0;
		/* The name was a directory's: it gets it back. */
		r = -errno;
		renameat2(dirfd, tmp, dirfd, path, RENAME_EXCHANGE);
	}
	if (!r && renameat(dirfd, tmp, dirfd, path) < 0)
		r = -errno;
	if (r)
		unlinkat(dirfd, tmp, 0);
	return r;
}
