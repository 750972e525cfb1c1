/* An instance's log: lines, pieces, rotation, tail, time bounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../test.h"
#include "run/log.h"

struct seen {
	char text[65536];
	size_t lines;
};

static char dir[64], path[96];

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-log-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	log_remove(path);
	return rmdir(dir);
}

static int collect(void *arg, const struct logline *l)
{
	struct seen *s = arg;
	size_t at = strlen(s->text);

	snprintf(s->text + at, sizeof(s->text) - at, "%s%.*s", l->stderr_ ? "!" : "", (int)l->n,
		 l->text);
	s->lines++;
	return 0;
}

static void read_back(struct seen *s, int64_t tail)
{
	const struct log_filter want = { .tail = tail };
	struct log_reader r;

	*s = (struct seen){ .lines = 0 };
	assert_int_equal(log_reader_open(&r, path, &want, collect, s, NULL), 0);
	assert_int_equal(log_reader_run(&r, NULL), 0);
	log_reader_close(&r);
}

static void put(struct logfile *l, bool err, const char *s)
{
	assert_int_equal(logfile_write(l, err, s, strlen(s)), 0);
}

static void lines_come_back(void **state)
{
	struct logfile l;
	struct seen s;

	(void)state;
	assert_int_equal(logfile_open(&l, path, 0, 1, NULL), 0);
	put(&l, false, "one\ntw");
	put(&l, true, "bad\n");
	put(&l, false, "o\nthree");
	logfile_close(&l);
	read_back(&s, -1);
	assert_string_equal(s.text, "one\n!bad\ntwo\nthree");
}

static void tail_counts_lines(void **state)
{
	struct logfile l;
	struct seen s;

	(void)state;
	assert_int_equal(logfile_open(&l, path, 0, 1, NULL), 0);
	put(&l, false, "1\n2\n3\n4\n");
	logfile_close(&l);
	read_back(&s, 2);
	assert_string_equal(s.text, "3\n4\n");
	read_back(&s, 0);
	assert_string_equal(s.text, "");
	read_back(&s, 4);
	assert_string_equal(s.text, "1\n2\n3\n4\n");
	read_back(&s, 100);
	assert_string_equal(s.text, "1\n2\n3\n4\n");
}

static void rotation_keeps_the_newest(void **state)
{
	struct logfile l;
	struct seen s;
	char line[128];

	(void)state;
	assert_int_equal(logfile_open(&l, path, 1000, 3, NULL), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(line, sizeof(line), "line %d\n", i);
		put(&l, false, line);
	}
	logfile_close(&l);
	read_back(&s, -1);
	assert_true(s.lines > 20 && s.lines < 45);
	assert_non_null(strstr(s.text, "line 99\n"));
	read_back(&s, 20);
	assert_int_equal(s.lines, 20);
	assert_int_equal(strncmp(s.text, "line 80\n", 8), 0);
	snprintf(line, sizeof(line), "%s.3", path);
	assert_int_equal(access(line, F_OK), -1);
}

static void long_lines_come_in_pieces(void **state)
{
	static char big[40001];
	struct logfile l;
	struct seen s;

	(void)state;
	memset(big, 'x', sizeof(big) - 2);
	big[sizeof(big) - 2] = '\n';
	assert_int_equal(logfile_open(&l, path, 0, 1, NULL), 0);
	put(&l, false, big);
	logfile_close(&l);
	read_back(&s, -1);
	assert_int_equal(s.lines, 3);
	assert_string_equal(s.text, big);
}

static void a_torn_line_is_skipped(void **state)
{
	struct logfile l;
	struct seen s;
	FILE *f;

	(void)state;
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("{\"log\":\"half\n", f);
	fclose(f);
	assert_int_equal(logfile_open(&l, path, 0, 1, NULL), 0);
	put(&l, false, "whole\n");
	logfile_close(&l);
	read_back(&s, -1);
	assert_string_equal(s.text, "whole\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines_come_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tail_counts_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(rotation_keeps_the_newest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(long_lines_come_in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_torn_line_is_skipped, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
