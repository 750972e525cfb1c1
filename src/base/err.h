/* Errors that a person will read: a code and one line of text, plain bytes that fit in a pipe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Caller-owned. `code` is a negative errno, 0 while nothing was set. Fits in PIPE_BUF, so a child
 * writes it to its parent whole. */
struct err {
	int32_t code;
	char msg[1020];
};

_Static_assert(sizeof(struct err) == 1024, "struct err crosses pipes whole");

#define ERR_INIT      \
	{             \
		0, "" \
	}

/* Sets the text where the facts are. `code` is a negative errno; returns it. `e` may be NULL. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, and appends ": " and the code's own text: "open 'a': No such file or directory". */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "<text>: " before what is there, where the intent is known. Returns e->code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forgets what was set. `e` may be NULL. */
void err_clear(struct err *e);

/* After bytes came from another process: bounds `code` and terminates `msg`. */
void err_sanitize(struct err *e);
