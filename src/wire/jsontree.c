/*
 * JSON to a tree (RFC 8259).
 *
 * The text is copied once into the arena and taken apart there: strings lose their escapes and get their end in
 * place, so that a string costs nothing. The items of an array or object are collected on a stack while it is open
 * and move into the arena, in one piece, when it is closed.
 *
 * Trust: every byte is hostile. Depth is bounded by DEPTH_MAX, memory by the arena's ceiling and by the text: a value
 * of the stack needs at least two bytes of it. Bytes that are no UTF-8 pass as they are. Threads: none.
 * #syscalls: none
 */
#include "wire/jsontree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"

enum { DEPTH_MAX = 32, STACK_FIRST = 64, DROPPED = 255 };

struct parser {
	char *text; /* our copy, NUL-terminated */
	size_t at, n;
	struct arena *arena;
	struct json_pair *stack;
	size_t used, cap;
	const char *why; /* NULL: the text ended too early */
};

static int parse_value(struct parser *p, unsigned int depth, struct json_value *out);

static int fail(struct parser *p, const char *why)
{
	p->why = p->at < p->n ? why : NULL;
	return -EINVAL;
}

static char peek(struct parser *p)
{
	while (p->at < p->n && (p->text[p->at] == ' ' || p->text[p->at] == '\n' ||
				p->text[p->at] == '\t' || p->text[p->at] == '\r'))
		p->at++;
	return p->at < p->n ? p->text[p->at] : '\0';
}

static int push(struct parser *p, const char *key, const struct json_value *v)
{
	if (p->used == p->cap) {
		size_t cap = p->cap ? p->cap * 4 : STACK_FIRST;
		struct json_pair *grown = reallocarray(p->stack, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->stack = grown;
		p->cap = cap;
	}
	p->stack[p->used++] = (struct json_pair){ key, *v };
	return 0;
}

static int hex4(struct parser *p, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++, p->at++) {
		char c = p->at < p->n ? p->text[p->at] : '\0';
		uint32_t digit = (uint32_t)(c >= '0' && c <= '9'   ? c - '0'
					    : c >= 'a' && c <= 'f' ? c - 'a' + 10
					    : c >= 'A' && c <= 'F' ? c - 'A' + 10
								   : 16);

		if (digit == 16)
			return fail(p, "bad digit after \\u");
		*out = *out << 4 | digit;
	}
	return 0;
}

