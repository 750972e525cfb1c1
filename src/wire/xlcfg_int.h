/* Shared by xlcfg.c, which reads xl.cfg's grammar, and xldomain.c, which knows what the keys mean. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct xlcfg_value {
	const char *text;
	unsigned line;
};

struct xlcfg_setting {
	const char *key;
	unsigned line;
	bool is_list;
	struct xlcfg_value *v; /* one, unless it is a list */
	size_t n, room;
};

struct xlcfg {
	const char *file;
	struct arena *memory;
	struct xlcfg_setting *v; /* each key once: later ones replace or append (+=) */
	size_t n, room;
};

/* 0, or -EINVAL, -ENOMEM with `e` naming file and line. `c->file` and `c->memory` are the caller's. */
int xlcfg_read(struct xlcfg *c, const char *text, size_t n, struct err *e);
