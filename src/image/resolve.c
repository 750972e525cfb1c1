/*
 * From a name to what `run` needs, in one file read. The store keeps a record for each name and each id: layer
 * numbers and the image's configuration, written after the database's commit and removed before it, so that a
 * record that is there is true. When it is missing although the store was interrupted (its `dirty` mark is
 * there), the store is asked to repair itself, once.
 *
 * An instance claims its image by a link in uses/ (made whole in one step) and looks again whether the record is still there; the
 * store removes the record first and looks for claims then. One of the two sees the other.
 *
 * Trust: the data directory is the user's own. Threads: any. #syscalls: openat read close mkdir getdents64
 * #syscalls: unlink symlink access faccessat2
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/image.h"
#include "image/manage.h"
#include "image/record_int.h"
#include "image/registries.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/tree.h"

/* The record's parsed form holds the configuration twice. */
#define ARENA_MAX (16u << 20)

void record_name_path(const char *reference, char out[80])
{
	char digest[DIGEST_SIZE];

	digest_of(reference, strlen(reference), digest);
	snprintf(out, 80, "names/%s", digest + 7);
}

void record_id_path(const char *id, char out[80])
{
	const char *hex = str_after(id, "sha256:");

	snprintf(out, 80, "ids/%.64s", hex ? hex : id);
}

/* The record's next line without its end; NULL when there is none. */
static char *take_line(char **p, const char *end)
{
	char *line = *p, *nl = memchr(line, '\n', (size_t)(end - line));

	if (!nl)
		return NULL;
	*nl = '\0';
	*p = nl + 1;
	return line;
}

static int broken(const char *path, const char *why, struct err *e)
{
	return err_set(e, -EBADMSG, "image record '%s': %s; 'warren image prune' repairs the store",
		       path, why);
}

static int add_layer(struct image *img, const char *number)
{
	uint64_t n;

	if (str_to_u64(number, &n) || img->layers.n >= 512)
		return -EBADMSG;
	if (!img->layers.v) {
		img->layers.v = arena_calloc(&img->arena, 513, sizeof(*img->layers.v));
		if (!img->layers.v)
			return -ENOMEM;
	}
	const char *path = arena_printf(&img->arena, "%s/layers/%llu/fs", img->data,
					(unsigned long long)n);

	img->layers.v[img->layers.n++] = path;
	return path ? 0 : -ENOMEM;
}

static int read_record(const char *path, struct buf *b, struct image *img, struct err *e)
{
	char *p = b->data, *end = b->data + b->len, *line = take_line(&p, end);
	uint64_t size = 0;

	if (!line || !streq(line, RECORD_FIRST_LINE))
		return broken(path, "unknown version", e);
	while (!img->config_json && (line = take_line(&p, end))) {
		const char *v;
		int r = 0;

		if ((v = str_after(line, "name ")))
			r = (img->name = arena_strdup(&img->arena, v)) ? 0 : -ENOMEM;
		else if ((v = str_after(line, "id ")))
			r = (img->id = arena_strdup(&img->arena, v)) ? 0 : -ENOMEM;
		else if ((v = str_after(line, "manifest ")))
			r = (img->manifest = arena_strdup(&img->arena, v)) ? 0 : -ENOMEM;
		else if ((v = str_after(line, "layer ")))
			r = add_layer(img, v);
		else if (streq(line, "userxattr"))
			img->userxattr = true;
		else if ((v = str_after(line, "config "))) {
			if (str_to_u64(v, &size) || size != (uint64_t)(end - p))
				return broken(path, "truncated", e);
			img->config_json = arena_strdup(&img->arena, p);
			r = img->config_json ? 0 : -ENOMEM;
		}
		if (r == -ENOMEM)
			return r;
		if (r)
			return broken(path, line, e);
	}
	if (!img->config_json || !img->id || !img->manifest || !digest_valid(img->id))
		return broken(path, "incomplete", e);
	if (!img->name)
		img->name = arena_printf(&img->arena, "%.12s", img->id + 7);
	if (!img->name)
		return -ENOMEM;
	return image_config_parse(img->config_json, (size_t)size, "image configuration",
				  &img->arena, &img->config, e);
}

/* 0, -ENOENT, other -errno. */
static int load(const char *data, const char *record, struct image *img, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(RECORD_MAX);
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", data, record) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	int r = file_read(AT_FDCWD, path, &b);

	if (r == -ENOENT)
		return r;
	if (r)
		return err_sys(e, r, "image record '%s'", path);
	if (!b.len)
		return broken(path, "empty", e);
	*img = (struct image){ 0 };
	arena_init(&img->arena, ARENA_MAX);
	img->data = arena_strdup(&img->arena, data);
	r = img->data ? read_record(path, &b, img, e) : -ENOMEM;
	if (r)
		image_fini(img);
	return r;
}

