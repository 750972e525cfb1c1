/*
 * JSON by tables.
 *
 * wire/jsontree.c turns the text into a tree; this file walks the tree along arrays of `struct json_member`
 * and fills C structs. Numbers must be JSON integers and are checked against the member's range
 * before they are stored, strings must not hold NUL bytes, and an error names document, path and
 * expectation. What is read lives in the caller's arena, whose ceiling bounds it, or in the tree
 * itself. Those who do not read by tables get a tree of json-c.
 *
 * Trust: every byte is hostile. Depth is bounded by the parsers (32), size by the caller's maximum
 * and the arena. Threads: none of its own. #syscalls: none
 */
#include "wire/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/oci.h"

/* Path text from the inside out: recursion over at most the nesting depth of our own tables. */
static void at_print(const struct json_at *at, struct buf *b)
{
	if (!at)
		return;
	at_print(at->up, b);
	if (at->key)
		buf_addf(b, "%s%s", b->len ? "." : "", at->key);
	else
		buf_addf(b, "[%zu]", at->index);
}

int json_fail(struct json_reader *r, const struct json_at *at, const char *fmt, ...)
{
	struct buf path = BUF_INIT(512);
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	at_print(at, &path);
	err_set(r->e, -EINVAL, "%s: %s%s%s", r->name, buf_str(&path), path.len ? ": " : "", text);
	buf_fini(&path);
	return -EINVAL;
}

static int no_memory(struct json_reader *r, const struct json_at *at)
{
	json_fail(r, at, "too large");
	if (r->e)
		r->e->code = -ENOMEM;
	return -ENOMEM;
}

int json_parse(const char *text, size_t n, size_t max, const char *name, struct json_object **out,
	       struct err *e)
{
	if (n > max || n > INT32_MAX)
		return err_set(e, -EMSGSIZE, "%s: larger than %zu bytes", name, max);
	struct json_tokener *tok = json_tokener_new_ex(32);

	if (!tok)
		return err_sys(e, -ENOMEM, "%s", name);
	struct json_object *v = json_tokener_parse_ex(tok, text, (int)n);
	enum json_tokener_error status = json_tokener_get_error(tok);
	size_t end = json_tokener_get_parse_end(tok);

	json_tokener_free(tok);
	while (end < n && memchr(" \t\r\n", text[end], 4))
		end++;
	if (status == json_tokener_continue)
		err_set(e, -EINVAL, "%s: ends in the middle", name);
	else if (status != json_tokener_success)
		err_set(e, -EINVAL, "%s: byte %zu: not JSON: %s", name, end,
			json_tokener_error_desc(status));
	else if (!json_object_is_type(v, json_type_object))
		err_set(e, -EINVAL, "%s: expected an object", name);
	else if (end < n)
		err_set(e, -EINVAL, "%s: byte %zu: something after the end of the object", name,
			end);
	else {
		*out = v;
		return 0;
	}
	json_object_put(v);
	return -EINVAL;
}

int json_read_string(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		     const char **out)
{
	if (v->type != JSON_TYPE_STRING)
		return json_fail(r, at, "expected a string");
	if (strlen(v->string) != v->n)
		return json_fail(r, at, "expected a string without NUL bytes");
	*out = v->string;
	return 0;
}

int json_read_int(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		  int64_t min, uint64_t max, int64_t *out)
{
	if (v->type == JSON_TYPE_INTEGER) {
		int64_t i = v->integer;

		if (i < 0 && !v->huge
			    ? i >= min
			    : (min <= 0 || (uint64_t)i >= (uint64_t)min) && (uint64_t)i <= max) {
			*out = i;
			return 0;
		}
	}
	return json_fail(r, at, "expected an integer between %" PRId64 " and %" PRIu64, min, max);
}

static int read_array(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		      size_t item_size, size_t *n, void **out)
{
	if (v->type != JSON_TYPE_ARRAY)
		return json_fail(r, at, "expected an array");
	*n = v->n;
	*out = arena_calloc(r->arena, *n + 1, item_size);
	return *out ? 0 : no_memory(r, at);
}

static int read_strings(struct json_reader *r, const struct json_at *at, const struct json_value *v,
			struct oci_strings *out)
{
	void *array = NULL;
	size_t n = 0;
	int err = read_array(r, at, v, sizeof(char *), &n, &array);

	if (err)
		return err;
	out->v = array;
	out->n = 0;
	for (size_t i = 0; i < n && !err; i++) {
		struct json_at here = { at, NULL, i };

		err = json_read_string(r, &here, &v->items[i], &out->v[i]);
		out->n = i + 1;
	}
	return err;
}

static int read_map(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		    struct oci_map *out)
{
	if (v->type != JSON_TYPE_OBJECT)
		return json_fail(r, at, "expected an object");
	size_t n = v->n;

	out->v = arena_calloc(r->arena, n + 1, sizeof(*out->v));
	if (!out->v)
		return no_memory(r, at);
	out->n = 0;
	for (uint32_t i = 0; i < v->n; i++) {
		const char *key = v->members[i].key;
		const struct json_value *value = &v->members[i].value;
		struct json_at here = { at, key, 0 };
		int err = json_read_string(r, &here, value, &out->v[out->n].value);

		if (err)
			return err;
		if (!*key)
			return json_fail(r, at, "a member has no name");
		out->v[out->n++].key = key;
	}
	return 0;
}

static int read_word(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		     const struct json_word *words, int64_t *out)
{
	struct buf known = BUF_INIT(256);
	const char *s = NULL;
	int err = json_read_string(r, at, v, &s);

	if (err)
		return err;
	for (const struct json_word *w = words; w->word; w++) {
		if (strcmp(w->word, s) == 0) {
			*out = w->value;
			return 0;
		}
	}
	for (const struct json_word *w = words; w->word; w++)
		buf_addf(&known, "%s%s", known.len ? ", " : "", w->word);
	json_fail(r, at, "'%.80s' is none of %s", s, buf_str(&known));
	buf_fini(&known);
	return -EINVAL;
}

