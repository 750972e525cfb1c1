/*
 * Throwing away. References are counted by asking the tables who points at what: layers by image_layers, blobs
 * by images (manifest, configuration) and image_layers. Rows go first, in one transaction; then whatever lies in
 * layers/ and blobs/ without a row goes, whether its row was just removed or a cut-off change never made one.
 *
 * Trust: the store is ours; layers' content is hostile and only unlinked. Threads: one.
 * #syscalls: openat flock getdents64 unlinkat newfstatat readlinkat
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/store/db.h"
#include "image/store/store.h"
#include "os/tree.h"

/* The name that leads to the instance, whose directory is below the same root; its id without one. */
static void name_of(const char *dir, const char *id, char *out, size_t size)
{
	const char *slash = strrchr(dir, '/');
	char path[PATH_MAX + 16], target[128];

	snprintf(out, size, "%.12s", id);
	if (!slash)
		return;
	snprintf(path, sizeof(path), "%.*s/.names", (int)(slash - dir), dir);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *x; d && (x = readdir(d));) {
		ssize_t n = readlinkat(fd, x->d_name, target, sizeof(target) - 1);

		target[n > 0 ? n : 0] = '\0';
		if (n > 0 && streq(target, id)) {
			snprintf(out, size, "%s", x->d_name);
			return;
		}
	}
}

void claims_find(struct store *s, const char *id, char *instance, size_t size)
{
	char path[96];

	instance[0] = '\0';
	snprintf(path, sizeof(path), "uses/%.64s", id + strlen("sha256:"));
	int fd = openat(s->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *x; d && !*instance && (x = readdir(d));) {
		char target[PATH_MAX];
		struct stat st;

		if (x->d_name[0] == '.')
			continue;
		ssize_t n = readlinkat(fd, x->d_name, target, sizeof(target) - 1);

		target[n > 0 ? n : 0] = '\0';
		if (n < 0 || (stat(target, &st) < 0 && errno == ENOENT))
			unlinkat(fd, x->d_name, 0);
		else
			name_of(target, x->d_name, instance, size);
	}
}

static int delete_rows(struct store *s, struct err *e)
{
	static const char *const statements[] = {
		"DELETE FROM layers WHERE number NOT IN (SELECT layer FROM image_layers)",
		"DELETE FROM packed WHERE diff_id NOT IN (SELECT diff_id FROM layers)",
		"DELETE FROM blobs WHERE digest NOT IN (SELECT blob FROM packed)",
	};
	int r = 0;

	for (size_t i = 0; !r && i < sizeof(statements) / sizeof(statements[0]); i++)
		r = db_run(s, e, statements[i], "");
	return r;
}

static bool has_row(struct store *s, const char *sql, const char *text, int64_t number)
{
	cleanup_query sqlite3_stmt *q = NULL;

	/* A database that cannot answer keeps everything. */
	int r = text ? db_query(s, &q, NULL, sql, "s", text)
		     : db_query(s, &q, NULL, sql, "i", number);

	return r || db_step(s, q, NULL) != 0;
}

static bool blob_wanted(struct store *s, const char *hex)
{
	char digest[DIGEST_SIZE];

	if (!digest_is_hex(hex, 64))
		return false;
	snprintf(digest, sizeof(digest), "sha256:%.64s", hex);
	return has_row(s,
		       "SELECT 1 FROM images WHERE id = ?1 OR manifest = ?1 UNION ALL "
		       "SELECT 1 FROM blobs WHERE digest = ?1",
		       digest, 0);
}

static bool layer_wanted(struct store *s, const char *name)
{
	int64_t n;

	return str_to_i64(name, &n) == 0 &&
	       has_row(s, "SELECT 1 FROM layers WHERE number = ?", NULL, n);
}

static void sweep(struct store *s, const char *dir, bool (*wanted)(struct store *, const char *))
{
	int fd = openat(s->dir, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *x; d && (x = readdir(d));)
		if (x->d_name[0] != '.' && !wanted(s, x->d_name))
			tree_remove(fd, x->d_name);
}

/* Bytes on disk that the tables account for. */
static uint64_t accounted(struct store *s)
{
	cleanup_query sqlite3_stmt *q = NULL;

	if (db_query(s, &q, NULL,
		     "SELECT (SELECT coalesce(sum(bytes), 0) FROM layers) + "
		     "(SELECT coalesce(sum(bytes), 0) FROM blobs)",
		     "") ||
	    db_step(s, q, NULL) != 1)
		return 0;
	return (uint64_t)sqlite3_column_int64(q, 0);
}

int store_collect(struct store *s, uint64_t *freed, struct err *e)
{
	uint64_t before;
	int r;

	if (flock(s->busy, LOCK_EX | LOCK_NB) < 0) {
		/* The failed upgrade may have dropped the shared lock. */
		flock(s->busy, LOCK_SH);
		return 0;
	}
	r = store_change_begin(s, e);
	if (!r) {
		before = accounted(s);
		r = store_change_end(s, delete_rows(s, e), NULL, e);
		if (!r && freed)
			*freed = before - accounted(s);
	}
	if (!r) {
		sweep(s, "layers", layer_wanted);
		sweep(s, "blobs/sha256", blob_wanted);
	}
	flock(s->busy, LOCK_SH);
	return r;
}

int store_usage(struct store *s, struct err *e)
{
	static const struct {
		const char *key, *sql;
	} sums[] = {
		{ "images", "SELECT count(*) FROM images" },
		{ "layers", "SELECT count(*) FROM layers" },
		{ "layerBytes", "SELECT coalesce(sum(bytes), 0) FROM layers" },
		{ "blobs", "SELECT count(*) FROM blobs" },
		{ "blobBytes", "SELECT coalesce(sum(bytes), 0) FROM blobs" },
		{ "unusedBytes", "SELECT coalesce(sum(bytes), 0) FROM layers WHERE number NOT IN "
				 "(SELECT layer FROM image_layers JOIN names ON names.image = "
				 "image_layers.image)" },
	};
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(4096);

	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
		cleanup_query sqlite3_stmt *q = NULL;
		int r = db_query(s, &q, e, sums[i].sql, "");

		if (!r)
			r = db_step(s, q, e);
		if (r < 0)
			return r;
		buf_addf(&b, "%s\"%s\":%lld", i ? "," : "{", sums[i].key,
			 (long long)sqlite3_column_int64(q, 0));
	}
	buf_addc(&b, '}');
	s->say(s->say_arg, buf_str(&b));
	return 0;
}
