/* Words of --network. */
#include <errno.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "wire/network.h"

static void the_three_words(void **state)
{
	struct network_wish w;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(network_parse("private", &w, &e), 0);
	assert_int_equal(w.kind, NETWORK_PRIVATE);
	assert_int_equal(network_parse("host", &w, &e), 0);
	assert_int_equal(w.kind, NETWORK_HOST);
	assert_int_equal(network_parse("none", &w, &e), 0);
	assert_int_equal(w.kind, NETWORK_NONE);
}

static void a_tap_with_everything(void **state)
{
	static const uint8_t mac[] = { 2, 0xab, 0, 1, 2, 0xff };
	struct network_wish w;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(network_parse("tap:t0,ip=10.1.2.3/24,gw=10.1.2.1,mac=02:AB:00:01:02:ff,"
				       "queues=4",
				       &w, &e),
			 0);
	assert_int_equal(w.kind, NETWORK_TAP);
	assert_string_equal(w.tap, "t0");
	assert_string_equal(w.address, "10.1.2.3/24");
	assert_string_equal(w.gateway, "10.1.2.1");
	assert_memory_equal(w.mac, mac, sizeof(mac));
	assert_int_equal(w.queues, 4);
	assert_int_equal(network_parse("tap:fifteen-letters", &w, &e), 0);
	assert_false(w.has_mac);
	assert_int_equal(w.queues, 1);
}

static void what_is_refused(void **state)
{
	static const char *const rows[] = {
		"",
		"bridge",
		"Host",
		"tap",
		"tap:",
		"tap:sixteen-letters-",
		"tap:a/b",
		"tap:t,",
		"tap:t,,ip=10.0.0.1/8",
		"tap:t,ip=10.0.0.1",
		"tap:t,ip=10.0.0.1/0",
		"tap:t,ip=10.0.0.1/33",
		"tap:t,ip=10.0.0/8",
		"tap:t,ip=10.0.0.256/8",
		"tap:t,ip=10.0.0.1.1/8",
		"tap:t,ip=0010.0.0.1/8",
		"tap:t,ip=fe80::1/64",
		"tap:t,gw=10.0.0.1",
		"tap:t,ip=10.0.0.1/8,gw=x",
		"tap:t,mac=01:00:00:00:00:00",
		"tap:t,mac=02:00:00:00:00",
		"tap:t,mac=02:00:00:00:00:0",
		"tap:t,mac=02:00:00:00:00:00:00",
		"tap:t,mac=02-00-00-00-00-00",
		"tap:t,queues=0",
		"tap:t,queues=9",
		"tap:t,queues=-1",
		"tap:t,speed=1",
		"tap:t,ip=10.0.0.1/8aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct network_wish w;
		struct err e = ERR_INIT;

		if (network_parse(rows[i], &w, &e) != -EINVAL)
			fail_msg("'%s' was taken", rows[i]);
		assert_non_null(strstr(e.msg, "--network"));
	}
}

static void addresses(void **state)
{
	uint32_t a, mask;

	(void)state;
	assert_int_equal(network_address("192.0.2.77/26", &a, &mask), 0);
	assert_int_equal(a, 0xc000024d);
	assert_int_equal(mask, 0xffffffc0);
	assert_int_equal(network_address("1.2.3.4/32", &a, &mask), 0);
	assert_int_equal(mask, 0xffffffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_three_words),
		cmocka_unit_test(a_tap_with_everything),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
