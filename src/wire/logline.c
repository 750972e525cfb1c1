/*
 * Lines of docker's json-file log, both ways, without a JSON library: the keeper writes one for every line
 * of output and must stay small.
 *
 * Trust: the text is the instance's and holds anything; a log file may have been torn by a crash or
 * edited. Threads: none. #syscalls: none
 */
#include "wire/logline.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong forms, no surrogates), 0 when it is none. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static int add_escaped(struct buf *b, const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + n;

	while (p < end) {
		const unsigned char *plain = p;

		while (p < end && *p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\')
			p++;
		buf_add(b, plain, (size_t)(p - plain));
		if (p == end)
			break;
		size_t len = utf8_len(p, (size_t)(end - p));

		if (len > 1)
			buf_add(b, p, len);
		else if (!len)
			buf_adds(b, "\\ufffd");
		else if (*p == '"' || *p == '\\')
			buf_addf(b, "\\%c", *p);
		else if (*p == '\n')
			buf_adds(b, "\\n");
		else if (*p == '\r')
			buf_adds(b, "\\r");
		else if (*p == '\t')
			buf_adds(b, "\\t");
		else
			buf_addf(b, "\\u%04x", *p);
		p += len ? len : 1;
	}
	return b->error;
}

int logline_add(struct buf *b, const struct logline *l)
{
	char when[31];

	time_rfc3339_format(l->time, when);
	buf_adds(b, "{\"log\":\"");
	add_escaped(b, l->text, l->n);
	buf_adds(b, l->stderr_ ? "\",\"stream\":\"stderr\",\"time\":\""
			       : "\",\"stream\":\"stdout\",\"time\":\"");
	buf_adds(b, when);
	return buf_adds(b, "\"}\n");
}

struct cursor {
	const char *p, *end;
};

static void skip_blanks(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
		c->p++;
}

static bool take(struct cursor *c, char want)
{
	skip_blanks(c);
	if (c->p == c->end || *c->p != want)
		return false;
	c->p++;
	return true;
}

static int take_hex4(struct cursor *c, uint32_t *out)
{
	uint32_t v = 0;

	if (c->end - c->p < 4)
		return -EPROTO;
	for (int i = 0; i < 4; i++) {
		char ch = *c->p++;

		if (!isxdigit((unsigned char)ch))
			return -EPROTO;
		v = v * 16 + (uint32_t)(isdigit((unsigned char)ch)
						? ch - '0'
						: tolower((unsigned char)ch) - 'a' + 10);
	}
	*out = v;
	return 0;
}

static int add_utf8(struct buf *b, uint32_t c)
{
	if (c < 0x80)
		return buf_addc(b, (char)c);
	if (c < 0x800)
		buf_addc(b, (char)(0xc0 | c >> 6));
	else if (c < 0x10000) {
		buf_addc(b, (char)(0xe0 | c >> 12));
		buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
	} else {
		buf_addc(b, (char)(0xf0 | c >> 18));
		buf_addc(b, (char)(0x80 | (c >> 12 & 0x3f)));
		buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	return buf_addc(b, (char)(0x80 | (c & 0x3f)));
}

static int take_escape(struct cursor *c, struct buf *b)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

	if (c->p == c->end)
		return -EPROTO;
	char ch = *c->p++;
	const char *at = ch ? strchr(from, ch) : NULL;
	uint32_t v, low;

	if (at)
		return buf_addc(b, to[at - from]);
	if (ch != 'u' || take_hex4(c, &v))
		return -EPROTO;
	if (v >= 0xd800 && v < 0xdc00 && c->end - c->p >= 6 && c->p[0] == '\\' && c->p[1] == 'u') {
		struct cursor ahead = { c->p + 2, c->end };

		if (!take_hex4(&ahead, &low) && low >= 0xdc00 && low < 0xe000) {
			v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
			*c = ahead;
		}
	}
	return add_utf8(b, v >= 0xd800 && v < 0xe000 ? 0xfffd : v);
}

/* A string, appended to `b`. */
static int take_string(struct cursor *c, struct buf *b)
{
	if (!take(c, '"'))
		return -EPROTO;
	while (c->p < c->end && *c->p != '"') {
		const char *plain = c->p;
		int r;

		while (c->p < c->end && *c->p != '"' && *c->p != '\\')
			c->p++;
		r = buf_add(b, plain, (size_t)(c->p - plain));
		if (!r && c->p < c->end && *c->p == '\\') {
			c->p++;
			r = take_escape(c, b);
		}
		if (r)
			return r;
	}
	return take(c, '"') ? 0 : -EPROTO;
}

