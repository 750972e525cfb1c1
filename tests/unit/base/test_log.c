/* Log lines go where the program said, and nowhere before it said so. */
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/log.h"

static char last[4096];
static int lines;
static enum log_level last_level;

static void keep(enum log_level level, const char *line, void *arg)
{
	assert_ptr_equal(arg, &lines);
	last_level = level;
	lines++;
	snprintf(last, sizeof(last), "%s", line);
}

static int quiet(void **state)
{
	(void)state;
	lines = 0;
	last[0] = '\0';
	log_set_sink(NULL, NULL, LEVEL_ERROR);
	return 0;
}

static void silent_without_a_sink(void **state)
{
	(void)state;
	log_warn("%s", "nobody hears");
	assert_int_equal(lines, 0);
}

static void levels_are_a_ceiling(void **state)
{
	(void)state;
	log_set_sink(keep, &lines, LEVEL_INFO);
	log_warn("limit %d", 7);
	assert_string_equal(last, "limit 7");
	assert_int_equal(last_level, LEVEL_WARN);
	log_info("told");
	log_debug("not told");
	assert_int_equal(lines, 2);
	assert_string_equal(last, "told");
}

static void long_lines_are_cut(void **state)
{
	static char big[5000];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	log_set_sink(keep, &lines, LEVEL_WARN);
	log_warn("%s", big);
	assert_int_equal(strlen(last), 2047);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(silent_without_a_sink, quiet),
		cmocka_unit_test_setup_teardown(levels_are_a_ceiling, quiet, quiet),
		cmocka_unit_test_setup_teardown(long_lines_are_cut, quiet, quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
