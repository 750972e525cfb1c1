/* Buffers: the ceiling holds, the first failure sticks, the text stays terminated. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/buf.h"
#include "base/cleanup.h"

static void adds_and_formats(void **state)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(100);

	(void)state;
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_adds(&b, "one "), 0);
	assert_int_equal(buf_addf(&b, "%d-%s", 2, "two"), 0);
	assert_int_equal(buf_addc(&b, '!'), 0);
	assert_int_equal(buf_add(&b, "a\0b", 3), 0);
	assert_int_equal(b.len, 13);
	assert_memory_equal(b.data, "one 2-two!a\0b", 14);
}

static void grows_in_many_steps(void **state)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(1 << 20);

	(void)state;
	for (int i = 0; i < 100000; i++)
		assert_int_equal(buf_addc(&b, (char)('a' + i % 26)), 0);
	assert_int_equal(b.len, 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(b.data[i], 'a' + i % 26);
	assert_int_equal(b.data[b.len], '\0');
}

static void ceiling_is_exact(void **state)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(4);

	(void)state;
	assert_int_equal(buf_adds(&b, "abcd"), 0);
	assert_int_equal(b.len, 4);
	assert_int_equal(buf_addc(&b, 'e'), -EMSGSIZE);
	assert_string_equal(buf_str(&b), "abcd");
}

static void first_failure_sticks(void **state)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(4);

	(void)state;
	assert_int_equal(buf_adds(&b, "too long"), -EMSGSIZE);
	assert_int_equal(buf_adds(&b, "a"), -EMSGSIZE);
	assert_int_equal(buf_addf(&b, "%d", 1), -EMSGSIZE);
	assert_null(buf_reserve(&b, 0));
	assert_null(buf_steal(&b));
	assert_int_equal(b.len, 0);
	buf_clear(&b);
	assert_int_equal(buf_adds(&b, "abc"), 0);
	buf_clear(&b);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_adds(&b, "a"), 0);
	assert_string_equal(buf_str(&b), "a");
}

static void huge_request_does_not_wrap(void **state)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(100);

	(void)state;
	assert_int_equal(buf_adds(&b, "abc"), 0);
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_int_equal(b.error, -EMSGSIZE);
	buf_clear(&b);
	buf_adds(&b, "abc");
	assert_null(buf_reserve(&b, SIZE_MAX - 2));
	assert_int_equal(b.error, -EMSGSIZE);
}

static void consumes_from_the_front(void **state)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(100);

	(void)state;
	buf_consume(&b, 0);
	buf_adds(&b, "header:body");
	buf_consume(&b, 7);
	assert_string_equal(buf_str(&b), "body");
	buf_consume(&b, 4);
	assert_int_equal(b.len, 0);
	assert_string_equal(buf_str(&b), "");
}

static void steals_once(void **state)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(100);

	(void)state;
	cleanup_free char *empty = buf_steal(&b);

	assert_string_equal(empty, "");
	buf_adds(&b, "mine");
	cleanup_free char *text = buf_steal(&b);

	assert_string_equal(text, "mine");
	assert_int_equal(b.len, 0);
	assert_null(b.data);
	assert_int_equal(b.max, 100);
}

static void reserve_alone_leaves_a_string(void **state)
{
	struct buf b = BUF_INIT(8192);
	char *dirt[8];

	(void)state;
	/* Memory that malloc() hands out again is not zero. */
	for (size_t i = 0; i < 8; i++) {
		dirt[i] = malloc(8192);
		assert_non_null(dirt[i]);
		memset(dirt[i], 'x', 8192);
	}
	for (size_t i = 0; i < 8; i++)
		free(dirt[i]);
	assert_non_null(buf_reserve(&b, 4096));
	assert_string_equal(buf_str(&b), "");
	buf_fini(&b);
}

static void reserve_then_commit_less(void **state)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(100);

	(void)state;
	char *p = buf_reserve(&b, 50);

	assert_non_null(p);
	memset(p, 'x', 50);
	buf_commit(&b, 3);
	assert_string_equal(buf_str(&b), "xxx");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adds_and_formats),
		cmocka_unit_test(grows_in_many_steps),
		cmocka_unit_test(ceiling_is_exact),
		cmocka_unit_test(first_failure_sticks),
		cmocka_unit_test(huge_request_does_not_wrap),
		cmocka_unit_test(consumes_from_the_front),
		cmocka_unit_test(steals_once),
		cmocka_unit_test(reserve_alone_leaves_a_string),
		cmocka_unit_test(reserve_then_commit_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
