/* JSON trees in an arena: RFC 8259's forms, and texts that break off or go wrong. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "wire/jsontree.h"

struct doc {
	struct arena arena;
	struct json_value top;
	struct err e;
	int status;
};

static struct doc *read_doc(const char *text, size_t n)
{
	static struct doc d;
	char *exact = malloc(n ? n : 1); /* the sanitizers see a byte too far */

	arena_fini(&d.arena);
	d = (struct doc){ .arena = ARENA_INIT(1 << 20), .e = ERR_INIT };
	memcpy(exact, text, n);
	d.status = json_tree_parse(exact, n, 1 << 16, "config.json", &d.arena, &d.top, &d.e);
	free(exact);
	return &d;
}

static const struct json_value *value(const char *json)
{
	char text[512];

	snprintf(text, sizeof(text), " { \"v\" : %s }\n", json);
	struct doc *d = read_doc(text, strlen(text));

	if (d->status < 0)
		print_error("%s: %s\n", json, d->e.msg);
	assert_int_equal(d->status, 0);
	return json_tree_member(&d->top, "v");
}

static void refuses(const char *text, size_t n, const char *says)
{
	struct doc *d = read_doc(text, n);

	if (d->status >= 0)
		print_error("accepted: %s\n", text);
	assert_true(d->status < 0);
	if (!strstr(d->e.msg, says))
		print_error("%s: '%s', not '%s'\n", text, d->e.msg, says);
	assert_non_null(strstr(d->e.msg, says));
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		int64_t value;
		bool huge;
	} whole[] = {
		{ "0", 0, false },
		{ "-0", 0, false },
		{ "-1", -1, false },
		{ "9223372036854775807", INT64_MAX, false },
		{ "-9223372036854775808", INT64_MIN, false },
		{ "9223372036854775808", INT64_MIN, true },
		{ "18446744073709551615", -1, true },
	};
	static const char *const other[] = {
		"0.5", "1e3", "-2E-7", "1.25e+9", "18446744073709551616", "-9223372036854775809"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		const struct json_value *v = value(whole[i].text);

		assert_int_equal(v->type, JSON_TYPE_INTEGER);
		assert_true(v->integer == whole[i].value);
		assert_int_equal(v->huge, whole[i].huge);
	}
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		const struct json_value *v = value(other[i]);

		assert_int_equal(v->type, JSON_TYPE_NUMBER);
		assert_string_equal(v->string, other[i]);
	}
}

