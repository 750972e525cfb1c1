/* Numbers as people write them: the whole string or nothing. One row breaks one thing. */
#include <errno.h>
#include <string.h>

#include "../test.h"
#include "base/str.h"
#include "base/util.h"

static void prefix_and_suffix(void **state)
{
	(void)state;
	assert_string_equal(str_after("foo=bar", "foo="), "bar");
	assert_string_equal(str_after("foo", ""), "foo");
	assert_null(str_after("fo", "foo"));
	assert_true(str_ends("a.tar.gz", ".gz"));
	assert_true(str_ends("x", ""));
	assert_false(str_ends("z", "xyz"));
}

static void whole_numbers(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} rows[] = {
		{ "0", 0, 0 },
		{ "007", 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "12a", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t v = 42;

		assert_int_equal(str_to_u64(rows[i].text, &v), rows[i].result);
		assert_true(v == (rows[i].result ? 42 : rows[i].value));
	}
}

static void signed_numbers(void **state)
{
	int64_t v = 0;

	(void)state;
	assert_int_equal(str_to_i64("-9223372036854775808", &v), 0);
	assert_true(v == INT64_MIN);
	assert_int_equal(str_to_i64("9223372036854775807", &v), 0);
	assert_true(v == INT64_MAX);
	assert_int_equal(str_to_i64("9223372036854775808", &v), -ERANGE);
	assert_int_equal(str_to_i64("-9223372036854775809", &v), -ERANGE);
	assert_int_equal(str_to_i64("--1", &v), -EINVAL);
	assert_int_equal(str_to_i64("-", &v), -EINVAL);
	assert_true(v == INT64_MAX);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} rows[] = {
		{ "100", 0, 100 },	     { "100b", 0, 100 },
		{ "64k", 0, 65536 },	     { "512m", 0, 512ull << 20 },
		{ "512M", 0, 512ull << 20 }, { "1.5GiB", 0, 3ull << 29 },
		{ "2gb", 0, 2ull << 30 },    { "1t", 0, 1ull << 40 },
		{ "15p", 0, 15ull << 50 },   { "20000p", -ERANGE, 0 },
		{ "m", -EINVAL, 0 },	     { "1.", -EINVAL, 0 },
		{ ".5m", -EINVAL, 0 },	     { "1bb", -EINVAL, 0 },
		{ "1kk", -EINVAL, 0 },	     { "1 m", -EINVAL, 0 },
		{ "-1m", -EINVAL, 0 },	     { "", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t v = 42;

		assert_int_equal(str_to_size(rows[i].text, &v), rows[i].result);
		if (!rows[i].result)
			assert_true(v == rows[i].value);
	}
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t ns;
	} rows[] = {
		{ "10", 0, 10000000000 },
		{ "0", 0, 0 },
		{ "1.5s", 0, 1500000000 },
		{ "200ms", 0, 200000000 },
		{ "3us", 0, 3000 },
		{ "7ns", 0, 7 },
		{ "1m", 0, 60000000000 },
		{ "1h30m", 0, 5400000000000 },
		{ "1m30", -EINVAL, 0 },
		{ "1d", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "1sm", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "99999999999h", -ERANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t v = 42;

		assert_int_equal(str_to_duration(rows[i].text, &v), rows[i].result);
		if (!rows[i].result)
			assert_true(v == rows[i].ns);
	}
}

static void booleans(void **state)
{
	bool b = false;

	(void)state;
	assert_int_equal(str_to_bool("yes", &b), 0);
	assert_true(b);
	assert_int_equal(str_to_bool("off", &b), 0);
	assert_false(b);
	assert_int_equal(str_to_bool("maybe", &b), -EINVAL);
	assert_int_equal(str_to_bool("", &b), -EINVAL);
}

static void distances(void **state)
{
	(void)state;
	assert_int_equal(str_distance("", ""), 0);
	assert_int_equal(str_distance("run", "run"), 0);
	assert_int_equal(str_distance("verson", "version"), 1);
	assert_int_equal(str_distance("rnu", "run"), 1);
	assert_int_equal(str_distance("kitten", "sitting"), 3);
	assert_int_equal(str_distance("", "abc"), 3);
	char big[65];

	memset(big, 'x', 64);
	big[64] = '\0';
	assert_true(str_distance(big, "x") == SIZE_MAX);
	assert_true(str_distance("x", big) == SIZE_MAX);
	assert_int_equal(str_distance(big + 1, big + 1), 0);
	assert_int_equal(str_slips_allowed("ps"), 0);
	assert_int_equal(str_slips_allowed("start"), 1);
	assert_int_equal(str_slips_allowed("restart"), 2);
}

static void lists_own_their_strings(void **state)
{
	struct strlist l = { 0 };
	char text[] = "first";

	(void)state;
	assert_false(strlist_has(&l, "first"));
	assert_int_equal(strlist_add(&l, text), 0);
	text[0] = 'X';
	assert_int_equal(strlist_add(&l, "second"), 0);
	assert_int_equal(l.n, 2);
	assert_string_equal(l.v[0], "first");
	assert_null(l.v[2]);
	assert_true(strlist_has(&l, "second"));
	assert_false(strlist_has(&l, "secon"));
	strlist_fini(&l);
	assert_null(l.v);
	strlist_fini(&l);
}

static void sets_of_numbers(void **state)
{
	static const struct {
		const char *list;
		int bytes;
		uint8_t set[2];
	} rows[] = {
		{ "0", 1, { 1, 0 } },	     { "0-3,7", 1, { 0x8f, 0 } },
		{ "8", 2, { 0, 1 } },	     { "1,15", 2, { 2, 0x80 } },
		{ "", -EINVAL, { 0 } },	     { "a", -EINVAL, { 0 } },
		{ "3-1", -EINVAL, { 0 } },   { "16", -EINVAL, { 0 } },
		{ "1,", -EINVAL, { 2, 0 } }, { "1-", -EINVAL, { 0 } },
		{ "1 2", -EINVAL, { 0 } },   { "-1", -EINVAL, { 0 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t set[2] = { 0 };

		assert_int_equal(str_to_set(rows[i].list, set, 16), rows[i].bytes);
		assert_memory_equal(set, rows[i].set, 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefix_and_suffix),
		cmocka_unit_test(whole_numbers),
		cmocka_unit_test(signed_numbers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(durations),
		cmocka_unit_test(booleans),
		cmocka_unit_test(distances),
		cmocka_unit_test(sets_of_numbers),
		cmocka_unit_test(lists_own_their_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
