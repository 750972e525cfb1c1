/*
 * `warren cp`: a child that packs a path of the container into a tar stream, or unpacks one below a
 * directory. It works with the container's root as its own, so that no link and no ".." leads out. The
 * stream's descriptors carry the tar; what goes wrong comes back whole through a pipe of its own.
 *
 * Before there is a container the root is the guest's own: the host sends it files that way.
 *
 * Trust: names in the archive come from whoever runs cp. Threads: none; the child is forked.
 * #syscalls: fork chroot openat mkdirat symlinkat linkat fchownat fchmod utimensat getdents64
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "wire/tar.h"

/* ---- unpack ---- */

struct unpack {
	int fd; /* of the file being written */
	uint64_t left;
	int64_t mtime;
};

/* Relative, without ".."; its parents made. NULL when it is neither. */
static const char *tame(const char *path)
{
	char part[TAR_NAME_MAX + 1];

	while (*path == '/' || (path[0] == '.' && path[1] == '/'))
		path += path[0] == '/' ? 1 : 2;
	for (const char *s = path; *s;) {
		size_t n = strcspn(s, "/");

		if (n == 2 && s[0] == '.' && s[1] == '.')
			return NULL;
		s += n;
		if (*s == '/' && s[1]) {
			memcpy(part, path, (size_t)(s - path));
			part[s - path] = '\0';
			mkdir(part, 0755); /* there already, or the open says why */
		}
		s += *s == '/';
	}
	return path;
}

static int finish_file(struct unpack *u, struct err *e)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = u->mtime } };
	int r = futimens(u->fd, t) < 0 ? -errno : 0;

	close_fd(&u->fd);
	return r < 0 ? err_sys(e, r, "set the time") : 0;
}

static int unpack_file(struct unpack *u, const struct tar_entry *t, const char *path, struct err *e)
{
	unlink(path);
	u->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (u->fd < 0)
		return err_sys(e, -errno, "create '%s'", path);
	if (fchown(u->fd, t->uid, t->gid) < 0 || fchmod(u->fd, (mode_t)t->mode) < 0)
		return err_sys(e, -errno, "set the owner of '%s'", path);
	u->left = t->size;
	u->mtime = t->mtime;
	return t->size ? 0 : finish_file(u, e);
}

static int unpack_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	const char *path = tame(t->path), *link;
	struct unpack *u = arg;
	int r = 0;

	if (!path)
		return err_set(e, -EINVAL, "'%s' leads out", t->path);
	switch (t->type) {
	case TAR_FILE:
		return unpack_file(u, t, path, e);
	case TAR_DIRECTORY:
		if (*path && mkdir(path, (mode_t)t->mode) < 0)
			r = errno == EEXIST ? 0 : -errno;
		else if (*path && lchown(path, t->uid, t->gid) < 0)
			r = -errno;
		break;
	case TAR_SYMLINK:
		unlink(path);
		r = symlink(t->link, path) < 0 || lchown(path, t->uid, t->gid) < 0 ? -errno : 0;
		break;
	case TAR_HARDLINK:
		link = tame(t->link);
		if (!link)
			return err_set(e, -EINVAL, "'%s' leads out", t->link);
		unlink(path);
		r = linkat(AT_FDCWD, link, AT_FDCWD, path, 0) < 0 ? -errno : 0;
		break;
	default:
		unlink(path);
		mode_t type = t->type == TAR_CHAR   ? S_IFCHR
			      : t->type == TAR_FIFO ? S_IFIFO
						    : S_IFBLK;

		r = mknod(path, type | (mode_t)t->mode, makedev(t->major, t->minor)) < 0 ? -errno
											 : 0;
	}
	return r < 0 ? err_sys(e, r, "create '%s'", t->path) : 0;
}

static int unpack_data(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	struct unpack *u = arg;
	int r = write_full(u->fd, p, n);

	if (r < 0)
		return err_sys(e, r, "write");
	u->left -= n;
	return u->left ? 0 : finish_file(u, e);
}