/* By the start of an id. */
static int load_by_digits(const char *data, const char *digits, struct image *img, struct err *e)
{
	char path[PATH_MAX], found[80] = "";

	snprintf(path, sizeof(path), "%s/ids", data);
	cleanup_closedir DIR *d = opendir(path);

	if (!d)
		return -errno;
	for (struct dirent *x; (x = readdir(d));) {
		if (!str_after(x->d_name, digits) || !digest_is_hex(x->d_name, 64))
			continue;
		if (*found)
			return err_set(e, -EINVAL, "image id '%s' is not unique: write more of it",
				       digits);
		record_id_path(x->d_name, found);
	}
	return *found ? load(data, found, img, e) : -ENOENT;
}

static int find(const char *data, const char *name, struct image *img, struct err *e)
{
	const char *hex = str_after(name, "sha256:");
	cleanup_with(strlist_fini) struct strlist names = { .n = 0 };
	struct reference ref;
	char whole[1024], record[80];
	int r = -ENOENT;

	if (!hex && registries_local_names(name, &names) == -ENOMEM)
		return -ENOMEM;
	for (size_t i = 0; r == -ENOENT && i < names.n; i++) {
		if (reference_parse(names.v[i], &ref, NULL) ||
		    reference_format(&ref, whole, sizeof(whole)))
			continue;
		record_name_path(whole, record);
		r = load(data, record, img, e);
	}
	if (r == -ENOENT && digest_is_hex(hex ? hex : name, 4))
		r = load_by_digits(data, hex ? hex : name, img, e);
	return r;
}

int image_resolve(const char *name, struct image *img, struct err *e)
{
	char data[PATH_MAX], path[PATH_MAX];
	struct reference ref;
	int r = paths_data(data, sizeof(data), e);

	*img = (struct image){ 0 };
	if (r)
		return r;
	r = find(data, name, img, e);
	if (r == -ENOENT && snprintf(path, sizeof(path), "%s/dirty", data) < (int)sizeof(path) &&
	    access(path, F_OK) == 0) {
		r = image_manage((const char *[]){ "repair", NULL }, NULL, NULL, e);
		if (!r)
			r = find(data, name, img, e);
	}
	if (r != -ENOENT)
		return r;
	if (!str_after(name, "sha256:") && reference_parse(name, &ref, e))
		return -EINVAL;
	return err_set(e, -ENOENT, "image '%s': there is none of this name here", name);
}

void image_fini(struct image *img)
{
	arena_fini(&img->arena);
	*img = (struct image){ 0 };
}

static int claim_path(const char *data, const char *id, const char *instance, char *out,
		      size_t size)
{
	const char *hex = str_after(id, "sha256:");
	int n = snprintf(out, size, "%s/uses/%s/%s", data, hex ? hex : id, instance);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int image_hold(const struct image *img, const char *instance, const char *dir, struct err *e)
{
	char path[PATH_MAX], record[80];
	int r = claim_path(img->data, img->id, instance, path, sizeof(path));

	if (!r && symlink(dir, path) < 0)
		r = -errno;
	if (r == -ENOENT) {
		char *slash = strrchr(path, '/');

		*slash = '\0';
		r = tree_make(path);
		*slash = '/';
		if (!r && symlink(dir, path) < 0)
			r = -errno;
	}
	if (r)
		return err_sys(e, r, "claim image '%s'", img->name);
	record_id_path(img->id, record);
	snprintf(path, sizeof(path), "%s/%s", img->data, record);
	if (access(path, F_OK) == 0)
		return 0;
	image_release(img->data, img->id, instance);
	return err_set(e, -ENOENT, "image '%s' was removed just now", img->name);
}

void image_release(const char *data, const char *image_id, const char *instance)
{
	char path[PATH_MAX];

	if (claim_path(data, image_id, instance, path, sizeof(path)) == 0)
		unlink(path);
}

int image_instance_dir(const char *instance, char *out, size_t size, struct err *e)
{
	char data[PATH_MAX];
	int r = paths_data(data, sizeof(data), e);

	if (r)
		return r;
	int n = snprintf(out, size, "%s/instances/%s", data, instance);

	return n < 0 || (size_t)n >= size ? err_set(e, -ENAMETOOLONG, "data directory '%s'", data)
					  : 0;
}
