/* What copy's files share. */
#pragma once

#include <sys/stat.h>

#include "run/copy.h"

/* One end: the host's root (root -1) or an instance's. */
struct copy_end {
	int root; /* -1: names are the host's own */
	const char *path;
};

struct copy_job {
	const struct copy *c;
	struct copy_end from, to;
	int depth;
};

/* Opens a name at an end; links stay inside an instance's root. The descriptor, or -errno. */
int copy_open(const struct copy_end *end, const char *path, int flags);

/* The directory that holds the last part of `path`, which goes to `name` (NAME_MAX + 1 bytes; "." for the root
 * itself). The descriptor, or -errno. */
int copy_open_parent(const struct copy_end *end, const char *path, char *name, size_t size);

/* Makes or replaces a regular file for writing: what was there and is no directory goes first; a file that
 * is mounted there is written into. The descriptor, or -errno. */
int copy_create_file(int dirfd, const char *name);
/* Sets owner, mode and time as asked for. 0 or -errno. */
int copy_set_attributes(const struct copy *c, int fd, const struct stat *st);

/* copy_tar.c: the instance's `from` as a tar stream to `out`; a tar stream from `in` below the directory. */
int copy_tar_out(struct copy_job *j, int out, struct err *e);
int copy_tar_in(struct copy_job *j, int in, struct err *e);
