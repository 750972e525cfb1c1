/* Whole reads and writes of small files and descriptors. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"

/* Reads until `n` bytes or the end; restarts on EINTR. Bytes read, or -errno. */
ssize_t read_full(int fd, void *p, size_t n);
/* Writes all; restarts on EINTR. 0 or -errno. */
int write_full(int fd, const void *p, size_t n);

/* Appends the rest of `fd` to `b`, up to its maximum. 0 or -errno (-EMSGSIZE: larger than the
 * maximum). */
int read_all(int fd, struct buf *b);

/* Hands out each whole line (without its newline) of what `fd` has now; a rest stays in `b`, and a line longer than
 * `b` may get is dropped. 0 at the end, what `fn` returned when that is not 0, or -errno. */
int read_lines(int fd, struct buf *b, int (*fn)(void *arg, const char *line, size_t n), void *arg);

/* Appends the file's content; `path` is relative to `dirfd` (or AT_FDCWD). 0 or -errno. */
int file_read(int dirfd, const char *path, struct buf *b);

/* Writes an existing file in one write(2), the way cgroup, proc and sys files want it. 0 or -errno.
 */
int file_poke(int dirfd, const char *path, const char *text);

/* Replaces `path` so that a reader or a crash sees the old or the new content, never a part:
 * temporary name beside it, fsync when `sync`, rename. 0 or -errno. */
int file_replace(int dirfd, const char *path, const void *p, size_t n, mode_t mode, int sync);
