/* What describing shares between rows and inspect. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Seconds since an RFC 3339 time; 0 when there is none. */
int64_t describe_age(const char *rfc3339);

/* Appends what fits. */
static inline void strcat_bounded(char *to, size_t size, const char *tail)
{
	size_t n = strlen(to), m = strlen(tail);

	if (n + m < size)
		memcpy(to + n, tail, m + 1);
}
