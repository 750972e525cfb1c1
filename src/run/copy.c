/*
 * cp: between the host and an instance.
 *
 * The instance's end is reached through a descriptor of its root and openat2 with RESOLVE_IN_ROOT; below
 * that, everything is done one name at a time with O_NOFOLLOW on descriptors that are held, so a link that
 * the instance puts in the way, even while we work, leads nowhere else. For an ordinary user all of it is
 * done as root of the instance's user namespace (run/inner.c).
 *
 * Trust: the instance's files, names and modes are hostile: set-id bits are dropped unless -a asks for them.
 * Threads: one. #syscalls: openat openat2 copy_file_range read write mkdirat mknodat symlinkat readlinkat
 * unlinkat fchown fchmod utimensat fstat getdents64
 */
#include "run/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "os/file.h"
#include "run/copy_int.h"
#include "run/inner.h"
#include "run/inside.h"

enum { DEPTH_MAX = 256, PIECE = 65536 };

int copy_open(const struct copy_end *end, const char *path, int flags)
{
	if (end->root >= 0)
		return inside_open(end->root, path, flags, 0);
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int copy_open_parent(const struct copy_end *end, const char *path, char *name, size_t size)
{
	char dir[PATH_MAX];
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	if (n >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, n);
	dir[n] = '\0';
	char *slash = strrchr(dir, '/');
	const char *last = slash ? slash + 1 : dir;

	if (!*last || streq(last, "..") || strlen(last) >= size)
		last = ".";
	snprintf(name, size, "%s", last);
	if (streq(name, "."))
		return copy_open(end, dir, O_RDONLY | O_DIRECTORY);
	if (slash)
		slash[slash == dir] = '\0';
	return copy_open(end, slash ? dir : end->root >= 0 ? "/" : ".", O_RDONLY | O_DIRECTORY);
}

int copy_create_file(int dirfd, const char *name)
{
	const int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	struct stat st;

	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT && errno != EBUSY)
		return -errno;
	int fd = openat(dirfd, name, flags | O_CREAT | O_EXCL, 0600);

	if (fd >= 0 || errno != EEXIST)
		return fd < 0 ? -errno : fd;
	fd = openat(dirfd, name, flags);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || ftruncate(fd, 0) < 0) {
		close(fd);
		return -EBUSY;
	}
	return fd;
}

int copy_set_attributes(const struct copy *c, int fd, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	mode_t mode = st->st_mode & 07777;

	if (c->archive && fchown(fd, st->st_uid, st->st_gid) < 0)
		return -errno;
	if (!c->archive)
		mode &= 01777;
	if (fchmod(fd, mode) < 0 || futimens(fd, times) < 0)
		return -errno;
	return 0;
}

static int copy_bytes(int from, int to)
{
	static char piece[PIECE];

	for (;;) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);

		if (n == 0)
			return 0;
		if (n < 0)
			break;
	}
	/* Not on these file systems; what was copied stays where the offsets say. */
	for (;;) {
		ssize_t n = read(from, piece, sizeof(piece));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		int r = write_full(to, piece, (size_t)n);

		if (r)
			return r;
	}
}

