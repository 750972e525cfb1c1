/*
 * The grammar of xl.cfg: KEY = VALUE or KEY += VALUE, ended by a newline or a semicolon; a value is a number, a
 * string in single or double quotes, or a list of values in brackets, which may go over several lines; '#'
 * begins a comment.
 *
 * Trust: any text; everything is copied into an arena with a ceiling. Threads: any. #syscalls: none
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "wire/xlcfg_int.h"

#define SETTINGS_MAX 256
#define ITEMS_MAX    256

struct reader {
	struct xlcfg *c;
	const char *p, *end;
	unsigned line;
	struct err *e;
};

static int wrong(struct reader *r, const char *what)
{
	if (r->p == r->end)
		return err_set(r->e, -EINVAL, "%s:%u: %s, not the end of the file", r->c->file,
			       r->line, what);
	if (*r->p == '\n')
		return err_set(r->e, -EINVAL, "%s:%u: %s, not the end of the line", r->c->file,
			       r->line, what);
	return err_set(r->e, -EINVAL, "%s:%u: %s, not '%c'", r->c->file, r->line, what,
		       isprint((unsigned char)*r->p) ? *r->p : '?');
}

/* Blanks and comments; `lines`: newlines too. */
static void skip(struct reader *r, bool lines)
{
	for (; r->p < r->end; r->p++) {
		if (*r->p == '#') {
			while (r->p < r->end && *r->p != '\n')
				r->p++;
			if (r->p == r->end)
				return;
		}
		if (*r->p == '\n' && lines)
			r->line++;
		else if (*r->p != ' ' && *r->p != '\t' && *r->p != '\r')
			return;
	}
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static char *take_word(struct reader *r)
{
	const char *from = r->p;

	while (r->p < r->end && is_word(*r->p))
		r->p++;
	return arena_printf(r->c->memory, "%.*s", (int)(r->p - from), from);
}

static char unescape(char c)
{
	return c == 'n' ? '\n' : c == 't' ? '\t' : c;
}

static int take_string(struct reader *r, struct xlcfg_value *v)
{
	char quote = *r->p++, *to;
	const char *from = r->p;

	while (r->p < r->end && *r->p != quote && *r->p != '\n')
		r->p += *r->p == '\\' && r->p + 1 < r->end && r->p[1] != '\n' ? 2 : 1;
	if (r->p == r->end || *r->p != quote)
		return wrong(r, quote == '"' ? "expected \"" : "expected '");
	v->text = to = arena_alloc(r->c->memory, (size_t)(r->p - from) + 1);
	if (!to)
		return err_set(r->e, -ENOMEM, "%s:%u: too much text", r->c->file, r->line);
	for (; from < r->p; from++) {
		if (*from == '\0')
			return wrong(r, "expected text");
		bool escaped = *from == '\\';

		from += escaped;
		*to++ = escaped ? unescape(*from) : *from;
	}
	r->p++;
	return 0;
}

static int take_value(struct reader *r, struct xlcfg_value *v)
{
	v->line = r->line;
	if (r->p < r->end && (*r->p == '"' || *r->p == '\''))
		return take_string(r, v);
	if (r->p == r->end || !isdigit((unsigned char)*r->p))
		return wrong(r, "expected a number, a string in quotes or a list");
	v->text = take_word(r);
	return v->text ? 0 : err_set(r->e, -ENOMEM, "%s:%u: too much text", r->c->file, r->line);
}

/* Room for one more in an array of the arena; NULL when there is none. */
static void *grow(struct arena *a, void *old, size_t size, size_t n, size_t *room, size_t max)
{
	if (n < *room)
		return old;
	if (n >= max)
		return NULL;
	size_t more = *room ? *room * 2 : 4;
	void *p = arena_calloc(a, more, size);

	if (p && n)
		memcpy(p, old, n * size);
	*room = more;
	return p;
}

static int add_value(struct reader *r, struct xlcfg_setting *s, const struct xlcfg_value *v)
{
	struct xlcfg_value *p = grow(r->c->memory, s->v, sizeof(*p), s->n, &s->room, ITEMS_MAX);

	if (!p)
		return err_set(r->e, -E2BIG, "%s:%u: %s: too many", r->c->file, r->line, s->key);
	s->v = p;
	s->v[s->n++] = *v;
	return 0;
}

static int take_list(struct reader *r, struct xlcfg_setting *s)
{
	struct xlcfg_value v;

	r->p++;
	for (;;) {
		skip(r, true);
		if (r->p < r->end && *r->p == ']')
			break;
		int err = take_value(r, &v);

		if (err == 0)
			err = add_value(r, s, &v);
		if (err < 0)
			return err;
		skip(r, true);
		if (r->p < r->end && *r->p == ',')
			r->p++;
		else if (r->p == r->end || *r->p != ']')
			return wrong(r, "expected , or ]");
	}
	r->p++;
	return 0;
}

/* The setting of this name, new when there is none. */
static struct xlcfg_setting *setting(struct xlcfg *c, const char *key)
{
	for (size_t i = 0; i < c->n; i++)
		if (streq(c->v[i].key, key))
			return &c->v[i];
	struct xlcfg_setting *p = grow(c->memory, c->v, sizeof(*p), c->n, &c->room, SETTINGS_MAX);

	if (!p)
		return NULL;
	c->v = p;
	c->v[c->n] = (struct xlcfg_setting){ .key = key };
	return &c->v[c->n++];
}

/* "+=": a string grows, a list gets more. */
static int append(struct reader *r, struct xlcfg_setting *s, const struct xlcfg_setting *more)
{
	int err = 0;

	if (s->n && s->is_list != more->is_list)
		return err_set(r->e, -EINVAL, "%s:%u: %s: += joins two lists or two strings",
			       r->c->file, r->line, s->key);
	s->is_list = more->is_list;
	if (s->is_list || !s->n) {
		for (size_t i = 0; err == 0 && i < more->n; i++)
			err = add_value(r, s, &more->v[i]);
		return err;
	}
	s->v[0].text = arena_printf(r->c->memory, "%s%s", s->v[0].text, more->v[0].text);
	return s->v[0].text ? 0
			    : err_set(r->e, -ENOMEM, "%s:%u: too much text", r->c->file, r->line);
}

static int take_setting(struct reader *r)
{
	struct xlcfg_setting fresh = { .line = r->line };
	struct xlcfg_value v;
	int err;

	if (!isalpha((unsigned char)*r->p) && *r->p != '_')
		return wrong(r, "expected a key");
	fresh.key = take_word(r);
	struct xlcfg_setting *s = fresh.key ? setting(r->c, fresh.key) : NULL;

	if (!s)
		return err_set(r->e, -E2BIG, "%s:%u: too many settings", r->c->file, r->line);
	skip(r, false);
	bool more = r->p < r->end && *r->p == '+';

	r->p += more;
	if (r->p == r->end || *r->p != '=')
		return wrong(r, "expected =");
	r->p++;
	skip(r, false);
	fresh.is_list = r->p < r->end && *r->p == '[';
	err = fresh.is_list ? take_list(r, &fresh) : take_value(r, &v);
	if (err == 0 && !fresh.is_list)
		err = add_value(r, &fresh, &v);
	if (err < 0)
		return err;
	if (more) {
		s->line = s->line ? s->line : fresh.line;
		return append(r, s, &fresh);
	}
	*s = fresh;
	return 0;
}

int xlcfg_read(struct xlcfg *c, const char *text, size_t n, struct err *e)
{
	struct reader r = { .c = c, .p = text, .end = text + n, .line = 1, .e = e };

	c->v = NULL;
	c->n = c->room = 0;
	for (;;) {
		skip(&r, true);
		while (r.p < r.end && *r.p == ';') {
			r.p++;
			skip(&r, true);
		}
		if (r.p == r.end)
			return 0;
		int err = take_setting(&r);

		if (err < 0)
			return err;
		skip(&r, false);
		if (r.p < r.end && *r.p != '\n' && *r.p != ';')
			return wrong(&r, "expected the end of the line or ;");
	}
}
