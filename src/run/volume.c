/*
 * Volumes. A volume is a directory of its own below DATA/volumes with `_data`, which is what instances see, `volume.json`
 * (when it was made, its labels, whether it is anonymous) and `uses/`, a symbolic link for each instance that has it: a
 * link whose target is gone does not count, so that nothing needs to be repaired after a kill.
 *
 * A volume that is empty when an instance gets it is filled with what the image has at that place, as docker does it, by
 * warren-store, which is root of the user namespace where an ordinary user's layers belong.
 *
 * Trust: the data directory is the user's own; the contents of a volume are an instance's and are only removed.
 * Threads: any. #syscalls: openat mkdir symlink unlink getdents64 renameat flock fchmod
 */
#include "run/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "image/manage.h"
#include "image/rootfs.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/tree.h"
#include "run/disk.h"
#include "run/record.h"
#include "wire/json.h"

#define META_MAX (1u << 20)

static void put_json(struct json_object **o)
{
	json_object_put(*o);
}

#define cleanup_json __attribute__((cleanup(put_json)))

/* DATA/volumes/NAME/REST; `name` and `rest` may be "". */
static int volume_path(const char *name, const char *rest, char out[PATH_MAX], struct err *e)
{
	char data[PATH_MAX];
	int r = paths_data(data, sizeof(data), e);

	if (r)
		return r;
	if (*name && !bundle_volume_name(name))
		return err_set(e, -EINVAL,
			       "volume '%s': a name is letters, digits, '_', '.' and '-'", name);
	r = snprintf(out, PATH_MAX, "%s/volumes%s%s%s%s", data, *name ? "/" : "", name,
		     *rest ? "/" : "", rest);
	return r >= PATH_MAX ? err_set(e, -ENAMETOOLONG, "volume '%s'", name) : 0;
}

/* DATA/volumes, locked: a volume is claimed, or found to be unused and removed, at once. Nobody else may enter: what an
 * instance's root left in a volume may be set-user-id. The descriptor, or -errno. */
static int lock_all(struct err *e)
{
	char path[PATH_MAX];
	int r = volume_path("", "", path, e);

	if (r)
		return r;
	r = tree_make(path);
	cleanup_fd int fd = r ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fchmod(fd, 0700) < 0)
		return err_sys(e, r ? r : -errno, "'%s'", path);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(e, -errno, "lock '%s'", path);
	return steal_fd(&fd);
}

void volume_fini(struct volume *v)
{
	free(v->name);
	free(v->created);
	free(v->mountpoint);
	strlist_fini(&v->labels);
	*v = (struct volume){ .name = NULL };
}

static int write_meta(const char *dir, const struct strlist *labels, bool anonymous)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(META_MAX);
	cleanup_free char *now = time_now_rfc3339();
	char path[PATH_MAX + 16];

	if (!now)
		return -ENOMEM;
	buf_adds(&b, "{\"created\":");
	json_put_string(&b, now);
	buf_addf(&b, ",\"anonymous\":%s,\"labels\":[", anonymous ? "true" : "false");
	for (size_t i = 0; labels && i < labels->n; i++) {
		if (i)
			buf_addc(&b, ',');
		json_put_string(&b, labels->v[i]);
	}
	buf_adds(&b, "]}\n");
	snprintf(path, sizeof(path), "%s/volume.json", dir);
	return b.error ? b.error : file_replace(AT_FDCWD, path, b.data, b.len, 0644, 0);
}

static int invent(char name[65])
{
	unsigned char raw[32];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -EIO;
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(name + 2 * i, 3, "%02x", raw[i]);
	return 0;
}

/* With the lock held. */
static int make(const char *name, const struct strlist *labels, bool anonymous, struct err *e)
{
	char dir[PATH_MAX], path[PATH_MAX + 16];
	struct stat st;
	int r = volume_path(name, "", dir, e);

	if (r)
		return r;
	/* What it is comes last: a volume without volume.json was being made, or is of an older version. */
	snprintf(path, sizeof(path), "%s/uses", dir);
	r = tree_make(path);
	snprintf(path, sizeof(path), "%s/_data", dir);
	if (!r && mkdir(path, 0755) < 0 && errno != EEXIST)
		r = -errno;
	snprintf(path, sizeof(path), "%s/volume.json", dir);
	if (!r && stat(path, &st) < 0)
		r = write_meta(dir, labels, anonymous);
	return r ? err_sys(e, r, "volume '%s'", name) : 0;
}

int volume_create(const char *name, const struct strlist *labels, bool anonymous, char **out,
		  struct err *e)
{
	char invented[65];
	int r = name ? 0 : invent(invented);

	if (r)
		return err_sys(e, r, "volume");
	cleanup_fd int lock = lock_all(e);

	name = name ? name : invented;
	r = lock < 0 ? lock : make(name, labels, anonymous, e);
	return !r && !(*out = strdup(name)) ? -ENOMEM : r;
}

bool volume_used(const char *name, char *user)
{
	char path[PATH_MAX];
	struct stat st;

	if (volume_path(name, "uses", path, NULL))
		return false;
	cleanup_closedir DIR *d = opendir(path);

	for (struct dirent *x; d && (x = readdir(d));) {
		if (x->d_name[0] == '.' || fstatat(dirfd(d), x->d_name, &st, 0) < 0)
			continue;
		if (user)
			snprintf(user, 65, "%.64s", x->d_name);
		return true;
	}
	return false;
}

