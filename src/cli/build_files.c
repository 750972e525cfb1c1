/*
 * COPY's files: hashed for the cache, copied with what an image's layer keeps of them (kind, mode, times, links among
 * themselves, user and capability attributes), without those that .dockerignore names.
 *
 * Patterns are those of docker: a path from the context's top, `*`, `?` and `[...]` within a name, `**` for any number of
 * directories, `!` for exceptions; the last pattern that fits decides, and one that fits a directory fits what is in it.
 *
 * Trust: the tree is the user's, or came out of an image: nothing is opened through a link. Threads: none.
 * #syscalls: openat read write mkdirat symlinkat linkat fchown fchmod utimensat getdents64 newfstatat fsetxattr
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/build_int.h"
#include "os/file.h"

enum { DEPTH_MAX = 128, LINKS_MAX = 4096, ATTRIBUTES_MAX = 65536 };

/* Whether the pattern's parts fit those of the path's beginning; `*rest` is what they do not cover. */
static bool fits(const char *pattern, const char *path)
{
	for (;;) {
		size_t n = strcspn(pattern, "/"), k = strcspn(path, "/");
		char one[NAME_MAX + 1], name[NAME_MAX + 1];

		if (n == 2 && pattern[0] == '*' && pattern[1] == '*') {
			const char *next = pattern[n] ? pattern + n + 1 : NULL;

			/* All that is below, or the rest at any depth. */
			for (const char *p = path; next && p;
			     p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
				if (fits(next, p))
					return true;
			return !next && *path;
		}
		if (n > NAME_MAX || k > NAME_MAX)
			return false;
		snprintf(one, sizeof(one), "%.*s", (int)n, pattern);
		snprintf(name, sizeof(name), "%.*s", (int)k, path);
		if (fnmatch(one, name, 0) != 0)
			return false;
		pattern += n + (pattern[n] == '/');
		path += k + (path[k] == '/');
		/* A pattern for a directory is one for all that is in it. */
		if (!*pattern)
			return true;
		if (!*path)
			return false;
	}
}

bool build_ignored(const struct build *b, const char *rel)
{
	bool ignored = false;

	for (size_t i = 0; i < b->ignored.n; i++) {
		const char *p = b->ignored.v[i];

		if (fits(*p == '!' ? p + 1 : p, rel))
			ignored = *p != '!';
	}
	return ignored;
}

int build_ignore_parse(const char *text, struct strlist *out)
{
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n"), end = n;
		char line[PATH_MAX], *to = line;
		const char *s = p + strspn(p, " \t");

		while (end && strchr(" \t\r/", p[end - 1]))
			end--;
		bool except = *s == '!';

		if (except)
			s += 1 + strspn(s + 1, " \t");
		while (s < p + end && (*s == '/' || (s[0] == '.' && s[1] == '/')))
			s += *s == '/' ? 1 : 2;
		if (s < p + end && *s != '#' && (size_t)(p + end - s) < sizeof(line) - 2) {
			if (except)
				*to++ = '!';
			snprintf(to, sizeof(line) - 1, "%.*s", (int)(p + end - s), s);
			if (strlist_add(out, line))
				return -ENOMEM;
		}
		p += n + (p[n] == '\n');
	}
	return 0;
}

/* Files with several names that were copied, by their first. */
struct links {
	struct {
		dev_t dev;
		ino_t ino;
		char *path; /* below `to` */
	} v[LINKS_MAX];
	size_t n;
};

struct walk {
	const struct build_files *f;
	struct links *links;
	int top; /* where link paths begin */
	struct err *e;
};

static void hash(const struct walk *w, const void *p, size_t n)
{
	if (w->f->h)
		sha256_add(w->f->h, p, n);
}

static int copy_attributes(int from, int to)
{
	char names[ATTRIBUTES_MAX], value[ATTRIBUTES_MAX];
	ssize_t n = flistxattr(from, names, sizeof(names));

	for (const char *p = names; p < names + (n > 0 ? n : 0); p += strlen(p) + 1) {
		if (!str_after(p, "user.") && !streq(p, "security.capability"))
			continue;
		ssize_t len = fgetxattr(from, p, value, sizeof(value));

		/* Where the file system has none, the file is worth more than its attributes. */
		if (len >= 0 && fsetxattr(to, p, value, (size_t)len, 0) < 0 && errno != ENOTSUP &&
		    errno != EPERM)
			return -errno;
	}
	return 0;
}

