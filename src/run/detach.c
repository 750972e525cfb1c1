/*
 * Detach keys and signal names: what people type at an attached instance.
 *
 * Trust: the text and the keys are the user's. Threads: any. #syscalls: none
 */
#include "run/detach.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/util.h"

/* One word between commas: a letter, or ctrl- and a letter or one of @[\]^_ */
static int parse_key(const char *s, size_t n, unsigned char *key)
{
	if (n == 1) {
		*key = (unsigned char)*s;
		return 0;
	}
	if (n != 6 || strncasecmp(s, "ctrl-", 5) != 0)
		return -EINVAL;
	int c = toupper((unsigned char)s[5]);

	if (c < '@' || c > '_')
		return -EINVAL;
	*key = (unsigned char)(c - '@');
	return 0;
}

int detach_keys_parse(struct detach_keys *d, const char *s, struct err *e)
{
	*d = (struct detach_keys){ 0 };
	for (const char *p = s; *p;) {
		size_t len = strcspn(p, ",");

		if (d->n == DETACH_KEYS_MAX || parse_key(p, len, &d->keys[d->n]))
			return err_set(e, -EINVAL,
				       "detach keys '%s': expected keys like 'a' or 'ctrl-p', "
				       "separated by commas",
				       s);
		d->n++;
		p += len + (p[len] == ',');
	}
	return 0;
}

bool detach_keys_feed(struct detach_keys *d, const unsigned char *in, size_t n, unsigned char *out,
		      size_t *out_n)
{
	size_t o = 0;

	for (size_t i = 0; i < n; i++) {
		if (d->n && in[i] == d->keys[d->seen]) {
			if (++d->seen < d->n)
				continue;
			d->seen = 0;
			*out_n = o;
			return true;
		}
		/* What was held back goes on; this byte may begin the sequence anew. */
		memcpy(out + o, d->keys, d->seen);
		o += d->seen;
		d->seen = d->n && in[i] == d->keys[0];
		if (!d->seen || d->n == 1)
			out[o++] = in[i];
	}
	*out_n = o;
	return false;
}

int signal_parse(const char *s, int *sig, struct err *e)
{
	const char *name = strncasecmp(s, "SIG", 3) == 0 ? s + 3 : s;
	uint64_t n;

	if (str_to_u64(s, &n) == 0 && n >= 1 && n <= 64) {
		*sig = (int)n;
		return 0;
	}
	for (int i = 1; i < 32; i++) {
		const char *known = sigabbrev_np(i);

		if (known && strcasecmp(known, name) == 0) {
			*sig = i;
			return 0;
		}
	}
	static const struct {
		const char *name;
		int base, sign;
	} realtime[] = { { "RTMIN+", 34, 1 }, { "RTMAX-", 64, -1 } };

	for (size_t i = 0; i < ARRAY_SIZE(realtime); i++) {
		size_t len = strlen(realtime[i].name);

		if (strncasecmp(name, realtime[i].name, len) == 0 && !str_to_u64(name + len, &n) &&
		    n <= 30) {
			*sig = realtime[i].base + realtime[i].sign * (int)n;
			return 0;
		}
	}
	if (strcasecmp(name, "RTMIN") == 0 || strcasecmp(name, "RTMAX") == 0) {
		*sig = strcasecmp(name, "RTMIN") == 0 ? 34 : 64;
		return 0;
	}
	return err_set(e, -EINVAL, "invalid signal: %s", s);
}
