/* An instance's log: docker's json-file, written by the keeper, read by anybody. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/logline.h"

/* Longer lines are written in pieces; only the last piece ends with a newline (docker's rule). */
enum { LOG_LINE_MAX = 16384 };

struct logfile {
	int fd; /* -1: nothing is logged */
	char *path;
	uint64_t size, max_size; /* bytes; max_size 0: never rotated */
	unsigned int max_file;	 /* files in all, this one included; at least 1 */
	struct buf part[2];	 /* the unfinished line of stdout and of stderr */
	struct buf json;	 /* lines that are not written yet */
	size_t lines;
};

#define LOGFILE_INIT     \
	{                \
		.fd = -1 \
	}

/* Opens for appending, made 0640 when missing. `path` NULL: nothing is logged. 0 or -errno. */
int logfile_open(struct logfile *l, const char *path, uint64_t max_size, unsigned int max_file,
		 struct err *e);
/* Takes output as it comes; whole lines are written at once. 0 or -errno (a full disk loses lines, never
 * the instance). */
int logfile_write(struct logfile *l, bool stderr_, const char *p, size_t n);
/* Writes what has no newline yet. */
int logfile_flush(struct logfile *l);
void logfile_close(struct logfile *l);

/* Which lines a reader wants. */
struct log_filter {
	struct timespec since, until; /* zero: no bound */
	int64_t tail;		      /* this many of the last lines; -1: all */
};

/* Gets each line in order. Not 0 ends the reading and is returned. */
typedef int log_line_fn(void *arg, const struct logline *l);

struct log_reader {
	int fd;
	const char *path;
	struct buf in, scratch;
	struct log_filter want;
	log_line_fn *fn;
	void *arg;
};

/* Begins at the oldest line that `want` lets through. A missing log is an empty one. 0 or -errno. */
int log_reader_open(struct log_reader *r, const char *path, const struct log_filter *want,
		    log_line_fn *fn, void *arg, struct err *e);
/* Hands out what is there now, following rotation. 0, what `fn` returned, or -errno. Lines that are no
 * log lines (a torn one after a crash) are skipped. */
int log_reader_run(struct log_reader *r, struct err *e);
void log_reader_close(struct log_reader *r);

/* Removes the log and what rotation left. */
void log_remove(const char *path);