static int read_flags(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		      const struct json_member *m, void *dest)
{
	struct oci_strings names = { 0 };
	uint64_t all = 0;
	int err = read_strings(r, at, v, &names);

	for (size_t i = 0; i < names.n && !err; i++) {
		struct json_at here = { at, NULL, i };
		int64_t bit = 0;

		err = read_word(r, &here, &v->items[i], m->words, &bit);
		all |= (uint64_t)bit;
	}
	if (m->size == sizeof(uint32_t))
		*(uint32_t *)dest = (uint32_t)all;
	else
		*(uint64_t *)dest = all;
	return err;
}

static int read_objects(struct json_reader *r, const struct json_at *at, const struct json_value *v,
			const struct json_member *m, char *base)
{
	void *array = NULL;
	size_t n = 0;
	int err = read_array(r, at, v, m->size, &n, &array);

	if (err)
		return err;
	*(void **)(void *)(base + m->offset) = array;
	for (size_t i = 0; i < n && !err; i++) {
		struct json_at here = { at, NULL, i };

		err = json_read_members(r, &here, m->members, &v->items[i],
					(char *)array + i * m->size);
		*(size_t *)(void *)(base + m->count_offset) = i + 1;
	}
	return err;
}

static int read_number(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		       const struct json_member *m, void *dest)
{
	int64_t n = 0;
	int err = json_read_int(r, at, v, m->min, m->max, &n);

	if (err)
		return err;
	switch (m->kind) {
	case JSON_U16_:
		*(uint16_t *)dest = (uint16_t)n;
		break;
	case JSON_I32_:
	case JSON_U32_:
		*(uint32_t *)dest = (uint32_t)n;
		break;
	case JSON_I64_:
	case JSON_U64_:
		*(int64_t *)dest = n;
		break;
	default:
		*(struct oci_num *)dest = (struct oci_num){ true, n };
	}
	return 0;
}

static int read_text(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		     const struct json_member *m, const char **dest)
{
	int err = json_read_string(r, at, v, dest);

	if (!err && m->kind == JSON_PATH_ && (*dest)[0] != '/')
		return json_fail(r, at, "'%.100s': expected an absolute path", *dest);
	if (!err && m->required && !(*dest)[0])
		return json_fail(r, at, "expected a string that is not empty");
	return err;
}

static int read_member(struct json_reader *r, const struct json_at *at, const struct json_member *m,
		       const struct json_value *v, char *base)
{
	void *dest = base + m->offset;
	int64_t word = 0;
	int err;

	switch (m->kind) {
	case JSON_BOOL_:
	case JSON_OPT_BOOL_:
		if (v->type != JSON_TYPE_BOOLEAN)
			return json_fail(r, at, "expected true or false");
		if (m->kind == JSON_BOOL_)
			*(bool *)dest = v->boolean;
		else
			*(struct oci_bool *)dest = (struct oci_bool){ true, v->boolean };
		return 0;
	case JSON_STRING_:
	case JSON_PATH_:
		return read_text(r, at, v, m, dest);
	case JSON_STRINGS_:
		return read_strings(r, at, v, dest);
	case JSON_MAP_:
		return read_map(r, at, v, dest);
	case JSON_ENUM_:
		err = read_word(r, at, v, m->words, &word);
		if (!err)
			*(int *)dest = (int)word;
		return err;
	case JSON_FLAGS_:
		return read_flags(r, at, v, m, dest);
	case JSON_OBJECT_:
		return json_read_members(r, at, m->members, v, dest);
	case JSON_NEW_:
		dest = arena_alloc(r->arena, m->size);
		if (!dest)
			return no_memory(r, at);
		*(void **)(void *)(base + m->offset) = dest;
		return json_read_members(r, at, m->members, v, dest);
	case JSON_ARRAY_:
		return read_objects(r, at, v, m, base);
	case JSON_CALL_:
		return m->call(r, at, v, dest);
	default:
		return read_number(r, at, v, m, dest);
	}
}

int json_read_members(struct json_reader *r, const struct json_at *at,
		      const struct json_member *members, const struct json_value *v, void *base)
{
	if (v->type != JSON_TYPE_OBJECT)
		return json_fail(r, at, "expected an object");
	for (const struct json_member *m = members; m->kind != JSON_END_; m++) {
		struct json_at here = { at, m->name, 0 };
		const struct json_value *value = json_tree_member(v, m->name);
		int err;

		if (!value) {
			if (!m->required)
				continue;
			return json_fail(r, &here, "missing");
		}
		err = read_member(r, &here, m, value, base);
		if (err)
			return err;
	}
	return 0;
}

int json_put_string(struct buf *b, const char *s)
{
	buf_addc(b, '"');
	while (*s) {
		size_t plain = 0;

		while ((unsigned char)s[plain] >= 0x20 && s[plain] != '"' && s[plain] != '\\')
			plain++;
		buf_add(b, s, plain);
		s += plain;
		if (!*s)
			break;
		if (*s == '"' || *s == '\\')
			buf_addf(b, "\\%c", *s);
		else if (*s == '\n')
			buf_adds(b, "\\n");
		else
			buf_addf(b, "\\u%04x", (unsigned char)*s);
		s++;
	}
	return buf_addc(b, '"');
}

int json_put_key(struct buf *b, const char *key)
{
	char last = b->len ? b->data[b->len - 1] : '{';

	if (last != '{' && last != '[')
		buf_addc(b, ',');
	json_put_string(b, key);
	return buf_addc(b, ':');
}
