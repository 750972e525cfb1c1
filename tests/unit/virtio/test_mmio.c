/* The MMIO transport and the status register's life, with a device that only counts. */
#include <errno.h>

#include "base/util.h"
#include "driver.h"
#include "machine/bus.h"

struct counter {
	struct virtio_device dev;
	struct virtq queues[2];
	unsigned notified, started, resets;
	uint8_t config[8];
};

static struct counter *counter_of(struct virtio_device *d)
{
	return container_of(d, struct counter, dev);
}

static void config_read(struct virtio_device *d, uint32_t offset, void *to, uint32_t len)
{
	memcpy(to, counter_of(d)->config + offset, len);
}

static void config_write(struct virtio_device *d, uint32_t offset, const void *from, uint32_t len)
{
	memcpy(counter_of(d)->config + offset, from, len);
}

static void notify(struct virtio_device *d, unsigned queue)
{
	(void)queue;
	counter_of(d)->notified++;
}

static void start(struct virtio_device *d)
{
	counter_of(d)->started++;
}

static void reset(struct virtio_device *d)
{
	counter_of(d)->resets++;
}

static void free_nothing(struct virtio_device *d)
{
	(void)d;
}

static const struct virtio_ops ops = {
	.name = "counter",
	.id = 42,
	.config_read = config_read,
	.config_write = config_write,
	.start = start,
	.notify = notify,
	.reset = reset,
	.free = free_nothing,
};

static struct counter counter;

static int begin(void **state)
{
	static struct driver d;

	driver_memory(&d);
	memset(&counter, 0, sizeof(counter));
	virtio_device_init(&counter.dev, &ops, &d.mem, counter.queues, 2, 64, 1 << 3,
			   sizeof(counter.config));
	driver_attach(&d, &counter.dev, 1 << 3);
	*state = &d;
	return 0;
}

static int end(void **state)
{
	driver_detach(*state);
	return 0;
}

/* 4.2.2.1 */
static void identifies_itself(void **state)
{
	struct driver *d = *state;

	assert_int_equal(reg_read(d, VIRTIO_MMIO_MAGIC), 0x74726976);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_DEVICE_ID), 42);
	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, 2); /* "If QueueNumMax is zero: no such queue" */
	assert_int_equal(reg_read(d, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_int_equal(counter.started, 1);
}

/* 2.2.2: "The device MUST NOT accept" features that it did not offer; 6.2: VERSION_1 is required. */
static void refuses_features_that_it_did_not_offer(void **state)
{
	struct driver *d = *state;
	static const uint64_t rows[] = { 1ull << VIRTIO_F_VERSION_1 | 1 << 4, 1 << 3, 0,
					 1ull << VIRTIO_F_VERSION_1 | 1ull << 63 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		reg_write(d, VIRTIO_MMIO_STATUS, 0);
		for (uint32_t w = 0; w < 2; w++) {
			reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, w);
			reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(rows[i] >> (32 * w)));
		}
		reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_FEATURES_OK);
		assert_false(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_FEATURES_OK);
		reg_write(d, VIRTIO_MMIO_STATUS,
			  VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
		assert_false(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_DRIVER_OK);
	}
}

static void features_do_not_change_after_features_ok(void **state)
{
	struct driver *d = *state;

	reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES, 0xffffffff);
	assert_int_equal(counter.dev.negotiated, 1ull << VIRTIO_F_VERSION_1 | 1 << 3);
}

/* 2.1.2: "The device MUST NOT consume buffers or send any used buffer notifications before DRIVER_OK". */
static void does_nothing_before_driver_ok(void **state)
{
	struct driver *d = *state;

	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	assert_int_equal(counter.notified, 1);
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(counter.resets, 2); /* driver_start reset it too */
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	assert_int_equal(counter.notified, 1);
	driver_start(d, 0);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, 2);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	assert_int_equal(counter.notified, 1);
}

/* 2.1.2, 2.4: after a reset everything reads as at first. */
static void reset_forgets(void **state)
{
	struct driver *d = *state;

	virtio_device_config_changed(&counter.dev);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INTERRUPT_CONFIG);
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, 0);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_QUEUE_READY), 0);
}

