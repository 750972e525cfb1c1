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
	const struct bundle_overlay *layers;
	int *lower;	      /* descriptors of the layers, topmost first */
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

	for (size_t i = 0; i < w->layers->lower_n; i++) {
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

static int walk_layers(struct walk *w)
{
	size_t n = w->layers->lower_n;
	cleanup_fd int upper = open(w->layers->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = upper < 0 ? -errno : 0;

	w->lower = calloc(n + 1, sizeof(int));
	if (!w->lower)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		w->lower[i] = open(w->layers->lower[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!r)
		r = walk_dir(w, upper);
	for (size_t i = 0; i < n; i++)
		close_fd(&w->lower[i]);
	free(w->lower);
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

static int tell(const struct strlist *found, change_fn *fn, void *arg)
{
	int r = 0;

	for (size_t i = 0; !r && i < found->n; i++) {
		char letter = found->v[i][0];

		if (letter == 'M' || (letter == 'C' && only_mount_points(found, i)))
			continue;
		r = fn(arg,
		       letter == 'C'   ? CHANGE_MODIFIED
		       : letter == 'A' ? CHANGE_ADDED
				       : CHANGE_DELETED,
		       found->v[i] + 1);
	}
	return r;
}

int changes_list(struct subject *s, change_fn *fn, void *arg, struct err *e)
{
	struct bundle_overlay layers = { 0 };
	struct oci_spec *spec = NULL;
	int r = s->wall && s->wall->guest
			? err_set(e, -EOPNOTSUPP,
				  "'%s': what a guest wrote is on a disk of its own", s->rec.name)
			: instance_load_config(&s->in, &spec, e);

	int layered = r ? r : bundle_overlay_parse(spec, &layers, e);

	r = layered < 0 ? layered : 0;
	if (!layered)
		r = err_set(e, -EOPNOTSUPP,
			    "'%s' runs from a directory: there is no image to compare with",
			    s->rec.name);
	if (layered > 0) {
		static struct walk w;

		w = (struct walk){ .spec = spec, .layers = &layers };
		r = layers.upper ? walk_layers(&w) : 0;
		if (!r)
			r = tell(&w.found, fn, arg);
		strlist_fini(&w.found);
		if (r < 0)
			err_sys(e, r, "diff '%s'", s->rec.name);
	}
	bundle_overlay_fini(&layers);
	oci_spec_free(spec);
	return r;
}
