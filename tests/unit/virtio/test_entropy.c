/* The entropy device. Names of tests quote virtio 1.2. */
#include "driver.h"
#include "virtio/entropy.h"

static int begin(void **state)
{
	static struct driver d;

	driver_memory(&d);
	driver_attach(&d, virtio_entropy_new(&d.mem), 0);
	*state = &d;
	return 0;
}

static int end(void **state)
{
	driver_detach(*state);
	return 0;
}

/* 5.4.6.2: "The device MUST place one or more random bytes into the buffer made available to it." */
static void one_or_more_random_bytes(void **state)
{
	struct driver *d = *state;
	const struct piece p[] = { { DRIVER_DATA, 3, true }, { DRIVER_DATA + 16, 61, true } };
	uint8_t first[61];
	static const uint8_t zero[61];

	driver_offer(d, 0, p, 2);
	assert_int_equal(driver_take(d, 0), 64);
	memcpy(first, guest(d, DRIVER_DATA + 16), sizeof(first));
	assert_memory_not_equal(first, zero, sizeof(first));
	assert_int_equal(*(uint8_t *)guest(d, DRIVER_DATA + 3), 0);
	driver_offer(d, 0, p, 2);
	assert_int_equal(driver_take(d, 0), 64);
	assert_memory_not_equal(first, guest(d, DRIVER_DATA + 16), sizeof(first));
	assert_int_equal(d->interrupts, 2);
}

/* "it MAY use less than the entire buffer length": a megabyte a time would be the guest's way to keep us busy. */
static void large_buffers_get_a_part(void **state)
{
	struct driver *d = *state;
	const struct piece p = { DRIVER_DATA, 1 << 19, true };

	driver_offer(d, 0, &p, 1);
	int64_t n = driver_take(d, 0);

	assert_true(n >= 1 && n <= 4096);
	assert_int_equal(*(uint8_t *)guest(d, DRIVER_DATA + 4096), 0);
}

static void buffers_without_room_come_back(void **state)
{
	struct driver *d = *state;
	const struct piece p = { DRIVER_DATA, 64, false };

	driver_offer(d, 0, &p, 1);
	assert_int_equal(driver_take(d, 0), 0);
	assert_int_equal(*(uint8_t *)guest(d, DRIVER_DATA), 0);
}

int main(void)
{
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(one_or_more_random_bytes),
		TEST(large_buffers_get_a_part),
		TEST(buffers_without_room_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
