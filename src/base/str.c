/*
 * Strings, and numbers as people write them on command lines and in files. Every parser takes the
 * whole string or refuses it; none stops at the first letter that it does not know.
 *
 * Trust: input is anything. Threads: none. #syscalls: none
 */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

const char *str_after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && streq(s + n - m, suffix);
}

/* Digits at *s; moves *s behind them. */
static int take_digits(const char **s, uint64_t *out)
{
	uint64_t v = 0;

	if (!isdigit((unsigned char)**s))
		return -EINVAL;
	for (; isdigit((unsigned char)**s); (*s)++) {
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**s - '0'), &v))
			return -ERANGE;
	}
	*out = v;
	return 0;
}

int str_to_u64(const char *s, uint64_t *out)
{
	uint64_t v;
	int r = take_digits(&s, &v);

	if (r)
		return r;
	if (*s)
		return -EINVAL;
	*out = v;
	return 0;
}

int str_to_set(const char *list, uint8_t *set, size_t bits)
{
	size_t bytes = 0;

	for (const char *s = list;;) {
		uint64_t first, last;

		if (take_digits(&s, &first))
			return -EINVAL;
		last = first;
		if (*s == '-' && (s++, take_digits(&s, &last)))
			return -EINVAL;
		if (first > last || last >= bits || (*s && *s != ','))
			return -EINVAL;
		for (; first <= last; first++)
			set[first / 8] |= (uint8_t)(1U << first % 8);
		if (last / 8 + 1 > bytes)
			bytes = (size_t)(last / 8 + 1);
		if (!*s)
			return (int)bytes;
		s++;
	}
}

int str_to_i64(const char *s, int64_t *out)
{
	bool minus = *s == '-';
	uint64_t v;
	int r = str_to_u64(s + minus, &v);

	if (r)
		return r;
	if (v > (uint64_t)INT64_MAX + minus)
		return -ERANGE;
	*out = minus ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

/* A decimal number with up to nine places after the point, scaled by `unit`. */
struct decimal {
	uint64_t whole, billionths;
};

static int take_decimal(const char **s, struct decimal *d)
{
	int r = take_digits(s, &d->whole);

	if (r)
		return r;
	d->billionths = 0;
	if (**s != '.')
		return 0;
	(*s)++;
	if (!isdigit((unsigned char)**s))
		return -EINVAL;
	for (uint64_t place = 100000000; isdigit((unsigned char)**s); (*s)++, place /= 10)
		d->billionths += place * (uint64_t)(**s - '0');
	return 0;
}

static int decimal_scale(const struct decimal *d, uint64_t unit, uint64_t *out)
{
	uint64_t v;
	unsigned __int128 part = (unsigned __int128)d->billionths * unit / 1000000000;

	if (__builtin_mul_overflow(d->whole, unit, &v) ||
	    __builtin_add_overflow(v, (uint64_t)part, &v))
		return -ERANGE;
	*out = v;
	return 0;
}

int str_to_size(const char *s, uint64_t *out)
{
	static const char units[] = "bkmgtp";
	struct decimal d;
	uint64_t unit = 1;
	int r = take_decimal(&s, &d);

	if (r)
		return r;
	if (*s) {
		const char *u = strchr(units, tolower((unsigned char)*s));

		if (!u || !*u)
			return -EINVAL;
		unit = 1ull << (10 * (u - units));
		s++;
		if (unit > 1 && tolower((unsigned char)*s) == 'i')
			s++;
		if (unit > 1 && tolower((unsigned char)*s) == 'b')
			s++;
	}
	return *s ? -EINVAL : decimal_scale(&d, unit, out);
}

int str_to_duration(const char *s, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "ns", 1 },	     { "us", 1000 },	   { "ms", 1000000 },
		{ "s", 1000000000 }, { "m", 60000000000 }, { "h", 3600000000000 },
	};
	uint64_t sum = 0;

	if (!*s)
		return -EINVAL;
	while (*s) {
		struct decimal d;
		uint64_t unit = 0, part;
		int r = take_decimal(&s, &d);

		if (r)
			return r;
		if (!*s && !sum)
			unit = 1000000000;
		for (size_t i = 0; !unit && i < ARRAY_SIZE(units); i++) {
			const char *rest = str_after(s, units[i].name);

			if (rest && !isalpha((unsigned char)*rest)) {
				unit = units[i].ns;
				s = rest;
			}
		}
		if (!unit)
			return -EINVAL;
		r = decimal_scale(&d, unit, &part);
		if (r)
			return r;
		if (__builtin_add_overflow(sum, part, &sum))
			return -ERANGE;
	}
	*ns = sum;
	return 0;
}

int str_to_bool(const char *s, bool *out)
{
	static const char *const yes[] = { "true", "1", "yes", "on" };
	static const char *const no[] = { "false", "0", "no", "off" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (streq(s, yes[i]) || streq(s, no[i])) {
			*out = streq(s, yes[i]);
			return 0;
		}
	}
	return -EINVAL;
}

/* Optimal string alignment: three rows of the table suffice. */
size_t str_distance(const char *a, const char *b)
{
	enum { LONGEST = 63 };
	size_t rows[3][LONGEST + 1], n = strlen(a), m = strlen(b);
	size_t *before = rows[0], *last = rows[1], *now = rows[2];

	if (n > LONGEST || m > LONGEST)
		return SIZE_MAX;
	for (size_t k = 0; k <= m; k++)
		last[k] = before[k] = k;
	for (size_t i = 1; i <= n; i++) {
		now[0] = i;
		for (size_t k = 1; k <= m; k++) {
			size_t change = last[k - 1] + (a[i - 1] != b[k - 1]);

			size_t gap = MIN(last[k], now[k - 1]) + 1;

			now[k] = MIN(change, gap);
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
				now[k] = MIN(now[k], before[k - 2] + 1);
		}
		size_t *oldest = before;

		before = last;
		last = now;
		now = oldest;
	}
	return last[m];
}

size_t str_slips_allowed(const char *s)
{
	size_t n = strlen(s);

	return n < 3 ? 0 : n < 6 ? 1 : 2;
}

int strlist_add(struct strlist *l, const char *s)
{
	char **v = realloc(l->v, (l->n + 2) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	l->v = v;
	char *copy = strdup(s);

	v[l->n] = copy;
	if (!copy)
		return -ENOMEM;
	v[++l->n] = NULL;
	return 0;
}

void strlist_fini(struct strlist *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct strlist){ 0 };
}

bool strlist_has(const struct strlist *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (streq(l->v[i], s))
			return true;
	return false;
}
