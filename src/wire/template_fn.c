/*
 * The functions of --format templates, one row each in the table at the end.
 *
 * Trust: the template and the data are the user's; sizes are bounded by the output buffer.
 * Threads: none. #syscalls: none
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "wire/template_int.h"

enum { TEXT_MAX = 1 << 20 };

bool template_truth(json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_null:
		return false;
	case json_type_boolean:
		return json_object_get_boolean(v);
	case json_type_int:
		return json_object_get_int64(v) != 0;
	case json_type_double:
		return json_object_get_double(v) < 0 || json_object_get_double(v) > 0;
	case json_type_string:
		return json_object_get_string_len(v) > 0;
	case json_type_array:
		return json_object_array_length(v) > 0;
	case json_type_object:
		return json_object_object_length(v) > 0;
	}
	return false;
}

static int print_array(struct buf *b, json_object *v)
{
	buf_addc(b, '[');
	for (size_t i = 0; i < json_object_array_length(v); i++) {
		if (i)
			buf_addc(b, ' ');
		template_print(b, json_object_array_get_idx(v, i));
	}
	return buf_addc(b, ']');
}

static int print_object(struct buf *b, json_object *v)
{
	bool first = true;

	buf_adds(b, "map[");
	json_object_object_foreach(v, key, member)
	{
		if (!first)
			buf_addc(b, ' ');
		first = false;
		buf_adds(b, key);
		buf_addc(b, ':');
		template_print(b, member);
	}
	return buf_addc(b, ']');
}

int template_print(struct buf *b, json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_null:
		return buf_adds(b, "<no value>");
	case json_type_string:
		return buf_add(b, json_object_get_string(v), (size_t)json_object_get_string_len(v));
	case json_type_array:
		return print_array(b, v);
	case json_type_object:
		return print_object(b, v);
	default:
		return buf_adds(b, json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN));
	}
}

/* The buffer's text as a string value. */
static int give(struct buf *b, json_object **out, struct err *e)
{
	int r = b->error;

	if (!r)
		*out = json_object_new_string_len(buf_str(b), (int)b->len);
	buf_fini(b);
	return r ? err_sys(e, r, "result") : 0;
}

static int fn_json(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	const char *s = json_object_to_json_string_ext(
		args[0], JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	(void)n, (void)e;
	*out = json_object_new_string(s ? s : "null");
	return 0;
}

static int index_one(json_object *v, json_object *key, json_object **out, struct err *e)
{
	if (json_object_is_type(v, json_type_array)) {
		int64_t i = json_object_get_int64(key);

		if (!json_object_is_type(key, json_type_int) || i < 0 ||
		    (size_t)i >= json_object_array_length(v))
			return err_set(e, -EINVAL, "index: out of range");
		*out = json_object_array_get_idx(v, (size_t)i);
		return 0;
	}
	if (json_object_is_type(v, json_type_object)) {
		if (!json_object_is_type(key, json_type_string))
			return err_set(e, -EINVAL, "index: a map's key is a string");
		*out = NULL;
		json_object_object_get_ex(v, json_object_get_string(key), out);
		return 0;
	}
	if (!v) {
		*out = NULL;
		return 0;
	}
	return err_set(e, -EINVAL, "index: neither a list nor a map");
}

static int fn_index(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	json_object *v = args[0];

	for (size_t i = 1; i < n; i++) {
		int r = index_one(v, args[i], &v, e);

		if (r)
			return r;
	}
	/* A missing entry of a map of strings is "" in Go. */
	*out = v ? json_object_get(v) : json_object_new_string("");
	return 0;
}

static int fn_len(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	size_t len = 0;

	(void)n;
	switch (json_object_get_type(args[0])) {
	case json_type_array:
		len = json_object_array_length(args[0]);
		break;
	case json_type_object:
		len = (size_t)json_object_object_length(args[0]);
		break;
	case json_type_string:
		len = (size_t)json_object_get_string_len(args[0]);
		break;
	case json_type_null:
		break;
	default:
		return err_set(e, -EINVAL, "len: not a list, a map or a string");
	}
	*out = json_object_new_int64((int64_t)len);
	return 0;
}

static int fn_join(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	struct buf b = BUF_INIT(TEXT_MAX);

	(void)n;
	if (args[0] && !json_object_is_type(args[0], json_type_array))
		return err_set(e, -EINVAL, "join: not a list");
	for (size_t i = 0; args[0] && i < json_object_array_length(args[0]); i++) {
		if (i)
			template_print(&b, args[1]);
		template_print(&b, json_object_array_get_idx(args[0], i));
	}
	return give(&b, out, e);
}

static int fn_split(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	const char *s = json_object_get_string(args[0]), *sep = json_object_get_string(args[1]);

	(void)n;
	if (!s || !sep || !*sep)
		return err_set(e, -EINVAL, "split: two strings are needed");
	*out = json_object_new_array();
	for (const char *at; (at = strstr(s, sep)); s = at + strlen(sep))
		json_object_array_add(*out, json_object_new_string_len(s, (int)(at - s)));
	json_object_array_add(*out, json_object_new_string(s));
	return 0;
}

static int change_case(json_object *v, json_object **out, int (*first)(int), int (*rest)(int),
		       struct err *e)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	bool start = true;

	template_print(&b, v);
	for (size_t i = 0; i < b.len; i++) {
		unsigned char c = (unsigned char)b.data[i];

		if (first && start)
			b.data[i] = (char)first(c);
		else if (rest)
			b.data[i] = (char)rest(c);
		start = isspace(c);
	}
	return give(&b, out, e);
}

