/*
 * The records that `run` reads instead of the database (image/record_int.h, docs/FORMATS.md). They say nothing that
 * the database and the blobs do not say; all of them can be written anew at any time.
 *
 * Trust: the store is ours. Threads: one. #syscalls: openat write renameat unlinkat getdents64
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/record_int.h"
#include "image/store/db.h"
#include "image/store/store.h"
#include "os/file.h"

/* What follows the line of the name. */
static int record_body(struct store *s, const char *id, const char *manifest, struct buf *out,
		       struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf config = BUF_INIT(4u << 20);
	cleanup_query sqlite3_stmt *q = NULL;
	int r = blob_get(s, id, &config, e);

	if (r)
		return r;
	buf_addf(out, "id %s\nmanifest %s\n%s", id, manifest, s->rootless ? "userxattr\n" : "");
	r = db_query(s, &q, e, "SELECT layer FROM image_layers WHERE image = ? ORDER BY position",
		     "s", id);
	if (r)
		return r;
	while ((r = db_step(s, q, e)) == 1)
		buf_addf(out, "layer %lld\n", (long long)sqlite3_column_int64(q, 0));
	buf_addf(out, "config %zu\n", config.len);
	buf_add(out, buf_str(&config), config.len);
	return r ? r : out->error;
}

static int write_one(struct store *s, const char *path, const char *name, const struct buf *body,
		     struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(RECORD_MAX);
	struct reference ref;
	char familiar[1024];

	buf_addf(&b, "%s\n", RECORD_FIRST_LINE);
	if (name && reference_parse(name, &ref, NULL) == 0 &&
	    reference_familiar(&ref, familiar, sizeof(familiar)) == 0)
		buf_addf(&b, "name %s\n", familiar);
	buf_add(&b, buf_str(body), body->len);
	int r = b.error ? b.error : file_replace(s->dir, path, b.data, b.len, 0600, false);

	return r ? err_sys(e, r, "%s/%s", s->path, path) : 0;
}

int records_write(struct store *s, const char *id, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf body = BUF_INIT(RECORD_MAX);
	cleanup_query sqlite3_stmt *q = NULL, *names = NULL;
	char path[80];
	int r = db_query(s, &q, e, "SELECT manifest FROM images WHERE id = ?", "s", id);

	if (!r)
		r = db_step(s, q, e);
	if (r <= 0)
		return r;
	r = record_body(s, id, db_text(q, 0), &body, e);
	if (!r)
		r = db_query(s, &names, e, "SELECT name FROM names WHERE image = ?", "s", id);
	const char *first = NULL;

	while (!r && (r = db_step(s, names, e)) == 1) {
		record_name_path(db_text(names, 0), path);
		r = write_one(s, path, db_text(names, 0), &body, e);
		first = first ? first : db_text(names, 0);
	}
	record_id_path(id, path);
	/* By id, an image is shown with one of its names where it has one. */
	sqlite3_reset(names);
	if (!r && db_step(s, names, e) == 1)
		first = db_text(names, 0);
	return r ? r : write_one(s, path, first, &body, e);
}

static int unlink_at(struct store *s, const char *path, struct err *e)
{
	if (unlinkat(s->dir, path, 0) < 0 && errno != ENOENT)
		return err_sys(e, -errno, "%s/%s", s->path, path);
	return 0;
}

int record_name_remove(struct store *s, const char *name, struct err *e)
{
	char path[80];

	record_name_path(name, path);
	return unlink_at(s, path, e);
}

int records_remove(struct store *s, const char *id, struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	char path[80];
	int r = db_query(s, &q, e, "SELECT name FROM names WHERE image = ?", "s", id);

	while (!r && (r = db_step(s, q, e)) == 1)
		r = record_name_remove(s, db_text(q, 0), e);
	record_id_path(id, path);
	return r ? r : unlink_at(s, path, e);
}

static void empty_dir(struct store *s, const char *name)
{
	int fd = openat(s->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *x; d && (x = readdir(d));)
		if (x->d_name[0] != '.')
			unlinkat(fd, x->d_name, 0);
}

int records_rebuild(struct store *s, struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	int r = db_query(s, &q, e, "SELECT id FROM images", "");

	if (r)
		return r;
	empty_dir(s, "names");
	empty_dir(s, "ids");
	while ((r = db_step(s, q, e)) == 1) {
		struct err one = ERR_INIT;

		/* An image whose configuration is damaged has no record; the others do. */
		if (records_write(s, db_text(q, 0), &one))
			store_status(s, "image %s: %s", db_text(q, 0), one.msg);
	}
	return r;
}