static int unpack(const char *path, struct err *e)
{
	static uint8_t piece[65536];
	struct unpack u = { .fd = -1 };
	struct tar_parser t;
	int r = 0;

	if (chdir(path) < 0)
		return err_sys(e, -errno, "'%s'", path);
	tar_parser_init(&t);
	t.entry = unpack_entry;
	t.data = unpack_data;
	t.arg = &u;
	while (r == 0) {
		ssize_t n = read_full(0, piece, sizeof(piece));

		if (n < 0)
			r = err_sys(e, (int)n, "read");
		if (n <= 0)
			break;
		r = tar_parser_feed(&t, piece, (size_t)n, e);
	}
	if (r == 0)
		r = tar_parser_end(&t, e);
	tar_parser_fini(&t);
	return r;
}

/* ---- pack ---- */

static int pack_content(int fd, uint64_t size, const char *name, struct err *e)
{
	static char piece[65536];
	int r = 0;

	while (size && r == 0) {
		ssize_t n = read_full(fd, piece, (size_t)MIN(size, (uint64_t)sizeof(piece)));

		if (n < 0)
			return err_sys(e, (int)n, "read '%s'", name);
		if (n == 0) /* it shrank: the header stands, so zeroes */
			memset(piece, 0, (size_t)(n = (ssize_t)MIN(size, (uint64_t)sizeof(piece))));
		r = write_full(1, piece, (size_t)n);
		size -= (uint64_t)n;
	}
	return r < 0 ? err_sys(e, r, "write") : 0;
}

static int pack_one(int dir, const char *name, const char *as, int depth, struct err *e);

static int pack_directory(int fd_in, const char *as, int depth, struct err *e)
{
	cleanup_closedir DIR *d = fdopendir(fd_in);
	char path[TAR_NAME_MAX];
	int r = 0;

	if (!d) {
		close(fd_in);
		return err_sys(e, -ENOMEM, "'%s'", as);
	}
	for (struct dirent *de; r == 0 && (de = readdir(d));) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", as, de->d_name) >= sizeof(path))
			return err_sys(e, -ENAMETOOLONG, "'%s'", as);
		r = pack_one(dirfd(d), de->d_name, path, depth + 1, e);
	}
	return r;
}

static int pack_header(const struct tar_entry *t, struct err *e)
{
	struct buf b = BUF_INIT(64 << 10);
	int r = tar_add_header(&b, t);

	if (r == 0)
		r = write_full(1, b.data, b.len);
	buf_fini(&b);
	return r < 0 ? err_sys(e, r, "write") : 0;
}

static enum tar_type type_of(mode_t mode)
{
	return S_ISDIR(mode)	? TAR_DIRECTORY
	       : S_ISLNK(mode)	? TAR_SYMLINK
	       : S_ISCHR(mode)	? TAR_CHAR
	       : S_ISBLK(mode)	? TAR_BLOCK_DEVICE
	       : S_ISFIFO(mode) ? TAR_FIFO
				: TAR_FILE;
}

static int pack_one(int dir, const char *name, const char *as, int depth, struct err *e)
{
	static const char zeroes[TAR_BLOCK];
	char link[TAR_NAME_MAX] = "";
	struct stat st;
	int r;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, -errno, "'%s'", as);
	if (S_ISSOCK(st.st_mode))
		return 0;
	if (depth > 200)
		return err_set(e, -ELOOP, "'%s': too deep", as);
	struct tar_entry t = {
		.type = type_of(st.st_mode),
		.path = as,
		.link = link,
		.mode = st.st_mode & 07777,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.size = (uint64_t)st.st_size,
		.mtime = st.st_mtime,
		.major = major(st.st_rdev),
		.minor = minor(st.st_rdev),
	};

	if (t.type == TAR_SYMLINK) {
		ssize_t n = readlinkat(dir, name, link, sizeof(link) - 1);

		if (n < 0)
			return err_sys(e, -errno, "'%s'", as);
		link[n] = '\0';
	}
	int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
	cleanup_fd int fd = -1;

	if (t.type == TAR_FILE || t.type == TAR_DIRECTORY) {
		fd = openat(dir, name, flags);
		if (fd < 0)
			return err_sys(e, -errno, "'%s'", as);
	}
	r = pack_header(&t, e);
	if (r == 0 && t.type == TAR_DIRECTORY)
		return pack_directory(steal_fd(&fd), as, depth, e);
	if (r == 0 && t.type == TAR_FILE) {
		r = pack_content(fd, t.size, as, e);
		if (r == 0 && write_full(1, zeroes, tar_pad(t.size)) < 0)
			r = err_sys(e, -EPIPE, "write");
	}
	return r;
}