static void strings(void **state)
{
	static const struct {
		const char *text, *means;
	} rows[] = {
		{ "\"\"", "" },
		{ "\"plain \xc3\xa4\"", "plain \xc3\xa4" },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
		{ "\"\\u0041\\u00e4\\u20AC\"", "A\xc3\xa4\xe2\x82\xac" },
		{ "\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!" },
		{ "\"\\ud83dx\"", "\xef\xbf\xbdx" },
		{ "\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\"\\ud83d\\u0041\"", "\xef\xbf\xbd\x41" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct json_value *v = value(rows[i].text);

		assert_int_equal(v->type, JSON_TYPE_STRING);
		assert_int_equal(v->n, strlen(rows[i].means));
		assert_string_equal(v->string, rows[i].means);
	}
	const struct json_value *v = value("\"a\\u0000b\"");

	assert_int_equal(v->n, 3);
	assert_memory_equal(v->string, "a\0b", 4);
}

static void lists_and_words(void **state)
{
	const struct json_value *v = value("[ true, false , null,[],{} ,\"x\"]");

	(void)state;
	assert_int_equal(v->type, JSON_TYPE_ARRAY);
	assert_int_equal(v->n, 6);
	assert_true(v->items[0].boolean);
	assert_false(v->items[1].boolean);
	assert_int_equal(v->items[2].type, JSON_TYPE_NULL);
	assert_int_equal(v->items[3].n, 0);
	assert_int_equal(v->items[4].type, JSON_TYPE_OBJECT);
	assert_string_equal(v->items[5].string, "x");
	assert_null(json_tree_member(v, "v"));
	assert_null(json_tree_member(NULL, "v"));
	assert_null(value("null"));
}

/* What names a thing twice means the later one, whatever stands between and however many there are. */
static void the_last_member_counts(void **state)
{
	const struct json_value *v = value("{\"a\":1,\"b\":2,\"a\":3,\"c\":4,\"a\":5,\"b\":6}");

	(void)state;
	assert_int_equal(v->n, 3);
	assert_int_equal(json_tree_member(v, "a")->integer, 5);
	assert_int_equal(json_tree_member(v, "b")->integer, 6);
	assert_int_equal(json_tree_member(v, "c")->integer, 4);
	assert_string_equal(v->members[0].key, "c");
}

static void prints_what_it_read(void **state)
{
	static const char text[] = "{\"a\":[1,-2,18446744073709551615,1.5e3,true,null,{\"b\":"
				   "\"x\\ny\\\"\"},[]],\"c\":{}}";
	struct buf b = BUF_INIT(4096);
	struct doc *d = read_doc(text, strlen(text));

	(void)state;
	assert_int_equal(d->status, 0);
	json_tree_print(&b, &d->top);
	buf_addc(&b, '\0');
	assert_string_equal(b.data, text);
	buf_fini(&b);
}

static void refuses_what_is_no_json(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "[]", "expected an object" },
		{ "{} x", "byte 3: something after the end" },
		{ "{\"a\" 1}", "expected ':'" },
		{ "{\"a\":1 \"b\":2}", "expected ',' or '}'" },
		{ "{\"a\":[1 2]}", "expected ',' or ']'" },
		{ "{\"a\":[1,]}", "unexpected character" },
		{ "{\"a\":1,}", "expected the name of a member" },
		{ "{a:1}", "expected the name of a member" },
		{ "{\"a\":'x'}", "unexpected character" },
		{ "{/**/}", "expected the name of a member" },
		{ "{\"a\":01}", "byte 6: not JSON: bad number" },
		{ "{\"a\":-}", "bad number" },
		{ "{\"a\":1.}", "bad number" },
		{ "{\"a\":1e}", "bad number" },
		{ "{\"a\":.5}", "unexpected character" },
		{ "{\"a\":nul}", "unexpected character" },
		{ "{\"a\":\"\\x\"}", "unknown escape" },
		{ "{\"a\":\"\\u12g4\"}", "bad digit after \\u" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refuses(rows[i].text, strlen(rows[i].text), rows[i].says);
	refuses("{\"a\":\0}", 7, "unexpected character");
}

/* Cut anywhere, a document ends in the middle; nothing behind its end is read. */
static void ends_in_the_middle(void **state)
{
	static const char text[] = "{\"a\":[true,\"\\ud83d\\ude00\\n\"],\"b\":{\"c\":null}}";

	(void)state;
	assert_int_equal(read_doc(text, strlen(text))->status, 0);
	for (size_t n = 0; n < strlen(text); n++)
		refuses(text, n, "ends in the middle");
}

static void bounds(void **state)
{
	static char text[1 << 17];
	struct arena tiny = ARENA_INIT(4096);
	struct json_value v;
	struct err e = ERR_INIT;
	size_t n;

	(void)state;
	for (unsigned depth = 31; depth <= 32; depth++) {
		n = (size_t)snprintf(text, sizeof(text), "{\"a\":");
		memset(text + n, '[', depth);
		memset(text + n + depth, ']', depth);
		text[n + 2 * depth] = '}';
		assert_int_equal(read_doc(text, n + 2 * depth + 1)->status,
				 depth == 31 ? 0 : -EINVAL);
	}
	n = (size_t)snprintf(text, sizeof(text), "{\"a\":[");
	memset(text + n, ' ', sizeof(text) - n);
	refuses(text, sizeof(text), "larger than 65536 bytes");
	for (size_t i = n; i + 2 < 1 << 12; i += 2)
		memcpy(text + i, "0,", 2);
	memcpy(text + (1 << 12) - 3, "0]}", 3);
	assert_int_equal(json_tree_parse(text, 1 << 12, 1 << 16, "x", &tiny, &v, &e), -ENOMEM);
	assert_string_equal(e.msg, "x: too large");
	arena_fini(&tiny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(strings),
		cmocka_unit_test(lists_and_words),
		cmocka_unit_test(the_last_member_counts),
		cmocka_unit_test(prints_what_it_read),
		cmocka_unit_test(refuses_what_is_no_json),
		cmocka_unit_test(ends_in_the_middle),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
