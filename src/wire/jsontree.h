/* A JSON document as a tree in an arena: for texts that are read by tables (wire/json.h) at the start of a container,
 * where a tree of separate allocations would cost as much as a namespace. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum json_tree_type {
	JSON_TYPE_NULL,
	JSON_TYPE_BOOLEAN,
	JSON_TYPE_INTEGER,
	JSON_TYPE_NUMBER, /* any other: a fraction, an exponent, too large; `string` is its text */
	JSON_TYPE_STRING,
	JSON_TYPE_ARRAY,
	JSON_TYPE_OBJECT,
};

struct json_pair;

struct json_value {
	uint8_t type;
	bool boolean;
	bool huge;  /* integer: above INT64_MAX, to be taken as uint64_t */
	uint32_t n; /* bytes of a string, items, members */
	union {
		int64_t integer;
		const char *string; /* NUL-terminated; may hold further ones */
		const struct json_value *items;
		const struct json_pair *members;
	};
};

struct json_pair {
	const char *key;
	struct json_value value;
};

/* The top must be an object; nesting is at most 32 deep, `n` at most `max`. Everything lives in the arena. 0 or -errno
 * with "NAME: ..." */
int json_tree_parse(const char *text, size_t n, size_t max, const char *name, struct arena *arena,
		    struct json_value *out, struct err *e);

/* The member of that name; NULL when there is none, or it is null, or `v` is no object. */
const struct json_value *json_tree_member(const struct json_value *v, const char *key);

/* Adds the value as text. 0 or the buffer's error. */
int json_tree_print(struct buf *b, const struct json_value *v);