static int copy_file(struct copy_job *j, int from_dir, const char *from, int to_dir, const char *to)
{
	struct stat st;
	cleanup_fd int in = openat(from_dir, from,
				   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (in < 0 || fstat(in, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	cleanup_fd int out = copy_create_file(to_dir, to);

	if (out < 0)
		return out;
	int r = copy_bytes(in, out);

	return r ? r : copy_set_attributes(j->c, out, &st);
}

static int copy_link(struct copy_job *j, int from_dir, const char *from, int to_dir, const char *to,
		     const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from_dir, from, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (unlinkat(to_dir, to, 0) < 0 && errno != ENOENT)
		return -errno;
	if (symlinkat(target, to_dir, to) < 0)
		return -errno;
	if (j->c->archive && fchownat(to_dir, to, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int copy_special(struct copy_job *j, int to_dir, const char *to, const struct stat *st)
{
	/* A device of an instance is no device of the host. */
	if (!S_ISFIFO(st->st_mode) && !j->c->archive)
		return 0;
	if (unlinkat(to_dir, to, 0) < 0 && errno != ENOENT)
		return -errno;
	return mknodat(to_dir, to, (st->st_mode & S_IFMT) | (st->st_mode & 0777), st->st_rdev) < 0
		       ? -errno
		       : 0;
}

static int copy_contents(struct copy_job *j, int from, int to, struct err *e);

static int copy_dir(struct copy_job *j, int from_dir, const char *from, int to_dir, const char *to,
		    struct err *e)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct stat st;

	if (j->depth >= DEPTH_MAX)
		return -ELOOP;
	cleanup_fd int in = openat(from_dir, from, flags);

	if (in < 0 || fstat(in, &st) < 0)
		return -errno;
	bool made = mkdirat(to_dir, to, 0700) == 0;

	if (!made && errno != EEXIST)
		return -errno;
	cleanup_fd int out = openat(to_dir, to, flags);

	if (out < 0)
		return -errno;
	j->depth++;
	int r = copy_contents(j, in, out, e);

	j->depth--;
	return r || !made ? r : copy_set_attributes(j->c, out, &st);
}

static int copy_entry(struct copy_job *j, int from_dir, const char *from, int to_dir,
		      const char *to, struct err *e)
{
	struct stat st;
	int r;

	if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	else if (S_ISDIR(st.st_mode))
		r = copy_dir(j, from_dir, from, to_dir, to, e);
	else if (S_ISREG(st.st_mode))
		r = copy_file(j, from_dir, from, to_dir, to);
	else if (S_ISLNK(st.st_mode))
		r = copy_link(j, from_dir, from, to_dir, to, &st);
	else if (S_ISSOCK(st.st_mode))
		r = 0;
	else
		r = copy_special(j, to_dir, to, &st);
	return r && !(e && e->code) ? err_sys(e, r, "copy '%s'", from) : r;
}

static int copy_contents(struct copy_job *j, int from, int to, struct err *e)
{
	int copy = fcntl(from, F_DUPFD_CLOEXEC, 3), r = 0;
	cleanup_closedir DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *ent;

	if (!d) {
		close_fd(&copy);
		return -errno;
	}
	while (!r && (ent = readdir(d)))
		if (!streq(ent->d_name, ".") && !streq(ent->d_name, ".."))
			r = copy_entry(j, from, ent->d_name, to, ent->d_name, e);
	return r;
}

/* "dir/." means what is in it. */
static bool only_contents(const char *path)
{
	return streq(path, ".") || str_ends(path, "/.");
}

/* Where it goes: an existing directory takes it in, otherwise the name is new. */
static int open_target(struct copy_job *j, bool from_is_dir, const char *from_name, char *name,
		       size_t size, struct err *e)
{
	const char *to = j->to.path;
	int fd = copy_open(&j->to, to, O_RDONLY | O_DIRECTORY);

	if (fd >= 0) {
		snprintf(name, size, "%s", only_contents(j->from.path) ? "." : from_name);
		return fd;
	}
	if (fd == -ENOTDIR && (from_is_dir || str_ends(to, "/")))
		return err_set(e, -ENOTDIR, "'%s' is not a directory", to);
	if (fd == -ENOENT && !from_is_dir && str_ends(to, "/"))
		return err_set(e, -ENOENT, "directory '%s' does not exist", to);
	if (fd != -ENOENT && fd != -ENOTDIR)
		return err_sys(e, fd, "'%s'", to);
	fd = copy_open_parent(&j->to, to, name, size);
	return fd < 0 ? err_sys(e, fd, "directory of '%s'", to) : fd;
}

/* The file that a named link leads to, as a directory and a name in it. */
static int follow_source(struct copy_job *j, char *name, size_t size, struct stat *st,
			 struct err *e)
{
	static char path[PATH_MAX];
	size_t dir;

	snprintf(path, sizeof(path), "%s", j->from.path);
	for (int hops = 0; hops < 40; hops++) {
		char target[PATH_MAX];
		int parent = copy_open_parent(&j->from, path, name, size);

		if (parent < 0)
			return err_sys(e, parent, "'%s'", path);
		ssize_t n = fstatat(parent, name, st, AT_SYMLINK_NOFOLLOW) < 0 ? -1 : 0;

		if (n == 0 && !S_ISLNK(st->st_mode))
			return parent;
		n = n ? n : readlinkat(parent, name, target, sizeof(target) - 1);
		close(parent);
		if (n < 0)
			return err_sys(e, -errno, "'%s'", path);
		target[n] = '\0';
		const char *slash = strrchr(path, '/');

		dir = target[0] == '/' || !slash ? 0 : (size_t)(slash - path) + 1;
		if ((size_t)snprintf(path + dir, sizeof(path) - dir, "%s", target) >=
		    sizeof(path) - dir)
			return err_sys(e, -ENAMETOOLONG, "'%s'", j->from.path);
	}
	return err_sys(e, -ELOOP, "'%s'", j->from.path);
}

/* `named` is what the user called it, `name` what it is in the returned directory. A link that was named is
 * copied as a link, unless -L or a slash at its end says otherwise. */
static int open_source(struct copy_job *j, char *named, size_t size, char *name, struct stat *st,
		       struct err *e)
{
	const char *path = j->from.path;
	int parent = copy_open_parent(&j->from, path, named, size);

	if (parent < 0)
		return err_sys(e, parent, "'%s'", path);
	snprintf(name, size, "%s", named);
	if (fstatat(parent, named, st, AT_SYMLINK_NOFOLLOW) < 0) {
		int r = -errno;

		close(parent);
		return err_sys(e, r, "'%s'", path);
	}
	if (!S_ISLNK(st->st_mode) || !(j->c->follow || str_ends(path, "/")))
		return parent;
	close(parent);
	return follow_source(j, name, size, st, e);
}

static int copy_named(struct copy_job *j, struct err *e)
{
	char named[NAME_MAX + 1], from[NAME_MAX + 1], to[NAME_MAX + 1];
	struct stat st;
	cleanup_fd int source = open_source(j, named, sizeof(named), from, &st, e);

	if (source < 0)
		return source;
	cleanup_fd int target = open_target(j, S_ISDIR(st.st_mode), named, to, sizeof(to), e);

	if (target < 0)
		return target;
	if (S_ISDIR(st.st_mode) && streq(to, ".")) {
		cleanup_fd int in = openat(source, from,
					   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		return in < 0 ? err_sys(e, -errno, "'%s'", j->from.path)
			      : copy_contents(j, in, target, e);
	}
	return copy_entry(j, source, from, target, streq(to, ".") ? named : to, e);
}

static int work(void *arg, struct err *e)
{
	const struct copy *c = arg;
	cleanup_fd int root = inside_root(c->s, e);

	if (root < 0)
		return root;
	struct copy_end host = { -1, c->host }, inside = { root, c->inside };
	struct copy_job j = { .c = c,
			      .from = c->into ? host : inside,
			      .to = c->into ? inside : host };

	umask(0);
	if (!streq(c->host, "-"))
		return copy_named(&j, e);
	return c->into ? copy_tar_in(&j, STDIN_FILENO, e) : copy_tar_out(&j, STDOUT_FILENO, e);
}

int copy_run(const struct copy *c, struct err *e)
{
	const struct wall_ops *wall = c->s->wall;

	if (wall && wall->copy && !subject_alive(c->s))
		return err_set(e, -ESRCH, "cp: the files of a guest can be reached while it runs");
	if (wall && wall->copy)
		return wall->copy(&c->s->in, c->into, c->host, c->inside, c->archive, c->follow, e);
	pid_t pid = subject_alive(c->s) ? c->s->in.pid : 0;

	return inner_root(pid, work, (void *)(uintptr_t)c, e);
}
