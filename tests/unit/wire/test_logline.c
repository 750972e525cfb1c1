/* Lines of docker's json-file, both ways; RFC 3339 times. */
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "wire/logline.h"

static void written_as_docker_does(void **state)
{
	const struct logline l = { .text = "a\"b\\c\t\x01\n", .n = 8, .time = { 1700000000, 5 } };
	struct buf b = BUF_INIT(4096);

	(void)state;
	assert_int_equal(logline_add(&b, &l), 0);
	assert_string_equal(b.data, "{\"log\":\"a\\\"b\\\\c\\t\\u0001\\n\",\"stream\":\"stdout\","
				    "\"time\":\"2023-11-14T22:13:20.000000005Z\"}\n");
	buf_fini(&b);
}

static void every_byte_survives_or_is_replaced(void **state)
{
	struct buf b = BUF_INIT(4096), scratch = BUF_INIT(4096);
	struct logline l = { .stderr_ = true, .time = { 5, 6 } }, got;
	char text[128];

	(void)state;
	for (int i = 0; i < 128; i++)
		text[i] = (char)i;
	l.text = text;
	l.n = sizeof(text);
	assert_int_equal(logline_add(&b, &l), 0);
	assert_int_equal(logline_parse(b.data, b.len - 1, &scratch, &got), 0);
	assert_int_equal(got.n, sizeof(text));
	assert_memory_equal(got.text, text, sizeof(text));
	assert_true(got.stderr_);
	assert_int_equal(got.time.tv_sec, 5);
	assert_int_equal(got.time.tv_nsec, 6);
	buf_clear(&b);
	l.text = "\xc3\xa4\xff\xe2\x82";
	l.n = 5;
	assert_int_equal(logline_add(&b, &l), 0);
	assert_int_equal(logline_parse(b.data, b.len - 1, &scratch, &got), 0);
	assert_int_equal(got.n, 2 + 3 * 3);
	buf_fini(&b);
	buf_fini(&scratch);
}

static void broken_lines_are_refused(void **state)
{
	static const char *const rows[] = {
		"",
		"{",
		"{}",
		"[]",
		"{\"log\":\"x\"}",
		"{\"log\":\"x\",\"time\":\"never\"}",
		"{\"log\":\"x,\"time\":\"2023-11-14T22:13:20Z\"}",
		"{\"log\":\"\\q\",\"time\":\"2023-11-14T22:13:20Z\"}",
		"{\"log\":\"\\u12\",\"time\":\"2023-11-14T22:13:20Z\"}",
		"{\"log\" \"x\",\"time\":\"2023-11-14T22:13:20Z\"}",
		"{\"log\":\"x\" \"time\":\"2023-11-14T22:13:20Z\"}",
		"{\"log\":5,\"time\":\"2023-11-14T22:13:20Z\"}",
	};
	struct buf scratch = BUF_INIT(4096);
	struct logline got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (logline_parse(rows[i], strlen(rows[i]), &scratch, &got) == 0)
			fail_msg("row %zu passed", i);
	buf_fini(&scratch);
}

static void times_both_ways(void **state)
{
	static const struct {
		const char *s;
		int64_t sec;
		long ns;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0, 0 },
		{ "2023-11-14T22:13:20.5Z", 1700000000, 500000000 },
		{ "2023-11-14T23:13:20+01:00", 1700000000, 0 },
		{ "2023-11-14", 1699920000, 0 },
		{ "2023-11-14T22:13", 1699999980, 0 },
	};
	static const char *const bad[] = {
		"",	      "2023", "2023-13-01", "2023-11-14T25:00:00", "2023-11-14T22:13:20+1",
		"2023-11-14x"
	};
	struct timespec t;
	char out[31];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(time_rfc3339_parse(rows[i].s, strlen(rows[i].s), &t), 0);
		assert_int_equal(t.tv_sec, rows[i].sec);
		assert_int_equal(t.tv_nsec, rows[i].ns);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(time_rfc3339_parse(bad[i], strlen(bad[i]), &t), -22);
	time_rfc3339_format((struct timespec){ -62135596800, 0 }, out);
	assert_string_equal(out, "0001-01-01T00:00:00.000000000Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_as_docker_does),
		cmocka_unit_test(every_byte_survives_or_is_replaced),
		cmocka_unit_test(broken_lines_are_refused),
		cmocka_unit_test(times_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