static int pack(const char *path, bool named, struct err *e)
{
	static const char end[2 * TAR_BLOCK];
	char copy[4097], real[4097];

	/* The last component may be a link that the caller means to follow with a slash. */
	snprintf(copy, sizeof(copy), "%s", path);
	size_t n = strlen(copy);
	bool follow = named || (n > 1 && copy[n - 1] == '/');

	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	char wished[4097];
	const char *slash = strrchr(copy, '/');

	/* What was named keeps its name, whatever it leads to. */
	snprintf(wished, sizeof(wished), "%s",
		 slash && slash[1] ? slash + 1
		 : copy[0] == '/'  ? "."
				   : copy);
	if (follow && realpath(copy, real))
		memcpy(copy, real, sizeof(copy));
	if (faccessat(AT_FDCWD, copy, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, -errno, "'%s'", path);
	slash = strrchr(copy, '/');
	const char *as = named		     ? wished
			 : slash && slash[1] ? slash + 1
			 : copy[0] == '/'    ? "."
					     : copy;
	int r = pack_one(AT_FDCWD, copy, as, 0, e);

	if (r == 0 && write_full(1, end, sizeof(end)) < 0)
		r = err_sys(e, -EPIPE, "write");
	return r;
}

/* ---- the child ---- */

static int enter(pid_t container, struct err *e)
{
	char root[64];

	if (!container)
		return chdir("/") < 0 ? err_sys(e, -errno, "chdir") : 0;
	snprintf(root, sizeof(root), "/proc/%d/root", (int)container);
	if (chdir(root) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_sys(e, -errno, "enter the container's root");
	return 0;
}

static void __attribute__((noreturn))
child(const int theirs[3], int failure, pid_t container, bool put, bool follow, const char *path)
{
	struct err e = ERR_INIT;
	int low[3];

	/* Nothing else of the agent's stays open: it would hold other streams' pipes. */
	for (int i = 0; i < 3; i++)
		low[i] = fcntl(i == 2 ? failure : theirs[i], F_DUPFD, 10);
	for (int i = 0; i < 2; i++)
		dup2(low[i], i);
	dup2(low[2], 3);
	syscall(SYS_close_range, 4u, ~0u, 0);
	umask(0);
	int r = enter(container, &e);

	if (r == 0)
		r = put ? unpack(path, &e) : pack(path, follow, &e);
	if (r < 0 && write_full(3, &e, sizeof(e)) < 0)
		_exit(2);
	_exit(r < 0);
}

int copy_start(struct stream *s, pid_t container, bool put, bool follow, const char *path,
	       struct err *e)
{
	int theirs[3] = { -1, -1, -1 }, failure[2];
	int r = stream_pipes(s, theirs);

	if (r < 0)
		return err_sys(e, r, "guest: pipe");
	if (pipe2(failure, O_CLOEXEC) < 0) {
		r = err_sys(e, -errno, "guest: pipe");
	} else {
		s->c.pid = fork();
		if (s->c.pid == 0)
			child(theirs, failure[1], container, put, follow, path);
		close(failure[1]);
		if (s->c.pid < 0) {
			r = err_sys(e, -errno, "guest: fork");
			s->c.pid = 0;
			close(failure[0]);
		} else {
			s->failure_fd = failure[0];
			s->c.pidfd = (int)syscall(SYS_pidfd_open, s->c.pid, 0);
		}
	}
	for (int i = 0; i < 3; i++)
		close_fd(&theirs[i]);
	return r;
}
