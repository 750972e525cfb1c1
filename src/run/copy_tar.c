/*
 * cp with a tar stream on one side (`cp c:/etc - | tar t`, `tar c . | cp - c:/srv`).
 *
 * Trust: what comes in on stdin is judged by wire/tar and each name again here: it is resolved below the
 * target directory, from which neither ".." nor a link leads out. What goes out was written by the instance
 * and is only packed. Threads: one. #syscalls: read write openat openat2 and those of run/copy.c
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "os/file.h"
#include "run/copy_int.h"
#include "run/inside.h"
#include "wire/tar.h"

enum { DEPTH_MAX = 256, PIECE = 65536, HEADER_MAX = 1 << 16 };

struct writer {
	int out;
	char path[TAR_NAME_MAX];
	int depth;
};

static int write_header(struct writer *w, const struct stat *st, const char *link)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(HEADER_MAX);
	struct tar_entry t = {
		.path = w->path,
		.link = link,
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mtime = st->st_mtim.tv_sec,
		.major = major(st->st_rdev),
		.minor = minor(st->st_rdev),
	};

	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		t.type = TAR_FILE;
		t.size = (uint64_t)st->st_size;
		break;
	case S_IFDIR:
		t.type = TAR_DIRECTORY;
		break;
	case S_IFLNK:
		t.type = TAR_SYMLINK;
		break;
	case S_IFIFO:
		t.type = TAR_FIFO;
		break;
	case S_IFCHR:
		t.type = TAR_CHAR;
		break;
	default:
		t.type = TAR_BLOCK_DEVICE;
		break;
	}
	int r = tar_add_header(&b, &t);

	return r ? r : write_full(w->out, b.data, b.len);
}

/* Exactly as much as the header said: a file that shrinks meanwhile is filled up with zeroes. */
static int write_file(struct writer *w, int dirfd, const char *name)
{
	static char piece[PIECE];
	struct stat st;
	cleanup_fd int fd = openat(dirfd, name,
				   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	int r = write_header(w, &st, "");

	for (uint64_t left = (uint64_t)st.st_size; !r && left;) {
		size_t want = left < sizeof(piece) ? (size_t)left : sizeof(piece);
		ssize_t n = read_full(fd, piece, want);

		if (n < 0)
			return (int)n;
		memset(piece + n, 0, want - (size_t)n);
		r = write_full(w->out, piece, want);
		left -= want;
	}
	memset(piece, 0, TAR_BLOCK);
	return r ? r : write_full(w->out, piece, tar_pad((uint64_t)st.st_size));
}

static int write_entry(struct writer *w, int dirfd, const char *name);

static int write_dir(struct writer *w, int dirfd, const char *name)
{
	cleanup_fd int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3), r = 0;
	cleanup_closedir DIR *d = copy < 0 ? NULL : fdopendir(copy);
	size_t len = strlen(w->path);
	struct dirent *ent;

	if (!d) {
		close_fd(&copy);
		return -errno;
	}
	if (w->depth >= DEPTH_MAX)
		return -ELOOP;
	w->depth++;
	while (!r && (ent = readdir(d))) {
		if (streq(ent->d_name, ".") || streq(ent->d_name, ".."))
			continue;
		if (len + strlen(ent->d_name) + 2 >= sizeof(w->path))
			return -ENAMETOOLONG;
		snprintf(w->path + len, sizeof(w->path) - len, "%s%s",
			 len && w->path[len - 1] != '/' ? "/" : "", ent->d_name);
		r = write_entry(w, fd, ent->d_name);
		w->path[len] = '\0';
	}
	w->depth--;
	return r;
}

static int write_entry(struct writer *w, int dirfd, const char *name)
{
	char link[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return write_file(w, dirfd, name);
	case S_IFSOCK:
		return 0;
	case S_IFLNK:
		n = readlinkat(dirfd, name, link, sizeof(link) - 1);
		if (n < 0)
			return -errno;
		link[n] = '\0';
		return write_header(w, &st, link);
	case S_IFDIR:
		n = write_header(w, &st, "");
		return n ? (int)n : write_dir(w, dirfd, name);
	default:
		return write_header(w, &st, "");
	}
}

