/* The part of TOML 1.0 that configuration files of container tools use: tables, arrays of tables, strings, booleans,
 * integers and lists of strings. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct toml_value {
	enum { TOML_STRING, TOML_BOOL, TOML_INTEGER, TOML_LIST } kind;
	const char *string;
	bool boolean;
	long long integer;
	struct strlist list; /* strings */
};

struct toml_ops {
	/* "[table]", or "[[table]]" with `element`: dotted path as written, quotes taken off. 0 or -errno. */
	int (*table)(void *arg, const char *path, bool element, struct err *e);
	/* `value` lives as long as the call. 0 or -errno. */
	int (*value)(void *arg, const char *path, const char *key, const struct toml_value *value,
		     struct err *e);
};

/* 0, or -EINVAL with "NAME: line N: what", or what an op returned, wrapped likewise. */
int toml_parse(const char *text, size_t n, const char *name, const struct toml_ops *ops, void *arg,
	       struct err *e);