static void interrupts_are_acknowledged(void **state)
{
	struct driver *d = *state;

	virtio_device_config_changed(&counter.dev);
	assert_int_equal(d->interrupts, 1);
	reg_write(d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INTERRUPT_USED);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INTERRUPT_CONFIG);
	reg_write(d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INTERRUPT_CONFIG);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

/* A ring outside memory: DEVICE_NEEDS_RESET, nothing worse. */
static void bad_rings_need_a_reset(void **state)
{
	struct driver *d = *state;

	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, 0);
	reg_write(d, VIRTIO_MMIO_QUEUE_READY, 0);
	reg_write(d, VIRTIO_MMIO_QUEUE_NUM, DRIVER_RING);
	reg_write(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0xffffffff);
	reg_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_true(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	driver_start(d, 0);
	assert_false(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
}

/* While a queue is in use its layout registers are dead (4.2.2.2). */
static void layout_is_fixed_while_ready(void **state)
{
	struct driver *d = *state;

	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, 0);
	reg_write(d, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x5000);
	assert_int_equal(counter.queues[0].layout.desc, ring_area(0, 0));
}

static void config_space_is_bounded(void **state)
{
	struct driver *d = *state;
	uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct bus_range *r = &d->mmio.range;

	r->access(r, VIRTIO_MMIO_CONFIG + 1, bytes, 2, true);
	assert_int_equal(counter.config[1], 1);
	assert_int_equal(counter.config[2], 2);
	r->access(r, VIRTIO_MMIO_CONFIG + 7, bytes, 2, true);
	assert_int_equal(counter.config[7], 0);
	r->access(r, VIRTIO_MMIO_CONFIG + 7, bytes, 2, false);
	assert_int_equal(bytes[0], 0);
	r->access(r, VIRTIO_MMIO_SIZE - 1, bytes, 1, false);
	assert_int_equal(bytes[0], 0);
}

static void odd_widths_do_nothing(void **state)
{
	struct driver *d = *state;
	uint8_t bytes[8] = { 0 };
	struct bus_range *r = &d->mmio.range;

	r->access(r, VIRTIO_MMIO_STATUS, bytes, 1, true);
	assert_true(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_DRIVER_OK);
	memset(bytes, 0xff, sizeof(bytes));
	r->access(r, VIRTIO_MMIO_MAGIC, bytes, 8, false);
	assert_int_equal(bytes[0], 0);
}

static void nothing(struct bus_range *r, uint64_t offset, void *data, uint32_t len, bool is_write)
{
	(void)r;
	if (!is_write)
		memset(data, (int)offset, len);
}

static void buses_find_their_range(void **state)
{
	struct bus b = { 0 };
	struct bus_range r[] = {
		{ 0x2000, 0x1000, nothing },
		{ 0x1000, 0x1000, nothing },
		{ UINT64_MAX - 0xfff, 0x1000, nothing },
	};
	struct bus_range bad[] = { { 0x1fff, 2, nothing },
				   { 0x2800, 8, nothing },
				   { 0xfff, 2, nothing } };
	uint8_t v[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		assert_int_equal(bus_add(&b, &r[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(bus_add(&b, &bad[i]), -EEXIST);
	assert_int_equal(bus_access(&b, 0x2004, v, 4, false), 0);
	assert_int_equal(v[0], 4);
	assert_int_equal(bus_access(&b, 0x1ffe, v, 4, false), -ENXIO); /* across two */
	assert_int_equal(v[0], 0xff);
	assert_int_equal(bus_access(&b, 0xfff, v, 1, false), -ENXIO);
	assert_int_equal(bus_access(&b, 0x3000, v, 1, false), -ENXIO);
	assert_int_equal(bus_access(&b, UINT64_MAX, v, 1, false), 0);
	assert_int_equal(bus_access(&b, UINT64_MAX, v, 2, false), -ENXIO);
}

int main(void)
{
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(identifies_itself),
		TEST(refuses_features_that_it_did_not_offer),
		TEST(features_do_not_change_after_features_ok),
		TEST(does_nothing_before_driver_ok),
		TEST(reset_forgets),
		TEST(interrupts_are_acknowledged),
		TEST(bad_rings_need_a_reset),
		TEST(layout_is_fixed_while_ready),
		TEST(config_space_is_bounded),
		TEST(odd_widths_do_nothing),
		cmocka_unit_test(buses_find_their_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
