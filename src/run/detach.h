/* The keys that leave an attached terminal, and signals by name. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { DETACH_KEYS_MAX = 16 };

struct detach_keys {
	unsigned char keys[DETACH_KEYS_MAX];
	size_t n;    /* 0: detaching by keys is off */
	size_t seen; /* how many of them were just typed */
};

/* "ctrl-p,ctrl-q", "a", "ctrl-@"; "" turns it off. 0 or -EINVAL. */
int detach_keys_parse(struct detach_keys *d, const char *s, struct err *e);

/* Runs over typed bytes. Keys of a sequence that has begun are held back; `out` (n + DETACH_KEYS_MAX bytes)
 * gets what goes to the instance, `*out_n` how much. True when the whole sequence was typed. */
bool detach_keys_feed(struct detach_keys *d, const unsigned char *in, size_t n, unsigned char *out,
		      size_t *out_n);

/* "SIGTERM", "term", "15". 0 or -EINVAL. */
int signal_parse(const char *s, int *sig, struct err *e);
