/* Many small allocations with one owner and one end: parsed documents. */
#pragma once

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t used;  /* bytes handed out of the newest block */
	size_t total; /* bytes taken in all */
	size_t max;   /* `total` never exceeds this */
};

#define ARENA_INIT(maximum)      \
	{                        \
		.max = (maximum) \
	}

void arena_init(struct arena *a, size_t max);
void arena_fini(struct arena *a);

/* Zeroed memory, aligned for any type; NULL when memory or the ceiling is reached. */
void *arena_alloc(struct arena *a, size_t size);
/* The same for an array; overflow of n * size gives NULL. */
void *arena_calloc(struct arena *a, size_t n, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
