/*
 * A reader of TOML's everyday part, by events: a table's header, then each of its keys. What is left out (inline tables,
 * dates, floats, multi-line strings, lists of other than strings) is refused by line, never guessed at.
 *
 * Trust: any text. Threads: any. #syscalls: none
 */
#include "wire/toml.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define WORD_MAX (64u << 10)

struct reader {
	const char *p, *end, *name;
	size_t line;
	struct err *e;
};

static int bad(const struct reader *r, const char *what)
{
	return err_set(r->e, -EINVAL, "%s: line %zu: %s", r->name, r->line, what);
}

static int peek(const struct reader *r)
{
	return r->p < r->end ? (unsigned char)*r->p : -1;
}

/* Blanks and comments; line ends too when `lines`. */
static void skip(struct reader *r, bool lines)
{
	for (int c; (c = peek(r)) >= 0; r->p++) {
		if (c == '#') {
			while (r->p + 1 < r->end && r->p[1] != '\n')
				r->p++;
		} else if (c == '\n' && lines) {
			r->line++;
		} else if (c != ' ' && c != '\t' && c != '\r') {
			return;
		}
	}
}

static int escape(struct reader *r, struct buf *out)
{
	static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
	int c = peek(r);
	const char *at = c > 0 ? strchr(from, c) : NULL;
	size_t digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
	unsigned long code = 0;

	if (at) {
		r->p++;
		return buf_addc(out, to[at - from]);
	}
	if (!digits || (size_t)(r->end - r->p) <= digits)
		return bad(r, "unknown escape in a string");
	for (size_t i = 1; i <= digits; i++) {
		char hex[2] = { r->p[i], '\0' };

		if (!isxdigit((unsigned char)r->p[i]))
			return bad(r, "unknown escape in a string");
		code = code * 16 + strtoul(hex, NULL, 16);
	}
	if (!code || code > 0x7f)
		return bad(r, "escapes beyond ASCII are not read here");
	r->p += digits + 1;
	return buf_addc(out, (char)code);
}

static int quoted(struct reader *r, struct buf *out)
{
	char quote = *r->p++;

	if (r->end - r->p >= 2 && r->p[0] == quote && r->p[1] == quote)
		return bad(r, "multi-line strings are not read here");
	for (int c; (c = peek(r)) != quote;) {
		int err = 0;

		if (c < 0 || c == '\n')
			return bad(r, "a string does not end");
		if (c == 0)
			return bad(r, "a NUL byte");
		r->p++;
		err = c == '\\' && quote == '"' ? escape(r, out) : buf_addc(out, (char)c);
		if (err)
			return err;
	}
	r->p++;
	return out->error;
}

/* A bare or quoted key; parts of a dotted one are joined by dots. */
static int key(struct reader *r, struct buf *out)
{
	for (;;) {
		size_t before = out->len;

		skip(r, false);
		if (peek(r) == '"' || peek(r) == '\'') {
			int err = quoted(r, out);

			if (err)
				return err;
		} else {
			for (int c; (c = peek(r)) > 0 && (isalnum(c) || c == '_' || c == '-');
			     r->p++)
				buf_addc(out, (char)c);
			if (out->len == before)
				return bad(r, "expected a name");
		}
		skip(r, false);
		if (peek(r) != '.')
			return out->error;
		r->p++;
		buf_addc(out, '.');
	}
}

static int list(struct reader *r, struct strlist *out)
{
	r->p++;
	for (;;) {
		cleanup_with(buf_fini) struct buf b = BUF_INIT(WORD_MAX);

		skip(r, true);
		if (peek(r) == ']') {
			r->p++;
			return 0;
		}
		if (peek(r) != '"' && peek(r) != '\'')
			return bad(r, peek(r) < 0 ? "a list does not end"
						  : "only lists of strings are read here");
		int err = quoted(r, &b);

		if (!err)
			err = strlist_add(out, buf_str(&b));
		if (err)
			return err;
		skip(r, true);
		if (peek(r) == ',')
			r->p++;
		else if (peek(r) != ']')
			return bad(r, "expected ',' or ']' in a list");
	}
}

static int bare(struct reader *r, struct toml_value *v, struct buf *word)
{
	char *stop;

	for (int c; (c = peek(r)) > 0 && (isalnum(c) || strchr("_-+.:", c)); r->p++)
		if (c != '_')
			buf_addc(word, (char)c);
	const char *s = buf_str(word);

	if (streq(s, "true") || streq(s, "false")) {
		v->kind = TOML_BOOL;
		v->boolean = *s == 't';
		return 0;
	}
	errno = 0;
	v->kind = TOML_INTEGER;
	v->integer = strtoll(s, &stop, 10);
	return *s && !*stop && !errno ? 0
	       : peek(r) == '{'	      ? bad(r, "inline tables are not read here")
				: bad(r, "expected a string, true, false, a number or a list");
}

static int value(struct reader *r, struct toml_value *v, struct buf *word)
{
	int err;

	skip(r, false);
	switch (peek(r)) {
	case '"':
	case '\'':
		v->kind = TOML_STRING;
		err = quoted(r, word);
		v->string = buf_str(word);
		return err;
	case '[':
		v->kind = TOML_LIST;
		return list(r, &v->list);
	default:
		return bare(r, v, word);
	}
}

static int header(struct reader *r, struct buf *path, bool *element)
{
	r->p++;
	*element = peek(r) == '[';
	r->p += *element;
	buf_clear(path);
	int err = key(r, path);

	for (int i = 0; !err && i <= *element; i++) {
		if (peek(r) != ']')
			return bad(r, "expected ']' behind a table's name");
		r->p++;
	}
	return err;
}

static int pair(struct reader *r, const char *path, const struct toml_ops *ops, void *arg)
{
	cleanup_with(buf_fini) struct buf name = BUF_INIT(WORD_MAX), word = BUF_INIT(WORD_MAX);
	struct toml_value v = { .kind = TOML_BOOL };
	size_t line = r->line;
	int err = key(r, &name);

	if (!err && peek(r) != '=')
		err = bad(r, "expected '=' behind a name");
	if (!err) {
		r->p++;
		err = value(r, &v, &word);
	}
	if (!err) {
		err = ops->value(arg, path, buf_str(&name), &v, r->e);
		if (err)
			err_wrap(r->e, "%s: line %zu", r->name, line);
	}
	strlist_fini(&v.list);
	return err;
}

int toml_parse(const char *text, size_t n, const char *name, const struct toml_ops *ops, void *arg,
	       struct err *e)
{
	cleanup_with(buf_fini) struct buf path = BUF_INIT(WORD_MAX);
	struct reader r = { text, text + n, name, 1, e };
	int err = 0;

	for (skip(&r, true); !err && peek(&r) >= 0; skip(&r, true)) {
		bool element;

		if (peek(&r) == '[') {
			err = header(&r, &path, &element);
			if (!err)
				err = ops->table(arg, buf_str(&path), element, e);
		} else {
			err = pair(&r, buf_str(&path), ops, arg);
		}
		skip(&r, false);
		if (!err && peek(&r) >= 0 && peek(&r) != '\n')
			err = bad(&r, "more behind the value");
	}
	return err;
}
