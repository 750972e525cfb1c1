/* sqlite in few words: a statement by its text and values by a format. */
#pragma once

#include <sqlite3.h>
#include <stdint.h>

#include "base/err.h"

struct store;

/* Prepares `sql` and binds its parameters in order: 's' const char * (NULL: null), 'i' int64_t. */
int db_query(const struct store *s, sqlite3_stmt **out, struct err *e, const char *sql,
	     const char *types, ...);
/* 1: a row, 0: no more, -errno. */
int db_step(const struct store *s, sqlite3_stmt *q, struct err *e);
/* Runs one that gives no rows. 0 or -errno. */
int db_run(const struct store *s, struct err *e, const char *sql, const char *types, ...);

static inline void db_done(sqlite3_stmt **q)
{
	sqlite3_finalize(*q);
}

#define cleanup_query __attribute__((cleanup(db_done)))

/* A text column; "" for null. Valid until the next step. */
static inline const char *db_text(sqlite3_stmt *q, int column)
{
	const unsigned char *t = sqlite3_column_text(q, column);

	return t ? (const char *)t : "";
}

/* Opens <data>/store.db and makes its tables. 0 or -errno. */
int db_open(struct store *s, struct err *e);
