/*
 * Writing an instance's log.
 *
 * Output is cut into lines; each becomes one JSON object on one line. All lines of one piece of output are
 * appended with one write, so that a reader sees whole lines and a killed keeper tears at most the last one. When the file passes max-size it
 * is renamed to path.1 (path.1 to path.2, ...), docker's scheme.
 *
 * Trust: the text is the instance's. Threads: the keeper's one.
 * #syscalls: openat write fstat renameat unlinkat close clock_gettime
 */
#include "run/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"

enum { FILES_MAX = 1000, BATCH = 16384, KEEP = 4096 };

static int open_file(struct logfile *l)
{
	struct stat st;
	cleanup_fd int fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
				 0640);

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	l->size = (uint64_t)st.st_size;
	close_fd(&l->fd);
	l->fd = steal_fd(&fd);
	return 0;
}

int logfile_open(struct logfile *l, const char *path, uint64_t max_size, unsigned int max_file,
		 struct err *e)
{
	*l = (struct logfile)LOGFILE_INIT;
	buf_init(&l->part[0], LOG_LINE_MAX);
	buf_init(&l->part[1], LOG_LINE_MAX);
	/* Every byte may become \u00XX. */
	buf_init(&l->json, BATCH + LOG_LINE_MAX * 6 + 128);
	if (!path)
		return 0;
	l->max_size = max_size;
	l->max_file = max_file < 1 ? 1 : max_file > FILES_MAX ? FILES_MAX : max_file;
	l->path = strdup(path);
	int r = l->path ? open_file(l) : -ENOMEM;

	return r ? err_sys(e, r, "log '%s'", path) : 0;
}

static int rotate(struct logfile *l)
{
	char from[PATH_MAX], to[PATH_MAX];

	for (unsigned int i = l->max_file - 1; i >= 1; i--) {
		int n = i > 1 ? snprintf(from, sizeof(from), "%s.%u", l->path, i - 1)
			      : snprintf(from, sizeof(from), "%s", l->path);

		if (n < 0 || (size_t)n >= sizeof(from) - 12)
			return -ENAMETOOLONG;
		snprintf(to, sizeof(to), "%s.%u", l->path, i);
		if (rename(from, to) < 0 && errno != ENOENT)
			return -errno;
	}
	if (l->max_file == 1 && unlink(l->path) < 0 && errno != ENOENT)
		return -errno;
	return open_file(l);
}

/* Appends the finished lines with one write. */
static int write_out(struct logfile *l)
{
	int r = l->json.error;

	if (l->fd >= 0 && l->json.len && !r)
		r = write_full(l->fd, l->json.data, l->json.len);
	if (!r)
		l->size += l->json.len;
	/* What was much once must not make the keeper big for ever. */
	if (l->json.cap > KEEP)
		buf_fini(&l->json);
	else
		buf_clear(&l->json);
	return r;
}

static int emit(struct logfile *l, bool stderr_, const char *p, size_t n)
{
	struct logline line = { .text = p, .n = n, .stderr_ = stderr_ };
	size_t before = l->json.len;
	int r;

	if (l->fd < 0)
		return 0;
	clock_gettime(CLOCK_REALTIME, &line.time);
	r = logline_add(&l->json, &line);
	if (r)
		return write_out(l);
	if (l->max_size && l->size + before && l->size + l->json.len > l->max_size) {
		/* The line that does not fit any more begins the next file. */
		cleanup_with(buf_fini) struct buf last = BUF_INIT(l->json.max);

		r = buf_add(&last, l->json.data + before, l->json.len - before);
		l->json.len = before;
		if (!r)
			r = write_out(l);
		if (!r)
			r = rotate(l);
		if (!r)
			r = buf_add(&l->json, last.data, last.len);
		if (r)
			return r;
	}
	return l->json.len >= BATCH ? write_out(l) : 0;
}

static int emit_part(struct logfile *l, bool stderr_)
{
	struct buf *part = &l->part[stderr_];
	int r = part->len ? emit(l, stderr_, part->data, part->len) : 0;

	buf_fini(part);
	return r;
}

int logfile_write(struct logfile *l, bool stderr_, const char *p, size_t n)
{
	struct buf *part = &l->part[stderr_];
	int first = 0;

	while (l->fd >= 0 && n) {
		const char *nl = memchr(p, '\n', n);
		size_t len = nl ? (size_t)(nl - p) + 1 : n, room = LOG_LINE_MAX - part->len;
		int r;

		if (len > room)
			len = room, nl = NULL;
		if (part->len || !nl) {
			r = buf_add(part, p, len);
			if (nl || part->len == LOG_LINE_MAX || r)
				r = emit_part(l, stderr_);
		} else {
			r = emit(l, stderr_, p, len);
		}
		first = first ? first : r;
		p += len;
		n -= len;
	}
	int r = write_out(l);

	return first ? first : r;
}

int logfile_flush(struct logfile *l)
{
	int r = emit_part(l, false), r2 = emit_part(l, true), r3 = write_out(l);

	return r ? r : r2 ? r2 : r3;
}

void logfile_close(struct logfile *l)
{
	logfile_flush(l);
	close_fd(&l->fd);
	free(steal_ptr(&l->path));
	buf_fini(&l->json);
}

void log_remove(const char *path)
{
	char name[PATH_MAX];

	for (unsigned int i = 1; i < FILES_MAX; i++) {
		int n = snprintf(name, sizeof(name), "%s.%u", path, i);

		if (n < 0 || (size_t)n >= sizeof(name) || unlink(name) < 0)
			break;
	}
	unlink(path);
}
