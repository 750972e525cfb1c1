/*
 * Errors as values.
 *
 * A function whose failure a person will read takes a `struct err *` as its last argument. It is
 * set once, where the facts are, and wrapped on the way up, where the intent is known; the result
 * reads "start 'web1': disk 'a.img': already in use: Resource temporarily unavailable". The struct
 * holds no pointer, so a child hands it to its parent through a pipe with one write. Text that does
 * not fit is cut at the end, never at the front: the front says what was wanted.
 *
 * Trust: the text may quote hostile names; control bytes are made visible here, once, so that an
 * error can be printed to a terminal. Threads: none of its own. #syscalls: none
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes that would drive a terminal become '?'. UTF-8 passes. */
static void make_printable(char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			*s = c == '\n' || c == '\t' ? ' ' : '?';
	}
}

static int set_text(struct err *e, int code, const char *tail, const char *fmt, va_list ap)
{
	if (code >= 0)
		code = -EINVAL;
	if (!e)
		return code;
	e->code = code;
	int n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);

	if (n < 0)
		n = 0;
	if (tail && (size_t)n < sizeof(e->msg) - 1)
		snprintf(e->msg + n, sizeof(e->msg) - (size_t)n, ": %s", tail);
	make_printable(e->msg);
	return code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	code = set_text(e, code, NULL, fmt, ap);
	va_end(ap);
	return code;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	code = set_text(e, code, strerror(code < 0 ? -code : EINVAL), fmt, ap);
	va_end(ap);
	return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char front[sizeof(e->msg)];
	va_list ap;

	if (!e)
		return -EINVAL;
	va_start(ap, fmt);
	int n = vsnprintf(front, sizeof(front) - 2, fmt, ap);
	va_end(ap);
	if (n < 0)
		return e->code;
	size_t len = strlen(front);

	make_printable(front);
	memcpy(front + len, ": ", 3);
	len += 2;
	size_t room = sizeof(e->msg) - 1 - len, old = strlen(e->msg);

	if (old > room)
		old = room;
	memmove(e->msg + len, e->msg, old);
	memcpy(e->msg, front, len);
	e->msg[len + old] = '\0';
	return e->code;
}

void err_clear(struct err *e)
{
	if (!e)
		return;
	e->code = 0;
	e->msg[0] = '\0';
}

void err_sanitize(struct err *e)
{
	e->msg[sizeof(e->msg) - 1] = '\0';
	make_printable(e->msg);
	if (e->code > 0 || e->code < -4095)
		e->code = -EPROTO;
}
