/* Detach keys as they are typed, signal names as people write them. */
#include <signal.h>
#include <string.h>

#include "../test.h"
#include "run/detach.h"

static struct detach_keys keys(const char *s)
{
	struct detach_keys d;

	assert_int_equal(detach_keys_parse(&d, s, NULL), 0);
	return d;
}

static void the_sequence_leaves(void **state)
{
	struct detach_keys d = keys("ctrl-p,ctrl-q");
	unsigned char out[64];
	size_t n;

	(void)state;
	assert_true(detach_keys_feed(&d, (const unsigned char *)"ab\x10\x11zz", 6, out, &n));
	assert_int_equal(n, 2);
	assert_memory_equal(out, "ab", 2);
}

static void a_begun_sequence_is_given_back(void **state)
{
	struct detach_keys d = keys("ctrl-p,ctrl-q");
	unsigned char out[64];
	size_t n;

	(void)state;
	assert_false(detach_keys_feed(&d, (const unsigned char *)"a\x10", 2, out, &n));
	assert_int_equal(n, 1);
	assert_false(detach_keys_feed(&d, (const unsigned char *)"b", 1, out, &n));
	assert_int_equal(n, 2);
	assert_memory_equal(out,
			    "\x10"
			    "b",
			    2);
	assert_false(detach_keys_feed(&d, (const unsigned char *)"\x10\x10", 2, out, &n));
	assert_int_equal(n, 1);
	assert_true(detach_keys_feed(&d, (const unsigned char *)"\x11", 1, out, &n));
	assert_int_equal(n, 0);
}

static void one_key_is_enough(void **state)
{
	struct detach_keys d = keys("x");
	unsigned char out[64];
	size_t n;

	(void)state;
	assert_false(detach_keys_feed(&d, (const unsigned char *)"yz", 2, out, &n));
	assert_int_equal(n, 2);
	assert_true(detach_keys_feed(&d, (const unsigned char *)"x", 1, out, &n));
}

static void no_keys_never_leave(void **state)
{
	struct detach_keys d = keys("");
	unsigned char out[64];
	size_t n;

	(void)state;
	assert_false(detach_keys_feed(&d, (const unsigned char *)"\0\x10\x11", 3, out, &n));
	assert_int_equal(n, 3);
}

static void odd_keys_are_refused(void **state)
{
	static const char *const bad[] = {
		"ctrl-", "ctrl-1", "ab", "a,,b", "shift-a", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"
	};
	struct detach_keys d;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(detach_keys_parse(&d, bad[i], NULL), -22);
}

static void signals_by_name_and_number(void **state)
{
	int sig;

	(void)state;
	assert_int_equal(signal_parse("SIGTERM", &sig, NULL), 0);
	assert_int_equal(sig, SIGTERM);
	assert_int_equal(signal_parse("kill", &sig, NULL), 0);
	assert_int_equal(sig, SIGKILL);
	assert_int_equal(signal_parse("10", &sig, NULL), 0);
	assert_int_equal(sig, SIGUSR1);
	assert_int_equal(signal_parse("RTMIN+3", &sig, NULL), 0);
	assert_int_equal(sig, 37);
	assert_int_equal(signal_parse("0", &sig, NULL), -22);
	assert_int_equal(signal_parse("65", &sig, NULL), -22);
	assert_int_equal(signal_parse("SIGNOPE", &sig, NULL), -22);
	assert_int_equal(signal_parse("", &sig, NULL), -22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sequence_leaves),
		cmocka_unit_test(a_begun_sequence_is_given_back),
		cmocka_unit_test(one_key_is_enough),
		cmocka_unit_test(no_keys_never_leave),
		cmocka_unit_test(odd_keys_are_refused),
		cmocka_unit_test(signals_by_name_and_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
