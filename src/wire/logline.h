/* One line of a log in docker's json-file shape:
 * {"log":"text\n","stream":"stdout","time":"2026-11-20T19:00:00.123456789Z"} */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"

struct logline {
	const char *text; /* not terminated; after parsing: inside the scratch buffer */
	size_t n;
	bool stderr_;
	struct timespec time; /* UTC */
};

/* Appends the JSON line with its newline. Bytes that are no UTF-8 become U+FFFD, as docker writes them.
 * 0 or the buffer's error. */
int logline_add(struct buf *b, const struct logline *l);

/* Parses one JSON line of `n` bytes without its newline; `scratch` (cleared here) holds the text. Unknown
 * members are skipped. 0, -EPROTO or the buffer's error. */
int logline_parse(const char *json, size_t n, struct buf *scratch, struct logline *l);

/* "2026-11-20T19:00:00.123456789Z"; `out` holds 31 bytes. Every place of the fraction is written. */
void time_rfc3339_format(struct timespec t, char out[static 31]);

/* RFC 3339 with or without fraction, with zone or without (then UTC), or a date alone. 0 or -EINVAL. */
int time_rfc3339_parse(const char *s, size_t n, struct timespec *t);
