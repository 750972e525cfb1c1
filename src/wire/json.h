/* JSON by tables: an object's members are one array of `struct json_member` that says where each
 * goes, what it may be, and so how its error reads. Also the few functions that print JSON. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "wire/jsontree.h"

/* Where in the document we are, for errors: "process.rlimits[2].soft". A chain on the stack. */
struct json_at {
	const struct json_at *up;
	const char *key; /* NULL: `index` of an array */
	size_t index;
};

struct json_reader {
	struct arena *arena;
	const char *name; /* of the document, for errors */
	struct err *e;
};

enum json_kind {
	JSON_END_,
	JSON_BOOL_,	/* bool */
	JSON_OPT_BOOL_, /* struct oci_bool */
	JSON_STRING_,	/* const char *, points into the document */
	JSON_PATH_,	/* the same, must begin with '/' */
	JSON_STRINGS_,	/* struct oci_strings */
	JSON_MAP_,	/* struct oci_map */
	JSON_NUMBER_,	/* struct oci_num within min..max */
	JSON_U16_,	/* plain integers, likewise checked */
	JSON_I32_,
	JSON_U32_,
	JSON_I64_,
	JSON_U64_,
	JSON_ENUM_,   /* int: one of `words` */
	JSON_FLAGS_,  /* uint64_t or uint32_t by `size`: an array of `words`, or-ed */
	JSON_OBJECT_, /* `members`, in place */
	JSON_NEW_,    /* `members`, pointer to newly allocated `size` bytes */
	JSON_ARRAY_,  /* `members` for each; pointer, and size_t at count_offset */
	JSON_CALL_,   /* fn(reader, at, value, dest) */
};

struct json_word {
	const char *word; /* NULL ends */
	int64_t value;
};

struct json_member {
	enum json_kind kind;
	bool required;
	const char *name;
	size_t offset, count_offset, size;
	int64_t min;
	uint64_t max;
	const struct json_word *words;
	const struct json_member *members;
	int (*call)(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		    void *dest);
};

#define JSON_MEMBER(k, n, type, member, ...)                                              \
	{                                                                                 \
		.kind = (k), .name = (n), .offset = offsetof(type, member), ##__VA_ARGS__ \
	}
#define JSON_BOOL(...)	   JSON_MEMBER(JSON_BOOL_, __VA_ARGS__)
#define JSON_OPT_BOOL(...) JSON_MEMBER(JSON_OPT_BOOL_, __VA_ARGS__)
#define JSON_STRING(...)   JSON_MEMBER(JSON_STRING_, __VA_ARGS__)
#define JSON_PATH(...)	   JSON_MEMBER(JSON_PATH_, __VA_ARGS__)
#define JSON_STRINGS(...)  JSON_MEMBER(JSON_STRINGS_, __VA_ARGS__)
#define JSON_MAP(...)	   JSON_MEMBER(JSON_MAP_, __VA_ARGS__)
#define JSON_NUMBER(n, t, m, lo, hi, ...) \
	JSON_MEMBER(JSON_NUMBER_, n, t, m, .min = (lo), .max = (hi), ##__VA_ARGS__)
#define JSON_U16(n, t, m, ...) \
	JSON_MEMBER(JSON_U16_, n, t, m, .min = 0, .max = UINT16_MAX, ##__VA_ARGS__)
#define JSON_I32(n, t, m, lo, hi, ...) \
	JSON_MEMBER(JSON_I32_, n, t, m, .min = (lo), .max = (hi), ##__VA_ARGS__)
#define JSON_U32(n, t, m, ...) \
	JSON_MEMBER(JSON_U32_, n, t, m, .min = 0, .max = UINT32_MAX, ##__VA_ARGS__)
#define JSON_I64(n, t, m, ...) \
	JSON_MEMBER(JSON_I64_, n, t, m, .min = INT64_MIN, .max = INT64_MAX, ##__VA_ARGS__)
#define JSON_U64(n, t, m, ...) \
	JSON_MEMBER(JSON_U64_, n, t, m, .min = 0, .max = UINT64_MAX, ##__VA_ARGS__)
#define JSON_ENUM(n, t, m, table, ...) \
	JSON_MEMBER(JSON_ENUM_, n, t, m, .words = (table), ##__VA_ARGS__)
#define JSON_FLAGS(n, t, m, table, ...)                                                  \
	JSON_MEMBER(JSON_FLAGS_, n, t, m, .words = (table), .size = sizeof(((t *)0)->m), \
		    ##__VA_ARGS__)
#define JSON_OBJECT(n, t, m, table, ...) \
	JSON_MEMBER(JSON_OBJECT_, n, t, m, .members = (table), ##__VA_ARGS__)
/* Members of a nested object that go into the outer struct itself. */
#define JSON_FLAT(n, table, ...)                                                     \
	{                                                                            \
		.kind = JSON_OBJECT_, .name = (n), .members = (table), ##__VA_ARGS__ \
	}
#define JSON_NEW(n, t, m, table, ...)                                                     \
	JSON_MEMBER(JSON_NEW_, n, t, m, .members = (table), .size = sizeof(*((t *)0)->m), \
		    ##__VA_ARGS__)
#define JSON_ARRAY(n, t, m, count, table, ...)                                                    \
	JSON_MEMBER(JSON_ARRAY_, n, t, m, .count_offset = offsetof(t, count), .members = (table), \
		    .size = sizeof(*((t *)0)->m), ##__VA_ARGS__)
#define JSON_CALL(n, t, m, fn, ...) JSON_MEMBER(JSON_CALL_, n, t, m, .call = (fn), ##__VA_ARGS__)
#define JSON_END                  \
	{                         \
		.kind = JSON_END_ \
	}

/* Parses text with json-c, for those who want its tree; the top must be an object. Depth at most 32, `n` at most `max`.
 * The result is to be put. */
int json_parse(const char *text, size_t n, size_t max, const char *name, struct json_object **out,
	       struct err *e);

/* Fills `base` from the object `v`. Unknown members are ignored, a null one counts as absent, of
 * duplicates the last one counts. 0 or -errno with the reader's error set. */
int json_read_members(struct json_reader *r, const struct json_at *at,
		      const struct json_member *members, const struct json_value *v, void *base);

/* Sets "NAME: path.to.member: <text>" and returns -EINVAL. */
int json_fail(struct json_reader *r, const struct json_at *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* One value, as JSON_STRING_ and the integer kinds read it. */
int json_read_string(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		     const char **out);
int json_read_int(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		  int64_t min, uint64_t max, int64_t *out);

/* Adds "text" with quotes and escapes. Bytes that are no UTF-8 pass as they are. 0 or the buffer's
 * error. */
int json_put_string(struct buf *b, const char *s);
/* Adds "key": (with a comma before it unless the last byte is an opening brace or bracket). */
int json_put_key(struct buf *b, const char *key);
