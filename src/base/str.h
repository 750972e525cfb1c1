/* Strings and the numbers people write in them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* What follows `prefix` in `s`, NULL when `s` does not begin with it. */
const char *str_after(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* Whole strings in base 10, no sign for unsigned ones, no blanks. 0, -EINVAL or -ERANGE. */
int str_to_u64(const char *s, uint64_t *out);
int str_to_i64(const char *s, int64_t *out);

/* "0-3,7": sets those bits of the `bits` in `set`, the lowest of the first byte first. -EINVAL for what is no such
 * list, or a number too high. How many bytes of `set` are in use. */
int str_to_set(const char *list, uint8_t *set, size_t bits);

/* "512m", "1.5GiB", "64k", "100": bytes in powers of 1024, as docker reads them. 0, -EINVAL,
 * -ERANGE. */
int str_to_size(const char *s, uint64_t *out);

/* "10", "1.5s", "200ms", "1h30m": nanoseconds, a bare number is seconds. 0, -EINVAL, -ERANGE. */
int str_to_duration(const char *s, uint64_t *ns);

/* "true", "false", "1", "0", "yes", "no", "on", "off". 0 or -EINVAL. */
int str_to_bool(const char *s, bool *out);

/* How many letters must be added, dropped, changed or swapped with their neighbour to make `b` of
 * `a`; SIZE_MAX when either has more than 63. For "did you mean". */
size_t str_distance(const char *a, const char *b);
/* The largest distance at which another word may be meant by this one. */
size_t str_slips_allowed(const char *s);

/* A growing list of owned strings, NULL-terminated in `v` once something was added. */
struct strlist {
	char **v;
	size_t n;
};

/* Copies `s`. 0 or -ENOMEM. */
int strlist_add(struct strlist *l, const char *s);
void strlist_fini(struct strlist *l);
bool strlist_has(const struct strlist *l, const char *s);
