/*
 * The database: which images, names, layers and blobs there are and who refers to whom. It is small (a few
 * rows an image), so every change is one transaction with a full sync. Readers of the hot path never open it
 * (image/resolve.c).
 *
 * Trust: the file is the user's own. Threads: one. #syscalls: openat fsync fdatasync fcntl pread64 pwrite64
 */
#include "image/store/db.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "image/store/store.h"

#define SCHEMA_VERSION 1

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS blobs(digest TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT "
	"ROWID;"
	"CREATE TABLE IF NOT EXISTS layers(number INTEGER PRIMARY KEY, diff_id TEXT NOT NULL "
	"UNIQUE,"
	"  bytes INTEGER NOT NULL, entries INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS packed(diff_id TEXT NOT NULL, blob TEXT NOT NULL,"
	"  media_type TEXT NOT NULL, PRIMARY KEY(diff_id, blob)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS images(id TEXT PRIMARY KEY, manifest TEXT NOT NULL,"
	"  added INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS image_layers(image TEXT NOT NULL, position INTEGER NOT NULL,"
	"  layer INTEGER NOT NULL, blob TEXT NOT NULL, PRIMARY KEY(image, position)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS names(name TEXT PRIMARY KEY, image TEXT NOT NULL) WITHOUT "
	"ROWID;"
	"CREATE INDEX IF NOT EXISTS names_image ON names(image);"
	"CREATE INDEX IF NOT EXISTS layers_used ON image_layers(layer);";

static int db_error(const struct store *s, const char *what, struct err *e)
{
	int code = sqlite3_errcode(s->db);
	int r = code == SQLITE_FULL ? -ENOSPC : code == SQLITE_NOMEM ? -ENOMEM : -EIO;

	return err_set(e, r, "%s/store.db: %s: %s", s->path, what, sqlite3_errmsg(s->db));
}

static int query(const struct store *s, sqlite3_stmt **out, struct err *e, const char *sql,
		 const char *types, va_list ap)
{
	int i = 1, r = SQLITE_OK;

	*out = NULL;
	if (sqlite3_prepare_v2(s->db, sql, -1, out, NULL) != SQLITE_OK)
		return db_error(s, sql, e);
	for (; *types && r == SQLITE_OK; types++, i++) {
		if (*types == 's')
			r = sqlite3_bind_text(*out, i, va_arg(ap, const char *), -1,
					      SQLITE_TRANSIENT);
		else
			r = sqlite3_bind_int64(*out, i, va_arg(ap, int64_t));
	}
	return r == SQLITE_OK ? 0 : db_error(s, sql, e);
}

int db_query(const struct store *s, sqlite3_stmt **out, struct err *e, const char *sql,
	     const char *types, ...)
{
	va_list ap;

	va_start(ap, types);
	int r = query(s, out, e, sql, types, ap);

	va_end(ap);
	return r;
}

int db_step(const struct store *s, sqlite3_stmt *q, struct err *e)
{
	int r = sqlite3_step(q);

	if (r == SQLITE_ROW)
		return 1;
	return r == SQLITE_DONE ? 0 : db_error(s, sqlite3_sql(q), e);
}

int db_run(const struct store *s, struct err *e, const char *sql, const char *types, ...)
{
	cleanup_query sqlite3_stmt *q = NULL;
	va_list ap;

	va_start(ap, types);
	int r = query(s, &q, e, sql, types, ap);

	va_end(ap);
	return r ? r : db_step(s, q, e);
}

int db_open(struct store *s, struct err *e)
{
	char path[PATH_MAX];
	cleanup_query sqlite3_stmt *q = NULL;

	snprintf(path, sizeof(path), "%s/store.db", s->path);
	if (sqlite3_open_v2(path, &s->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		return db_error(s, "open", e);
	sqlite3_busy_timeout(s->db, 60000);
	int r = db_query(s, &q, e, "PRAGMA user_version", "");

	if (!r)
		r = db_step(s, q, e);
	if (r < 0)
		return r;
	int version = sqlite3_column_int(q, 0);

	if (version > SCHEMA_VERSION)
		return err_set(e, -EPROTO, "%s/store.db: version %d is of a newer Warren", s->path,
			       version);
	if (version == SCHEMA_VERSION)
		return 0;
	sqlite3_reset(q);
	if (sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(s->db, "PRAGMA user_version = 1", NULL, NULL, NULL) != SQLITE_OK)
		return db_error(s, "make tables", e);
	return 0;
}
