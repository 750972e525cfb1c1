/* What every fuzz target includes. A target takes bytes that nobody vouches for and does with them what Warren
 * does; where a round trip or a second way to the same answer exists, it checks that too. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): says what was expected and survives NDEBUG. */
#define FUZZ_CHECK(x)                                                                   \
	do {                                                                            \
		if (!(x)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                        \
		}                                                                       \
	} while (0)

/* A copy with a NUL behind it, exactly as long as the input, so that reading on is seen. */
static inline char *fuzz_string(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1);

	FUZZ_CHECK(s);
	if (size)
		memcpy(s, data, size);
	s[size] = '\0';
	return s;
}

/* An error must be whole: a code, and text that fits and can be printed. */
#define FUZZ_CHECK_ERROR(r, e)                                              \
	do {                                                                \
		FUZZ_CHECK((r) < 0 && (r) > -4096);                         \
		FUZZ_CHECK((e).code == (r) && (e).msg[0]);                  \
		FUZZ_CHECK(memchr((e).msg, '\0', sizeof((e).msg)) != NULL); \
		for (const char *fuzz_p_ = (e).msg; *fuzz_p_; fuzz_p_++)    \
			FUZZ_CHECK((unsigned char)*fuzz_p_ >= 0x20);        \
	} while (0)