static int fn_upper(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	(void)n;
	return change_case(args[0], out, toupper, toupper, e);
}

static int fn_lower(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	(void)n;
	return change_case(args[0], out, tolower, tolower, e);
}

static int fn_title(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	(void)n;
	return change_case(args[0], out, toupper, NULL, e);
}

static int fn_truncate(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	int64_t max = json_object_get_int64(args[1]);

	(void)n;
	template_print(&b, args[0]);
	if (max >= 0 && b.len > (size_t)max) {
		b.len = (size_t)max;
		b.data[b.len] = '\0';
	}
	return give(&b, out, e);
}

static int fn_print(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	struct buf b = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < n; i++)
		template_print(&b, args[i]);
	return give(&b, out, e);
}

static int fn_println(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	struct buf b = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_addc(&b, ' ');
		template_print(&b, args[i]);
	}
	buf_addc(&b, '\n');
	return give(&b, out, e);
}

/* One value by its verb; `width` as in C. */
static int print_verb(struct buf *b, char verb, int width, json_object *v)
{
	struct buf one = BUF_INIT(TEXT_MAX);

	if (verb == 'q') {
		json_object *quoted = NULL;

		fn_json(&v, 1, &quoted, NULL);
		template_print(&one, quoted);
		json_object_put(quoted);
	} else {
		template_print(&one, v);
	}
	int pad = (width < 0 ? -width : width) - (int)one.len;

	for (int i = 0; width > 0 && i < pad; i++)
		buf_addc(b, ' ');
	buf_add(b, buf_str(&one), one.len);
	for (int i = 0; width < 0 && i < pad; i++)
		buf_addc(b, ' ');
	buf_fini(&one);
	return b->error;
}

static int fn_printf(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	size_t next = 1;

	for (const char *p = json_object_get_string(args[0]); p && *p; p++) {
		int width = 0;

		if (*p != '%') {
			buf_addc(&b, *p);
			continue;
		}
		p++;
		bool left = *p == '-';

		for (p += left; isdigit((unsigned char)*p) && width < 1000; p++)
			width = width * 10 + (*p - '0');
		if (*p == '%') {
			buf_addc(&b, '%');
		} else if (*p && strchr("svdqtgfx", *p) && next < n) {
			print_verb(&b, *p, left ? -width : width, args[next++]);
		} else {
			buf_fini(&b);
			return err_set(e, -EINVAL, "printf: bad verb or too few values");
		}
	}
	return give(&b, out, e);
}

static int compare(json_object *a, json_object *b)
{
	bool numbers = (json_object_is_type(a, json_type_int) ||
			json_object_is_type(a, json_type_double)) &&
		       (json_object_is_type(b, json_type_int) ||
			json_object_is_type(b, json_type_double));

	if (numbers) {
		double x = json_object_get_double(a), y = json_object_get_double(b);

		return x < y ? -1 : x > y;
	}
	const char *s = json_object_get_string(a), *t = json_object_get_string(b);

	return strcmp(s ? s : "", t ? t : "");
}

static int give_bool(bool v, json_object **out)
{
	*out = json_object_new_boolean(v);
	return 0;
}

static int fn_eq(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	bool any = false;

	(void)e;
	for (size_t i = 1; i < n; i++)
		any |= compare(args[0], args[i]) == 0;
	return give_bool(any, out);
}

static int fn_ne(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	(void)n, (void)e;
	return give_bool(compare(args[0], args[1]) != 0, out);
}

static int fn_lt(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	(void)n, (void)e;
	return give_bool(compare(args[0], args[1]) < 0, out);
}

static int fn_gt(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	(void)n, (void)e;
	return give_bool(compare(args[0], args[1]) > 0, out);
}

static int fn_not(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	(void)n, (void)e;
	return give_bool(!template_truth(args[0]), out);
}

static int fn_and(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	size_t i = 0;

	(void)e;
	while (i + 1 < n && template_truth(args[i]))
		i++;
	*out = json_object_get(args[i]);
	return 0;
}

static int fn_or(json_object *const *args, size_t n, json_object **out, struct err *e)
{
	size_t i = 0;

	(void)e;
	while (i + 1 < n && !template_truth(args[i]))
		i++;
	*out = json_object_get(args[i]);
	return 0;
}

static const struct template_function functions[] = {
	{ "and", 1, ARGS_MAX, fn_and },
	{ "eq", 2, ARGS_MAX, fn_eq },
	{ "gt", 2, 2, fn_gt },
	{ "index", 1, ARGS_MAX, fn_index },
	{ "join", 2, 2, fn_join },
	{ "json", 1, 1, fn_json },
	{ "len", 1, 1, fn_len },
	{ "lower", 1, 1, fn_lower },
	{ "lt", 2, 2, fn_lt },
	{ "ne", 2, 2, fn_ne },
	{ "not", 1, 1, fn_not },
	{ "or", 1, ARGS_MAX, fn_or },
	{ "print", 0, ARGS_MAX, fn_print },
	{ "printf", 1, ARGS_MAX, fn_printf },
	{ "println", 0, ARGS_MAX, fn_println },
	{ "split", 2, 2, fn_split },
	{ "title", 1, 1, fn_title },
	{ "truncate", 2, 2, fn_truncate },
	{ "upper", 1, 1, fn_upper },
};

const struct template_function *template_function_find(const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		if (strlen(functions[i].name) == n && memcmp(functions[i].name, name, n) == 0)
			return &functions[i];
	return NULL;
}
