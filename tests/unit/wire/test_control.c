/* Control packets: what passes, and one broken thing a row. */
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "wire/control.h"

static size_t make(uint8_t *p, const struct control_msg *m)
{
	control_head(m, p);
	if (m->n)
		memcpy(p + CONTROL_HEAD, m->body, m->n);
	return CONTROL_HEAD + m->n;
}

static void a_message_comes_back(void **state)
{
	const struct control_msg m = { .type = CONTROL_STDIN, .body = "hello", .n = 5 };
	uint8_t p[64];
	struct control_msg got;
	size_t n = make(p, &m);

	(void)state;
	assert_int_equal(control_parse(p, n, 1, &got, NULL), 0);
	assert_int_equal(got.type, CONTROL_STDIN);
	assert_int_equal(got.n, 5);
	assert_memory_equal(got.body, "hello", 5);
}

static void broken_ones_are_refused(void **state)
{
	static const struct {
		struct control_msg m;
		int to_keeper;
		int cut; /* bytes taken off the end */
	} rows[] = {
		{ { .type = 0 }, 1, 0 },
		{ { .type = (enum control_type)200 }, 1, 0 },
		{ { .type = CONTROL_STARTED, .a = 1 }, 1, 0 }, /* the keeper's word */
		{ { .type = CONTROL_START }, 0, 0 },	       /* a client's word */
		{ { .type = CONTROL_START, .flags = 1 }, 1, 0 },
		{ { .type = CONTROL_HELLO, .a = 7, .b = 1 }, 1, 0 },
		{ { .type = CONTROL_SIGNAL, .a = 0 }, 1, 0 },
		{ { .type = CONTROL_SIGNAL, .a = 65 }, 1, 0 },
		{ { .type = CONTROL_RESIZE, .a = 65536 }, 1, 0 },
		{ { .type = CONTROL_WAIT, .a = 2 }, 1, 0 },
		{ { .type = CONTROL_EXIT, .a = 256 }, 0, 0 },
		{ { .type = CONTROL_WAIT, .body = "x", .n = 1 }, 1, 0 },
		{ { .type = CONTROL_STDIN, .body = "abc", .n = 3 }, 1, 1 },
		{ { .type = CONTROL_START }, 1, 1 },
	};
	uint8_t p[64];
	struct control_msg got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = ERR_INIT;
		size_t n = make(p, &rows[i].m) - (size_t)rows[i].cut;

		if (control_parse(p, n, rows[i].to_keeper, &got, &e) != -71 || !e.msg[0])
			fail_msg("row %zu passed", i);
	}
}

static void a_start_comes_back(void **state)
{
	const struct control_start s = { .flags = 5,
					 .policy = CONTROL_POLICY_ON_FAILURE,
					 .retries = 3,
					 .log_max_file = 2,
					 .log_max_size = 1 << 20,
					 .timeout_ms = 9,
					 .log = "/log" };
	uint8_t body[CONTROL_START_MAX];
	struct control_start got;
	size_t n = control_start_pack(&s, body);

	(void)state;
	assert_int_equal(control_start_parse(body, n, &got, NULL), 0);
	assert_int_equal(got.flags, 5);
	assert_int_equal(got.policy, CONTROL_POLICY_ON_FAILURE);
	assert_int_equal(got.retries, 3);
	assert_int_equal(got.log_max_file, 2);
	assert_int_equal(got.log_max_size, 1 << 20);
	assert_int_equal(got.timeout_ms, 9);
	assert_string_equal(got.log, "/log");
}

static void broken_starts_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
		int cut;
	} rows[] = {
		{ 0, 16, 0 },	/* a flag that is none */
		{ 4, 4, 0 },	/* a policy that is none */
		{ 12, 0, 0 },	/* no log file at all */
		{ 31, 255, 0 }, /* a time beyond all bounds */
		{ 32, 'l', 0 }, /* a relative log */
		{ 34, 0, 0 },	/* a path that ends early */
		{ 36, 'x', 0 }, /* one that does not end */
		{ 0, 5, 5 },	/* nothing of it */
	};
	const struct control_start s = { .flags = 5, .log_max_file = 2, .log = "/log" };
	uint8_t body[CONTROL_START_MAX];
	struct control_start got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t n = control_start_pack(&s, body);
		struct err e = ERR_INIT;

		body[rows[i].at] = rows[i].byte;
		if (control_start_parse(body, n - (size_t)rows[i].cut, &got, &e) != -71 ||
		    !e.msg[0])
			fail_msg("row %zu passed", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_comes_back),
		cmocka_unit_test(broken_ones_are_refused),
		cmocka_unit_test(a_start_comes_back),
		cmocka_unit_test(broken_starts_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
