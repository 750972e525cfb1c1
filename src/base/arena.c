/*
 * Arenas: a parsed document is hundreds of small arrays that live and die together. They are cut
 * from blocks of 4 KB and up and freed in one step. Like buffers, an arena has a ceiling.
 *
 * Trust: sizes may come from outside; the ceiling holds. Threads: none. #syscalls: none
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define BLOCK_MIN 4096

struct arena_block {
	struct arena_block *next;
	size_t size;
	_Alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max)
{
	*a = (struct arena)ARENA_INIT(max);
}

void arena_fini(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
	*a = (struct arena)ARENA_INIT(a->max);
}

void *arena_alloc(struct arena *a, size_t size)
{
	if (size > a->max)
		return NULL;
	size = ALIGN_UP(size ? size : 1, _Alignof(max_align_t));
	if (!a->blocks || size > a->blocks->size - a->used) {
		size_t want = MAX(size, (size_t)BLOCK_MIN - sizeof(struct arena_block));

		if (want > a->max || a->total > a->max - want)
			return NULL;
		struct arena_block *b = calloc(1, sizeof(*b) + want);

		if (!b)
			return NULL;
		b->size = want;
		b->next = a->blocks;
		a->blocks = b;
		a->used = 0;
		a->total += want;
	}
	void *p = a->blocks->data + a->used;

	a->used += size;
	return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return arena_alloc(a, bytes);
}

char *arena_strdup(struct arena *a, const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = arena_alloc(a, n);

	return p ? memcpy(p, s, n) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);

	va_end(ap);
	char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);

	if (!p)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}
