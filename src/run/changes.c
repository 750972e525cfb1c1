/*
 * diff: the overlay's upper directory, read against the layers below it.
 *
 * A character device 0/0 in the upper directory is a deleted name; anything else is modified when a layer
 * below shows the same name and added when none does. The layers are asked by names that are resolved below
 * each layer's own directory.
 *
 * Trust: the upper directory was written by the instance. Every step is an openat with O_NOFOLLOW; layers
 * are only asked with RESOLVE_BENEATH. Threads: any. #syscalls: openat openat2 getdents64 newfstatat close
 */
#include "run/changes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "bundle/bundle.h"
#include "run/inside.h"

enum { DEPTH_MAX = 256 };

struct walk {
	const struct oci_spec *spec;
	const int *lower; /* descriptors of the layers, topmost first */
	size_t lower_n;
	struct strlist found; /* a letter and a path: C, A, D, or M for a mount point */
	char path[PATH_MAX];
	int depth;
};

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

/* Whether the image shows this path. */
static bool is_in_image(struct walk *w)
{
	struct stat st;

	for (size_t i = 0; i < w->lower_n; i++) {
		cleanup_fd int fd = inside_open(w->lower[i], w->path, O_PATH | O_NOFOLLOW, 0);

		if (fd >= 0 && fstat(fd, &st) == 0)
			return !is_whiteout(&st);
	}
	return false;
}

/* Files and directories that were made only to be mounted upon are none of the instance's changes. */
static bool is_mount_point(const struct walk *w)
{
	for (size_t i = 0; i < w->spec->mounts_n; i++)
		if (strcmp(w->spec->mounts[i].destination, w->path) == 0)
			return true;
	return false;
}

static int note(struct walk *w, char letter)
{
	char line[PATH_MAX + 1];

	if ((size_t)snprintf(line, sizeof(line), "%c%s", letter, w->path) >= sizeof(line))
		return -ENAMETOOLONG;
	return strlist_add(&w->found, line);
}

static int walk_dir(struct walk *w, int fd);

static int one(struct walk *w, int dirfd, const char *name)
{
	size_t len = strlen(w->path);
	struct stat st;
	int r;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (len + strlen(name) + 2 > sizeof(w->path))
		return -ENAMETOOLONG;
	snprintf(w->path + len, sizeof(w->path) - len, "/%s", name);
	if (is_whiteout(&st))
		r = note(w, 'D');
	else if (is_in_image(w))
		r = note(w, 'C');
	else
		r = note(w, is_mount_point(w) ? 'M' : 'A');
	if (!r && S_ISDIR(st.st_mode) && w->depth < DEPTH_MAX) {
		cleanup_fd int fd = openat(dirfd, name,
					   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		w->depth++;
		r = fd < 0 ? -errno : walk_dir(w, fd);
		w->depth--;
	}
	w->path[len] = '\0';
	return r;
}

static int no_dots(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int walk_dir(struct walk *w, int fd)
{
	struct dirent **names;
	int n = scandirat(fd, ".", &names, no_dots, by_bytes), r = 0;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (!r)
			r = one(w, fd, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return r;
}

static bool is_below(const char *path, const char *dir)
{
	const char *rest = str_after(path, dir);

	return rest && *rest == '/';
}

/* Whether the directory at `i` was touched only because mount points were made in it. */
static bool only_mount_points(const struct strlist *found, size_t i)
{
	size_t n = i + 1;

	while (n < found->n && is_below(found->v[n] + 1, found->v[i] + 1) && found->v[n][0] == 'M')
		n++;
	return n > i + 1 && (n == found->n || !is_below(found->v[n] + 1, found->v[i] + 1));
}

int changes_walk(const struct oci_spec *spec, int upper, const int *lower, size_t lower_n,
		 struct buf *lines)
{
	static struct walk w; /* a path each */
	int r;

	w = (struct walk){ .spec = spec, .lower = lower, .lower_n = lower_n };
	r = walk_dir(&w, upper);
	for (size_t i = 0; r == 0 && i < w.found.n; i++) {
		char letter = w.found.v[i][0];

		if (letter != 'M' && (letter != 'C' || !only_mount_points(&w.found, i)))
			r = buf_add(lines, w.found.v[i], strlen(w.found.v[i]) + 1);
	}
	strlist_fini(&w.found);
	return r;
}

/* Of an instance whose layers are here. */
static int read_layers(const struct oci_spec *spec, const struct bundle_overlay *layers,
		       struct buf *lines)
{
	size_t n = layers->lower_n;
	cleanup_fd int upper = open(layers->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_free int *lower = calloc(n + 1, sizeof(int));
	int r = upper < 0 ? -errno : 0;

	if (!lower)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		lower[i] = open(layers->lower[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!r)
		r = changes_walk(spec, upper, lower, n, lines);
	for (size_t i = 0; i < n; i++)
		close_fd(&lower[i]);
	return r;
}

static int local_changes(struct subject *s, struct buf *lines, struct err *e)
{
	struct bundle_overlay layers = { 0 };
	struct oci_spec *spec = NULL;
	int r = instance_load_config(&s->in, &spec, e);
	int layered = r ? r : bundle_overlay_parse(spec, &layers, e);

	r = layered < 0 ? layered : 0;
	if (!layered)
		r = err_set(e, -EOPNOTSUPP,
			    "'%s' runs from a directory: there is no image to compare with",
			    s->rec.name);
	if (layered > 0 && layers.upper) {
		r = read_layers(spec, &layers, lines);
		if (r < 0)
			err_sys(e, r, "diff '%s'", s->rec.name);
	}
	bundle_overlay_fini(&layers);
	oci_spec_free(spec);
	return r;
}

/* What a guest wrote is on a disk of its own, which the host does not mount: its agent is asked. */
static int guest_lines(struct subject *s, struct buf *lines, struct err *e)
{
	if (!subject_alive(s))
		return err_set(e, -ESRCH,
			       "diff '%s': what a guest wrote can be looked at while it runs",
			       s->rec.name);
	if (s->rec.rootfs)
		return err_set(e, -EOPNOTSUPP,
			       "'%s' runs from a directory: there is no image to compare with",
			       s->rec.name);
	int r = s->wall->changes(&s->in, lines, e);

	return r < 0 ? err_wrap(e, "diff '%s'", s->rec.name) : 0;
}

int changes_list(struct subject *s, change_fn *fn, void *arg, struct err *e)
{
	cleanup_with(buf_fini) struct buf lines = BUF_INIT(64u << 20);
	bool guest = s->wall && s->wall->changes;
	int r = guest ? guest_lines(s, &lines, e) : local_changes(s, &lines, e);

	/* The last byte is one of ours: a guest's list may lack its end. */
	if (!r && lines.len && lines.data[lines.len - 1])
		r = err_set(e, -EPROTO, "diff '%s': the guest's agent gave half a list",
			    s->rec.name);
	for (size_t at = 0; !r && at < lines.len; at += strlen(lines.data + at) + 1) {
		const char *line = lines.data + at;

		r = fn(arg,
		       line[0] == 'C'	? CHANGE_MODIFIED
		       : line[0] == 'A' ? CHANGE_ADDED
					: CHANGE_DELETED,
		       line[0] ? line + 1 : line);
	}
	return r;
}