static size_t put_utf8(char *to, uint32_t c)
{
	size_t n = 0;

	if (c < 0x80) {
		to[n++] = (char)c;
	} else if (c < 0x800) {
		to[n++] = (char)(0xc0 | c >> 6);
		to[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		to[n++] = (char)(0xe0 | c >> 12);
		to[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		to[n++] = (char)(0x80 | (c & 0x3f));
	} else {
		to[n++] = (char)(0xf0 | c >> 18);
		to[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		to[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		to[n++] = (char)(0x80 | (c & 0x3f));
	}
	return n;
}

/* After "\u". Two surrogates are one character; a single one is none. Never longer than its text. */
static int parse_unicode(struct parser *p, char *to, size_t *n)
{
	uint32_t c, low;
	int err = hex4(p, &c);

	if (err)
		return err;
	if (c >= 0xd800 && c < 0xdc00 && p->at + 6 <= p->n && p->text[p->at] == '\\' &&
	    p->text[p->at + 1] == 'u') {
		size_t back = p->at;

		p->at += 2;
		err = hex4(p, &low);
		if (err)
			return err;
		if (low >= 0xdc00 && low < 0xe000)
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		else
			p->at = back;
	}
	*n += put_utf8(to + *n, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	return 0;
}

static int parse_escape(struct parser *p, char *to, size_t *n)
{
	static const char from[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	char c = p->at < p->n ? p->text[p->at] : '\0';
	const char *found = c ? strchr(from, c) : NULL;

	if (c == 'u') {
		p->at++;
		return parse_unicode(p, to, n);
	}
	if (!found)
		return fail(p, "unknown escape");
	to[(*n)++] = means[found - from];
	p->at++;
	return 0;
}

/* At the opening quote. */
static int parse_string(struct parser *p, const char **out, uint32_t *len)
{
	char *to = p->text + ++p->at;
	size_t n = 0;

	while (p->at < p->n && p->text[p->at] != '"') {
		char *from = p->text + p->at;
		size_t plain = 0, most = p->n - p->at;

		while (plain < most && from[plain] != '"' && from[plain] != '\\')
			plain++;
		if (from != to + n)
			memmove(to + n, from, plain);
		n += plain;
		p->at += plain;
		if (p->at < p->n && p->text[p->at] == '\\') {
			p->at++;
			int err = parse_escape(p, to, &n);

			if (err)
				return err;
		}
	}
	if (p->at == p->n)
		return fail(p, NULL);
	p->at++;
	to[n] = '\0';
	*out = to;
	*len = (uint32_t)n;
	return 0;
}

static size_t digits(struct parser *p)
{
	size_t from = p->at;

	while (p->at < p->n && p->text[p->at] >= '0' && p->text[p->at] <= '9')
		p->at++;
	return p->at - from;
}

static int keep_number(struct parser *p, size_t from, struct json_value *out)
{
	char *copy = arena_alloc(p->arena, p->at - from + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, p->text + from, p->at - from);
	*out = (struct json_value){ .type = JSON_TYPE_NUMBER, .string = copy };
	return 0;
}

static int parse_number(struct parser *p, struct json_value *out)
{
	size_t from = p->at;
	bool minus = p->text[p->at] == '-', whole = true, overflow = false;
	uint64_t v = 0;

	p->at += minus;
	size_t first = p->at, n = digits(p);

	if (!n || (n > 1 && p->text[first] == '0')) {
		p->at = n ? first + 1 : p->at;
		return fail(p, "bad number");
	}
	for (size_t i = 0; i < n; i++)
		overflow |= __builtin_mul_overflow(v, 10, &v) ||
			    __builtin_add_overflow(v, (uint64_t)(p->text[first + i] - '0'), &v);
	if (p->at < p->n && p->text[p->at] == '.') {
		p->at++;
		whole = false;
		if (!digits(p))
			return fail(p, "bad number");
	}
	if (p->at < p->n && (p->text[p->at] | 0x20) == 'e') {
		p->at++;
		whole = false;
		p->at += p->at < p->n && (p->text[p->at] == '+' || p->text[p->at] == '-');
		if (!digits(p))
			return fail(p, "bad number");
	}
	if (!whole || overflow || (minus && v > (uint64_t)INT64_MAX + 1))
		return keep_number(p, from, out);
	*out = (struct json_value){ .type = JSON_TYPE_INTEGER,
				    .huge = !minus && v > INT64_MAX,
				    .integer = (int64_t)(minus ? 0 - v : v) };
	return 0;
}

static int parse_word(struct parser *p, struct json_value *out)
{
	static const struct {
		const char *word;
		struct json_value value;
	} words[] = {
		{ "true", { .type = JSON_TYPE_BOOLEAN, .boolean = true } },
		{ "false", { .type = JSON_TYPE_BOOLEAN } },
		{ "null", { .type = JSON_TYPE_NULL } },
	};

	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(words[i].word), left = p->n - p->at;

		if (memcmp(p->text + p->at, words[i].word, n < left ? n : left) != 0)
			continue;
		p->at += n < left ? n : left;
		*out = words[i].value;
		return n <= left ? 0 : fail(p, NULL);
	}
	return fail(p, "unexpected character");
}

/* The stack above `from` becomes the value's content. */
static int close_array(struct parser *p, size_t from, struct json_value *out)
{
	size_t n = p->used - from;
	struct json_value *items = arena_calloc(p->arena, n, sizeof(*items));

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		items[i] = p->stack[from + i].value;
	p->used = from;
	*out = (struct json_value){ .type = JSON_TYPE_ARRAY, .n = (uint32_t)n, .items = items };
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct json_pair *const *x = a, *const *y = b;
	int order = strcmp((*x)->key, (*y)->key);

	return order ? order : *x < *y ? -1 : 1;
}

/* Of members with one name the last one counts. */
static int drop_duplicates(struct json_pair *m, size_t *n)
{
	size_t kept = 0;

	if (*n < 2)
		return 0;
	struct json_pair **by_name = reallocarray(NULL, *n, sizeof(struct json_pair *));

	if (!by_name)
		return -ENOMEM;
	for (size_t i = 0; i < *n; i++)
		by_name[i] = &m[i];
	qsort(by_name, *n, sizeof(struct json_pair *), compare);
	for (size_t i = 0; i + 1 < *n; i++)
		if (strcmp(by_name[i]->key, by_name[i + 1]->key) == 0)
			by_name[i]->value.type = DROPPED;
	free(by_name);
	for (size_t i = 0; i < *n; i++)
		if (m[i].value.type != DROPPED)
			m[kept++] = m[i];
	*n = kept;
	return 0;
}

static int close_object(struct parser *p, size_t from, struct json_value *out)
{
	size_t n = p->used - from;

	if (n && drop_duplicates(p->stack + from, &n))
		return -ENOMEM;
	struct json_pair *members = arena_calloc(p->arena, n, sizeof(*members));

	if (!members)
		return -ENOMEM;
	if (n)
		memcpy(members, p->stack + from, n * sizeof(*members));
	p->used = from;
	*out = (struct json_value){ .type = JSON_TYPE_OBJECT,
				    .n = (uint32_t)n,
				    .members = members };
	return 0;
}

static int parse_member(struct parser *p, unsigned int depth)
{
	struct json_value v;
	const char *key;
	uint32_t n;

	if (peek(p) != '"')
		return fail(p, "expected the name of a member");
	int err = parse_string(p, &key, &n);

	if (err)
		return err;
	if (peek(p) != ':')
		return fail(p, "expected ':'");
	p->at++;
	err = parse_value(p, depth, &v);
	return err ? err : push(p, key, &v);
}

/* At the opening bracket or brace. */
static int parse_list(struct parser *p, unsigned int depth, bool object, struct json_value *out)
{
	char end = object ? '}' : ']';
	size_t from = p->used;
	struct json_value v;
	int err = 0;

	if (depth == DEPTH_MAX)
		return fail(p, "nested too deep");
	p->at++;
	if (peek(p) == end) {
		p->at++;
		return object ? close_object(p, from, out) : close_array(p, from, out);
	}
	for (;;) {
		if (object)
			err = parse_member(p, depth + 1);
		else if (!(err = parse_value(p, depth + 1, &v)))
			err = push(p, NULL, &v);
		if (err)
			return err;
		char c = peek(p);

		if (c != end && c != ',')
			return fail(p, object ? "expected ',' or '}'" : "expected ',' or ']'");
		p->at++;
		if (c == end)
			return object ? close_object(p, from, out) : close_array(p, from, out);
	}
}

static int parse_value(struct parser *p, unsigned int depth, struct json_value *out)
{
	char c = peek(p);

	if (p->at == p->n)
		return fail(p, NULL);
	if (c == '{' || c == '[')
		return parse_list(p, depth, c == '{', out);
	if (c == '"') {
		*out = (struct json_value){ .type = JSON_TYPE_STRING };
		return parse_string(p, &out->string, &out->n);
	}
	return c == '-' || (c >= '0' && c <= '9') ? parse_number(p, out) : parse_word(p, out);
}

static int report(const struct parser *p, int err, const char *name, struct err *e)
{
	if (err == -ENOMEM)
		return err_set(e, -ENOMEM, "%s: too large", name);
	if (!p->why)
		return err_set(e, -EINVAL, "%s: ends in the middle", name);
	return err_set(e, -EINVAL, "%s: byte %zu: not JSON: %s", name, p->at, p->why);
}

int json_tree_parse(const char *text, size_t n, size_t max, const char *name, struct arena *arena,
		    struct json_value *out, struct err *e)
{
	if (n > max || n > INT32_MAX)
		return err_set(e, -EMSGSIZE, "%s: larger than %zu bytes", name, max);
	struct parser p = { .text = arena_alloc(arena, n + 1), .n = n, .arena = arena };

	if (!p.text)
		return err_set(e, -ENOMEM, "%s: too large", name);
	if (n)
		memcpy(p.text, text, n);
	p.text[n] = '\0';
	int err = parse_value(&p, 0, out);

	free(p.stack);
	if (err)
		return report(&p, err, name, e);
	if (out->type != JSON_TYPE_OBJECT)
		return err_set(e, -EINVAL, "%s: expected an object", name);
	peek(&p);
	if (p.at < n)
		return err_set(e, -EINVAL, "%s: byte %zu: something after the end of the object",
			       name, p.at);
	return 0;
}

const struct json_value *json_tree_member(const struct json_value *v, const char *key)
{
	for (uint32_t i = v && v->type == JSON_TYPE_OBJECT ? v->n : 0; i > 0; i--)
		if (strcmp(v->members[i - 1].key, key) == 0) {
			v = &v->members[i - 1].value;
			return v->type == JSON_TYPE_NULL ? NULL : v;
		}
	return NULL;
}

int json_tree_print(struct buf *b, const struct json_value *v)
{
	switch ((enum json_tree_type)v->type) {
	case JSON_TYPE_NULL:
		return buf_adds(b, "null");
	case JSON_TYPE_BOOLEAN:
		return buf_adds(b, v->boolean ? "true" : "false");
	case JSON_TYPE_INTEGER:
		return v->huge ? buf_addf(b, "%" PRIu64, (uint64_t)v->integer)
			       : buf_addf(b, "%" PRId64, v->integer);
	case JSON_TYPE_NUMBER:
		return buf_adds(b, v->string);
	case JSON_TYPE_STRING:
		return json_put_string(b, v->string);
	case JSON_TYPE_ARRAY:
		buf_addc(b, '[');
		for (uint32_t i = 0; i < v->n; i++) {
			if (i)
				buf_addc(b, ',');
			json_tree_print(b, &v->items[i]);
		}
		return buf_addc(b, ']');
	case JSON_TYPE_OBJECT:
		buf_addc(b, '{');
		for (uint32_t i = 0; i < v->n; i++) {
			json_put_key(b, v->members[i].key);
			json_tree_print(b, &v->members[i].value);
		}
		return buf_addc(b, '}');
	}
	return 0;
}
