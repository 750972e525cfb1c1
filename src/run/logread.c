/*
 * Reading an instance's log while its keeper may be writing and rotating it.
 *
 * Files are read oldest first (path.N ... path.1, path). `tail` is found by walking backwards from the
 * end and counting newlines, so that the last ten lines of a large log cost little. A reader that reached
 * the end of a file looks whether the path now leads to another file; if so rotation happened, and it goes
 * on there.
 *
 * Trust: the file may be torn or edited; every line is judged by wire/logline. Threads: any.
 * #syscalls: openat read pread fstat newfstatat lseek close
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"
#include "run/log.h"

enum { CHUNK = 65536, JSON_LINE_MAX = 1 << 20 };

/* The n-th file: 0 the current one. */
static int open_nth(const char *path, unsigned int n)
{
	char name[PATH_MAX];
	int len = n ? snprintf(name, sizeof(name), "%s.%u", path, n)
		    : snprintf(name, sizeof(name), "%s", path);

	if (len < 0 || (size_t)len >= sizeof(name))
		return -ENAMETOOLONG;
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

/* How many files rotation left. */
static unsigned int count_rotated(const char *path)
{
	unsigned int n = 0;

	for (;;) {
		cleanup_fd int fd = open_nth(path, n + 1);

		if (fd < 0)
			return n;
		n++;
	}
}

/* Where the last `*left` lines of the file begin; `*left` becomes what is still missing. */
static off_t tail_offset(int fd, int64_t *left, off_t end)
{
	static char chunk[CHUNK];
	bool at_end = true;

	for (off_t pos = end; pos > 0;) {
		size_t step = pos > CHUNK ? CHUNK : (size_t)pos;
		ssize_t n = pread(fd, chunk, step, pos - (off_t)step);

		if (n != (ssize_t)step)
			return 0;
		for (size_t i = step; i-- > 0;) {
			if (chunk[i] != '\n') {
				if (at_end)
					at_end = false;
				continue;
			}
			/* The newline that ends the last line begins no line. */
			if (pos - (off_t)step + (off_t)i + 1 == end) {
				at_end = false;
				continue;
			}
			if (--*left == 0)
				return pos - (off_t)step + (off_t)i + 1;
		}
		pos -= (off_t)step;
	}
	if (end > 0)
		--*left;
	return 0;
}

/* Opens the file in which the wanted lines begin, and goes there. */
static int seek_tail(struct log_reader *r, unsigned int *nth, unsigned int rotated)
{
	int64_t left = r->want.tail;

	for (*nth = 0;; ++*nth) {
		struct stat st;
		cleanup_fd int fd = open_nth(r->path, *nth);

		if (fd < 0)
			return fd == -ENOENT ? 0 : fd;
		if (fstat(fd, &st) < 0)
			return -errno;
		off_t at = left ? tail_offset(fd, &left, st.st_size) : st.st_size;

		if (left <= 0 || *nth == rotated) {
			if (lseek(fd, at, SEEK_SET) < 0)
				return -errno;
			r->fd = steal_fd(&fd);
			return 0;
		}
	}
}

static int line(void *arg, const char *p, size_t n)
{
	struct log_reader *r = arg;
	const struct log_filter *w = &r->want;
	struct logline l;

	if (logline_parse(p, n, &r->scratch, &l))
		return 0;
	if (l.time.tv_sec < w->since.tv_sec ||
	    (l.time.tv_sec == w->since.tv_sec && l.time.tv_nsec < w->since.tv_nsec))
		return 0;
	if ((w->until.tv_sec || w->until.tv_nsec) &&
	    (l.time.tv_sec > w->until.tv_sec ||
	     (l.time.tv_sec == w->until.tv_sec && l.time.tv_nsec > w->until.tv_nsec)))
		return 0;
	return r->fn(r->arg, &l);
}

/* Everything that the open file has now. */
static int drain(struct log_reader *r)
{
	return read_lines(r->fd, &r->in, line, r);
}

int log_reader_open(struct log_reader *r, const char *path, const struct log_filter *want,
		    log_line_fn *fn, void *arg, struct err *e)
{
	*r = (struct log_reader){ .fd = -1, .path = path, .want = *want, .fn = fn, .arg = arg };
	buf_init(&r->in, JSON_LINE_MAX);
	buf_init(&r->scratch, JSON_LINE_MAX);
	unsigned int rotated = count_rotated(path), nth = rotated;
	int s = 0;

	if (want->tail >= 0) {
		s = seek_tail(r, &nth, rotated);
	} else {
		int fd = open_nth(path, nth);

		r->fd = fd < 0 ? -1 : fd;
		s = fd < 0 && fd != -ENOENT ? fd : 0;
	}
	/* All files but the current one are complete: their rest is read now. */
	for (; !s && r->fd >= 0 && nth > 0; nth--) {
		s = drain(r);
		close_fd(&r->fd);
		int fd = s ? -1 : open_nth(path, nth - 1);

		r->fd = fd < 0 ? -1 : fd;
	}
	return s < 0 ? err_sys(e, s, "log '%s'", path) : s;
}

/* Whether the path leads to another file than the open one. */
static bool rotated_away(const struct log_reader *r)
{
	struct stat now, ours;

	return stat(r->path, &now) == 0 && fstat(r->fd, &ours) == 0 &&
	       (now.st_ino != ours.st_ino || now.st_dev != ours.st_dev);
}

int log_reader_run(struct log_reader *r, struct err *e)
{
	for (;;) {
		if (r->fd < 0) {
			int fd = open_nth(r->path, 0);

			if (fd == -ENOENT)
				return 0;
			if (fd < 0)
				return err_sys(e, fd, "log '%s'", r->path);
			r->fd = fd;
		}
		/* Asked before reading, so that what was written before the rename is read. */
		bool old = rotated_away(r);
		int s = drain(r);

		if (s)
			return s < 0 ? err_sys(e, s, "log '%s'", r->path) : s;
		if (!old)
			return 0;
		close_fd(&r->fd);
		buf_clear(&r->in);
	}
}

void log_reader_close(struct log_reader *r)
{
	close_fd(&r->fd);
	buf_fini(&r->in);
	buf_fini(&r->scratch);
}
