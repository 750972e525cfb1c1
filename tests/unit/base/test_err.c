/* Errors as values: wrapped from the inside out, cut at the end, safe to print. */
#include <errno.h>
#include <string.h>

#include "../test.h"
#include "base/err.h"

static void wraps_outward(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_sys(&e, -EAGAIN, "already in use"), -EAGAIN);
	err_wrap(&e, "disk '%s'", "a.img");
	assert_int_equal(err_wrap(&e, "start '%s'", "web1"), -EAGAIN);
	assert_string_equal(
		e.msg,
		"start 'web1': disk 'a.img': already in use: Resource temporarily unavailable");
}

static void long_text_loses_its_end(void **state)
{
	struct err e = ERR_INIT;
	char big[3000];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_set(&e, -EIO, "%s", big);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_wrap(&e, "front");
	assert_int_equal(strncmp(e.msg, "front: xxx", 10), 0);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_wrap(&e, "%s", big);
	assert_true(strlen(e.msg) < sizeof(e.msg));
}

static void control_bytes_are_visible(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, -EINVAL, "name '%s'", "a\x1b[2Jb\nc");
	assert_string_equal(e.msg, "name 'a?[2Jb c'");
}

static void no_error_struct_is_fine(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EPERM, "x"), -EPERM);
	err_wrap(NULL, "y");
	err_clear(NULL);
}

static void forgets(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, -EIO, "x");
	err_clear(&e);
	assert_int_equal(e.code, 0);
	assert_string_equal(e.msg, "");
}

static void a_code_is_always_negative(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&e, 0, "x"), -EINVAL);
	assert_int_equal(err_set(&e, EIO, "x"), -EINVAL);
	assert_int_equal(err_sys(&e, EIO, "x"), -EINVAL);
}

/* What another process sent may be anything. */
static void sanitizes_what_came_through_a_pipe(void **state)
{
	struct err e;

	(void)state;
	memset(&e, 'A', sizeof(e));
	e.code = 17;
	err_sanitize(&e);
	assert_int_equal(e.code, -EPROTO);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_set(&e, -EIO, "fine");
	e.msg[1] = '\x1b';
	err_sanitize(&e);
	assert_int_equal(e.code, -EIO);
	assert_string_equal(e.msg, "f?ne");
	e.code = -4096;
	err_sanitize(&e);
	assert_int_equal(e.code, -EPROTO);
	e.code = 1;
	err_sanitize(&e);
	assert_int_equal(e.code, -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wraps_outward),
		cmocka_unit_test(long_text_loses_its_end),
		cmocka_unit_test(control_bytes_are_visible),
		cmocka_unit_test(no_error_struct_is_fine),
		cmocka_unit_test(forgets),
		cmocka_unit_test(a_code_is_always_negative),
		cmocka_unit_test(sanitizes_what_came_through_a_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