int copy_tar_out(struct copy_job *j, int out, struct err *e)
{
	static const char end[2 * TAR_BLOCK];
	static struct writer w;
	char name[NAME_MAX + 1];
	cleanup_fd int parent = copy_open_parent(&j->from, j->from.path, name, sizeof(name));

	if (parent < 0)
		return err_sys(e, parent, "'%s'", j->from.path);
	if (faccessat(parent, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, -errno, "'%s'", j->from.path);
	w = (struct writer){ .out = out };
	snprintf(w.path, sizeof(w.path), "%s", name);
	int r = write_entry(&w, parent, name);

	if (!r)
		r = write_full(out, end, sizeof(end));
	return r ? err_sys(e, r, "copy '%s'", w.path) : 0;
}

struct extraction {
	struct copy_job *j;
	int dir;  /* below which all names are resolved */
	int file; /* being written, or -1 */
	struct stat st;
};

static int finish_file(struct extraction *x)
{
	int r = x->file < 0 ? 0 : copy_set_attributes(x->j->c, x->file, &x->st);

	close_fd(&x->file);
	return r;
}

/* The directory of an entry, made when it is missing; its last name goes to `name`. */
static int entry_parent(struct extraction *x, const char *path, char *name, size_t size)
{
	const struct copy_end end = { x->dir, path };
	int fd = copy_open_parent(&end, path, name, size);

	if (fd != -ENOENT)
		return fd;
	for (size_t i = 1; path[i]; i++) {
		char part[NAME_MAX + 1], dir[PATH_MAX];

		if (path[i] != '/' || path[i - 1] == '/' || i >= sizeof(dir))
			continue;
		memcpy(dir, path, i);
		dir[i] = '\0';
		cleanup_fd int parent = copy_open_parent(&end, dir, part, sizeof(part));

		if (parent < 0)
			return parent;
		if (mkdirat(parent, part, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	return copy_open_parent(&end, path, name, size);
}

static int make_link(struct extraction *x, const struct tar_entry *t, int parent, const char *name)
{
	char old[NAME_MAX + 1];

	if (unlinkat(parent, name, 0) < 0 && errno != ENOENT)
		return -errno;
	if (t->type == TAR_SYMLINK)
		return symlinkat(t->link, parent, name) < 0 ? -errno : 0;
	cleanup_fd int from = entry_parent(x, t->link, old, sizeof(old));

	if (from < 0)
		return from;
	return linkat(from, old, parent, name, 0) < 0 ? -errno : 0;
}

static int make_dir(struct extraction *x, int parent, const char *name)
{
	bool made = streq(name, ".") || mkdirat(parent, name, 0700) == 0;

	if (!made && errno != EEXIST)
		return -errno;
	if (streq(name, "."))
		return 0;
	cleanup_fd int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : copy_set_attributes(x->j->c, fd, &x->st);
}

static int make_entry(struct extraction *x, const struct tar_entry *t, int parent, const char *name)
{
	switch (t->type) {
	case TAR_DIRECTORY:
		return make_dir(x, parent, name);
	case TAR_HARDLINK:
	case TAR_SYMLINK:
		return make_link(x, t, parent, name);
	case TAR_FILE:
		x->file = copy_create_file(parent, name);
		return x->file < 0 ? x->file : t->size ? 0 : finish_file(x);
	case TAR_FIFO:
		return mkfifoat(parent, name, t->mode & 0777) < 0 && errno != EEXIST ? -errno : 0;
	case TAR_CHAR:
	case TAR_BLOCK_DEVICE:
		break;
	}
	return -EPERM;
}

static int on_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct extraction *x = arg;
	char name[NAME_MAX + 1];
	int r = finish_file(x);

	if (r)
		return err_sys(e, r, "tar stream");
	cleanup_fd int parent = entry_parent(x, t->path, name, sizeof(name));

	if (parent < 0)
		return err_sys(e, parent, "tar stream: '%s'", t->path);
	x->st = (struct stat){ .st_mode = t->mode,
			       .st_uid = t->uid,
			       .st_gid = t->gid,
			       .st_mtim.tv_sec = t->mtime,
			       .st_atim.tv_sec = t->mtime };
	r = make_entry(x, t, parent, name);
	return r ? err_sys(e, r, "tar stream: '%s'", t->path) : 0;
}

static int on_data(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	struct extraction *x = arg;
	int r = x->file < 0 ? 0 : write_full(x->file, p, n);

	return r ? err_sys(e, r, "tar stream") : 0;
}

int copy_tar_in(struct copy_job *j, int in, struct err *e)
{
	static uint8_t piece[PIECE];
	struct extraction x = { .j = j, .file = -1 };
	struct tar_parser t;
	cleanup_fd int dir = copy_open(&j->to, j->to.path, O_RDONLY | O_DIRECTORY);
	ssize_t n;
	int r = 0;

	if (dir < 0)
		return err_sys(e, dir, "directory '%s'", j->to.path);
	x.dir = dir;
	tar_parser_init(&t);
	t.entry = on_entry;
	t.data = on_data;
	t.arg = &x;
	while (!r && (n = read(in, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? err_sys(e, -errno, "tar stream")
			  : tar_parser_feed(&t, piece, (size_t)n, e);
	}
	if (!r)
		r = tar_parser_end(&t, e);
	if (r == -EBADMSG)
		err_wrap(e, "standard input: expected a tar stream");
	if (!r && (r = finish_file(&x)))
		err_sys(e, r, "tar stream");
	close_fd(&x.file);
	tar_parser_fini(&t);
	return r;
}
