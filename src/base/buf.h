/* A growable run of bytes with a ceiling, so that no outside length decides how much we allocate.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data; /* always NUL-terminated once something was added; NULL before */
	size_t len; /* bytes in use, without the NUL */
	size_t cap;
	size_t max; /* `len` never exceeds this */
	int error;  /* the first failure, -ENOMEM or -EMSGSIZE; sticky */
};

#define BUF_INIT(maximum)        \
	{                        \
		.max = (maximum) \
	}

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);

/* Forgets the content and the error, keeps the memory. */
void buf_clear(struct buf *b);

/* All adders return 0 or the sticky -errno; after a failure they do nothing, so a chain of adds may
 * be checked once at its end. */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_adds(struct buf *b, const char *s);
int buf_addc(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_addv(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Makes room for `n` more bytes and returns where to write them (then buf_commit), NULL on failure.
 */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* Drops the first `n` bytes. */
void buf_consume(struct buf *b, size_t n);

/* The text so far, "" when empty; owned by the buffer. */
const char *buf_str(const struct buf *b);

/* Hands the text over to the caller, who frees it; NULL after an error. The buffer is empty again.
 */
char *buf_steal(struct buf *b);