/* Owner, mode and time; `fd` -1: a link, by its name. Files of the context belong to root. */
static int dress(const struct walk *w, int fd, int dir, const char *name, const struct stat *st)
{
	const struct build_copy *c = w->f->c;
	bool keep = c->from && !c->has_owner;
	const struct timespec times[2] = { st->st_mtim, st->st_mtim };

	if ((keep || c->has_owner || geteuid() == 0) && fchownat(dir, name,
								 keep		? st->st_uid
								 : c->has_owner ? c->uid
										: 0,
								 keep		? st->st_gid
								 : c->has_owner ? c->gid
										: 0,
								 AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* After the owner, which takes set-user-id bits away. */
	if (fd >= 0 && fchmod(fd, c->has_mode ? c->mode : st->st_mode & 07777) < 0)
		return -errno;
	return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_file(const struct walk *w, int from, const char *name, int to, const char *to_name,
		     const struct stat *st)
{
	cleanup_fd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	cleanup_fd int out = -1;
	static char piece[256 << 10];
	ssize_t n;

	if (in < 0)
		return -errno;
	if (to != -1) {
		unlinkat(to, to_name, 0);
		out = openat(to, to_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (out < 0)
			return -errno;
	}
	while ((n = read_full(in, piece, sizeof(piece))) > 0) {
		int r = out >= 0 ? write_full(out, piece, (size_t)n) : 0;

		if (r)
			return r;
		hash(w, piece, (size_t)n);
	}
	if (n < 0 || out < 0)
		return (int)n;
	int r = copy_attributes(in, out);

	return r ? r : dress(w, out, to, to_name, st);
}

static int copy_link(const struct walk *w, int from, const char *name, int to, const char *to_name,
		     const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	hash(w, target, (size_t)n + 1);
	if (to == -1)
		return 0;
	unlinkat(to, to_name, 0);
	return symlinkat(target, to, to_name) < 0 ? -errno : dress(w, -1, to, to_name, st);
}

/* True: it was copied under another name before and is linked to that now. */
static bool is_linked(const struct walk *w, const struct stat *st, int to, const char *to_name,
		      const char *rel)
{
	struct links *l = w->links;

	if (to == -1 || st->st_nlink < 2)
		return false;
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].dev == st->st_dev && l->v[i].ino == st->st_ino)
			return linkat(w->top, l->v[i].path, to, to_name, 0) == 0;
	if (l->n < LINKS_MAX && (l->v[l->n].path = strdup(rel))) {
		l->v[l->n].dev = st->st_dev;
		l->v[l->n++].ino = st->st_ino;
	}
	return false;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int copy_any(const struct walk *w, int from, const char *name, int to, const char *to_name,
		    const char *rel, const char *to_rel, int depth);

static int copy_dir(const struct walk *w, int from, const char *name, int to, const char *to_name,
		    const char *rel, const char *to_rel, const struct stat *st, int depth)
{
	cleanup_fd int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int out = -1;
	struct dirent **names = NULL;
	bool made = false;
	int r = 0, some = 0;

	if (in < 0)
		return -errno;
	if (to != -1) {
		made = mkdirat(to, to_name, 0700) == 0;
		if (!made && errno != EEXIST)
			return -errno;
		out = openat(to, to_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (out < 0)
			return -errno;
	}
	int n = scandirat(in, ".", &names, NULL, by_name);

	for (int i = 0; i < n; i++) {
		const char *x = names[i]->d_name;
		char below[PATH_MAX], to_below[PATH_MAX];

		if (r >= 0 && !streq(x, ".") && !streq(x, "..")) {
			if (snprintf(below, sizeof(below), "%s%s%s", rel, *rel ? "/" : "", x) >=
				    PATH_MAX ||
			    snprintf(to_below, sizeof(to_below), "%s%s%s", to_rel,
				     *to_rel ? "/" : "", x) >= PATH_MAX)
				r = -ENAMETOOLONG;
			else
				r = copy_any(w, in, x, out, x, below, to_below, depth + 1);
			some |= r > 0;
		}
		free(names[i]);
	}
	free(names);
	if (n < 0)
		return -errno;
	if (r < 0)
		return r;
	/* An ignored directory is there only for the exceptions in it. */
	if (!some && w->f->by_context && *rel && build_ignored(w->f->b, rel)) {
		if (made)
			unlinkat(to, to_name, AT_REMOVEDIR);
		return 0;
	}
	if (out >= 0 && made)
		r = dress(w, out, to, to_name, st);
	return r < 0 ? r : 1;
}

static bool has_exceptions(const struct build *b)
{
	for (size_t i = 0; i < b->ignored.n; i++)
		if (b->ignored.v[i][0] == '!')
			return true;
	return false;
}

static int copy_any(const struct walk *w, int from, const char *name, int to, const char *to_name,
		    const char *rel, const char *to_rel, int depth)
{
	char head[PATH_MAX + 64];
	struct stat st;
	int r;

	if (depth > DEPTH_MAX)
		return err_set(w->e, -ELOOP, "'%s': too deep", rel);
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(w->e, -errno, "'%s'", rel);
	bool ignored = w->f->by_context && *rel && build_ignored(w->f->b, rel);

	if (ignored && !(S_ISDIR(st.st_mode) && has_exceptions(w->f->b)))
		return 0;
	if (!ignored) {
		snprintf(head, sizeof(head), "%s\n%o\n", depth ? name : "", st.st_mode);
		hash(w, head, strlen(head) + 1);
	}
	if (S_ISDIR(st.st_mode)) {
		r = copy_dir(w, from, name, to, to_name, rel, to_rel, &st, depth);
		return r < 0 && !(w->e && w->e->code) ? err_sys(w->e, r, "'%s'", rel) : r;
	}
	if (is_linked(w, &st, to, to_name, to_rel))
		return 1;
	r = S_ISREG(st.st_mode)	  ? copy_file(w, from, name, to, to_name, &st)
	    : S_ISLNK(st.st_mode) ? copy_link(w, from, name, to, to_name, &st)
				  : 0; /* sockets and devices are no files to hand on */
	return r < 0 ? err_sys(w->e, r, "'%s'", rel) : 1;
}

int build_files_copy(const struct build_files *f, int from, const char *name, int to,
		     const char *to_name, const char *rel, struct err *e)
{
	cleanup_free struct links *links = calloc(1, sizeof(*links));
	const struct walk w = { f, links, to, e };

	if (!links)
		return -ENOMEM;
	int r = copy_any(&w, from, name, to, to_name, rel, to_name, 0);

	for (size_t i = 0; i < links->n; i++)
		free(links->v[i].path);
	return r;
}