static int read_meta(struct volume *v, const char *path)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(META_MAX);
	cleanup_json struct json_object *o = NULL;
	struct json_object *x;
	int r = file_read(AT_FDCWD, path, &b);

	if (!r)
		r = json_parse(buf_str(&b), b.len, META_MAX, path, &o, NULL);
	if (r)
		return r;
	if (json_object_object_get_ex(o, "created", &x))
		r = record_set(&v->created, json_object_get_string(x));
	if (json_object_object_get_ex(o, "anonymous", &x))
		v->anonymous = json_object_get_boolean(x);
	if (!json_object_object_get_ex(o, "labels", &x) || !json_object_is_type(x, json_type_array))
		return r;
	for (size_t i = 0; !r && i < json_object_array_length(x); i++)
		r = strlist_add(&v->labels,
				json_object_get_string(json_object_array_get_idx(x, i)));
	return r;
}

int volume_load(const char *name, struct volume *v, struct err *e)
{
	char path[PATH_MAX];
	struct stat st;
	int r = volume_path(name, "_data", path, e);

	*v = (struct volume){ .name = NULL };
	if (r)
		return r;
	if (lstat(path, &st) < 0)
		return err_set(e, -ENOENT, "volume '%s': there is none of this name", name);
	r = record_set(&v->name, name);
	r = r ? r : record_set(&v->mountpoint, path);
	if (!r)
		r = volume_path(name, "volume.json", path, e);
	/* Without it the volume is older than these notes: the directory says when. */
	if (!r && read_meta(v, path) && !v->created) {
		char text[40];
		struct tm tm;

		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&st.st_mtime, &tm));
		r = record_set(&v->created, text);
	}
	v->used = volume_used(name, NULL);
	if (r)
		volume_fini(v);
	return r;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int volume_list(struct strlist *names, struct err *e)
{
	char path[PATH_MAX];
	struct dirent **found;
	int r = volume_path("", "", path, e);

	if (r)
		return r;
	int n = scandir(path, &found, NULL, by_name);

	if (n < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "'%s'", path);
	for (int i = 0; i < n; i++) {
		if (!r && bundle_volume_name(found[i]->d_name))
			r = strlist_add(names, found[i]->d_name);
		free(found[i]);
	}
	free(found);
	return r;
}

int volume_remove(const char *name, struct err *e)
{
	char path[PATH_MAX], user[65];
	struct stat st;
	int r = volume_path(name, "", path, e);

	if (r)
		return r;
	cleanup_fd int lock = lock_all(e);

	if (lock < 0)
		return lock;
	if (lstat(path, &st) < 0)
		return err_set(e, -ENOENT, "volume '%s': there is none of this name", name);
	if (volume_used(name, user))
		return err_set(e, -EBUSY, "volume '%s' is in use by instance %.12s", name, user);
	return disk_remove(path, e);
}

/* Nothing in it; one that we may not look into has been used. */
static bool is_empty(const char *path)
{
	cleanup_closedir DIR *d = opendir(path);

	for (struct dirent *x; d && (x = readdir(d));)
		if (!streq(x->d_name, ".") && !streq(x->d_name, ".."))
			return false;
	return d;
}

static int fill(const struct bundle_volume *v, const struct image *img, struct err *e)
{
	char path[PATH_MAX], real[PATH_MAX], image[128], from[PATH_MAX + 8], name[160];
	struct stat st;
	int r = volume_path(v->name, "_data", path, e);

	if (r || v->no_copy || !img || !is_empty(path) ||
	    image_rootfs_stat(&img->layers, v->destination + strspn(v->destination, "/"), &st, real,
			      sizeof(real)) ||
	    !S_ISDIR(st.st_mode))
		return r;
	snprintf(image, sizeof(image), "image=%s", img->id);
	snprintf(from, sizeof(from), "path=%s", real);
	snprintf(name, sizeof(name), "volume=%s", v->name);
	r = image_manage((const char *[]){ "fill", image, from, name, NULL }, NULL, NULL, e);
	return r ? err_wrap(e, "volume '%s'", v->name) : 0;
}

/* Makes it when it is not there, and marks it as used. */
static int claim(const struct bundle_volume *v, const char *id, const char *dir, struct err *e)
{
	char rest[96], path[PATH_MAX];
	cleanup_fd int lock = lock_all(e);
	int r = lock < 0 ? lock : make(v->name, NULL, v->anonymous, e);

	snprintf(rest, sizeof(rest), "uses/%.64s", id);
	if (!r)
		r = volume_path(v->name, rest, path, e);
	if (!r && symlink(dir, path) < 0 && errno != EEXIST)
		r = err_sys(e, -errno, "volume '%s'", v->name);
	return r;
}

int volumes_claim(const struct bundle_volume *v, size_t n, const char *id, const char *dir,
		  const struct image *img, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		r = claim(&v[i], id, dir, e);
		if (!r)
			r = fill(&v[i], img, e);
	}
	return r;
}

char *volume_line(const struct bundle_volume *v)
{
	char *line;

	return asprintf(&line, "%c %s %s", v->anonymous ? 'a' : 'n', v->name, v->destination) < 0
		       ? NULL
		       : line;
}

void volumes_release(const struct strlist *lines, const char *id, bool remove)
{
	char rest[96], path[PATH_MAX], name[160];

	snprintf(rest, sizeof(rest), "uses/%.64s", id);
	for (size_t i = 0; i < lines->n; i++) {
		const char *line = lines->v[i];
		struct err ignored = ERR_INIT;

		if (sscanf(line, "%*c %159s", name) != 1 || volume_path(name, rest, path, &ignored))
			continue;
		unlink(path);
		if (remove && *line == 'a')
			volume_remove(name, &ignored);
	}
}