int logline_parse(const char *json, size_t n, struct buf *scratch, struct logline *l)
{
	struct cursor c = { json, json + n };
	size_t text_at = 0;
	bool has_text = false, has_time = false;

	buf_clear(scratch);
	*l = (struct logline){ 0 };
	if (!take(&c, '{'))
		return -EPROTO;
	while (!take(&c, '}')) {
		size_t key = scratch->len, value;
		int r = take_string(&c, scratch);

		if (r)
			return r;
		r = buf_addc(scratch, '\0');
		if (r || !take(&c, ':'))
			return r ? r : -EPROTO;
		value = scratch->len;
		r = take_string(&c, scratch);
		if (r)
			return r;
		const char *k = scratch->data + key, *v = scratch->data + value;
		size_t len = scratch->len - value;

		if (streq(k, "log")) {
			text_at = value;
			l->n = len;
			has_text = true;
		} else if (streq(k, "stream")) {
			l->stderr_ = len == 6 && memcmp(v, "stderr", 6) == 0;
		} else if (streq(k, "time")) {
			has_time = time_rfc3339_parse(v, len, &l->time) == 0;
		}
		if (!take(&c, ',') && (c.p == c.end || *c.p != '}'))
			return -EPROTO;
	}
	if (!has_text || !has_time)
		return -EPROTO;
	l->text = scratch->data + text_at;
	return 0;
}

void time_rfc3339_format(struct timespec t, char out[static 31])
{
	/* Seconds since 0000-03-01; years that start in March end with their leap day. gmtime_r() would read the host's time
	 * zone from its file. */
	int64_t s = t.tv_sec + 719468LL * 86400;
	bool known = s >= 306LL * 86400 && s < 3652365LL * 86400;
	unsigned int day = known ? (unsigned int)(s / 86400) : 306;
	unsigned int second = known ? (unsigned int)(s % 86400) : 0;
	unsigned int era = day / 146097, of_era = day % 146097;
	unsigned int year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned int of_year = of_era - (365 * year + year / 4 - year / 100);
	unsigned int month = (5 * of_year + 2) / 153;
	char text[80];

	day = of_year - (153 * month + 2) / 5 + 1;
	month = month < 10 ? month + 3 : month - 9;
	year += era * 400 + (month <= 2);
	snprintf(text, sizeof(text), "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ", year, month, day,
		 second / 3600, second / 60 % 60, second % 60,
		 (unsigned int)t.tv_nsec % 1000000000u);
	memcpy(out, text, 31);
}

/* `digits` decimal digits. */
static int take_number(struct cursor *c, int digits, int *out)
{
	int v = 0;

	if (c->end - c->p < digits)
		return -EINVAL;
	for (; digits; digits--, c->p++) {
		if (!isdigit((unsigned char)*c->p))
			return -EINVAL;
		v = v * 10 + (*c->p - '0');
	}
	*out = v;
	return 0;
}

static bool take_char(struct cursor *c, char want)
{
	if (c->p == c->end || *c->p != want)
		return false;
	c->p++;
	return true;
}

static int take_zone(struct cursor *c, int *seconds)
{
	int hours, minutes;

	*seconds = 0;
	if (c->p == c->end || take_char(c, 'Z') || take_char(c, 'z'))
		return 0;
	bool minus = *c->p == '-';

	if (!minus && *c->p != '+')
		return -EINVAL;
	c->p++;
	if (take_number(c, 2, &hours) || !take_char(c, ':') || take_number(c, 2, &minutes))
		return -EINVAL;
	*seconds = (hours * 60 + minutes) * 60 * (minus ? -1 : 1);
	return 0;
}

int time_rfc3339_parse(const char *s, size_t n, struct timespec *t)
{
	struct cursor c = { s, s + n };
	struct tm tm = { 0 };
	int zone = 0;

	*t = (struct timespec){ 0 };
	if (take_number(&c, 4, &tm.tm_year) || !take_char(&c, '-') ||
	    take_number(&c, 2, &tm.tm_mon) || !take_char(&c, '-') ||
	    take_number(&c, 2, &tm.tm_mday))
		return -EINVAL;
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	if (c.p < c.end) {
		if (!take_char(&c, 'T') && !take_char(&c, ' '))
			return -EINVAL;
		if (take_number(&c, 2, &tm.tm_hour) || !take_char(&c, ':') ||
		    take_number(&c, 2, &tm.tm_min))
			return -EINVAL;
		if (take_char(&c, ':') && take_number(&c, 2, &tm.tm_sec))
			return -EINVAL;
		if (take_char(&c, '.')) {
			long unit = 100000000;

			for (; c.p < c.end && isdigit((unsigned char)*c.p); c.p++, unit /= 10)
				t->tv_nsec += unit * (*c.p - '0');
		}
		if (take_zone(&c, &zone))
			return -EINVAL;
	}
	if (c.p != c.end || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return -EINVAL;
	t->tv_sec = timegm(&tm) - zone;
	return 0;
}
