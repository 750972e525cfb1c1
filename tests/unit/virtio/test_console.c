/* The console with two ports. Names of tests quote virtio 1.2. */
#include <errno.h>

#include "base/util.h"
#include "driver.h"
#include "virtio/console.h"

enum {
	RX0,
	TX0,
	CONTROL_RX,
	CONTROL_TX,
	RX1,
	TX1,
	MESSAGE = DRIVER_DATA,
	ANSWERS = DRIVER_DATA + 0x1000, /* for the control receive queue, 256 bytes each */
	TEXT = DRIVER_DATA + 0x4000,
};

struct end {
	struct stream stream;
	char got[256];
	size_t got_n, room;
	const char *say;
	uint16_t *endless; /* an available ring: with each buffer that is written comes another */
	unsigned writes;
};

static struct end ends[2];
static uint16_t posted;

static ssize_t end_read(struct stream *s, const struct iovec *iov, int n)
{
	struct end *x = container_of(s, struct end, stream);
	size_t part = n ? MIN(iov[0].iov_len, strlen(x->say)) : 0;

	if (!part)
		return -EAGAIN;
	memcpy(iov[0].iov_base, x->say, part);
	x->say += part;
	return (ssize_t)part;
}

static ssize_t end_write(struct stream *s, const struct iovec *iov, int n)
{
	struct end *x = container_of(s, struct end, stream);
	size_t part = n ? MIN(iov[0].iov_len, x->room) : 0;

	if (!part)
		return -EAGAIN;
	if (x->endless) {
		x->endless[1] = htole16((uint16_t)(le16toh(x->endless[1]) + 1));
		x->writes++;
		return (ssize_t)part;
	}
	memcpy(x->got + x->got_n, iov[0].iov_base, part);
	x->got_n += part;
	x->room -= part;
	return (ssize_t)part;
}

static int begin_with(void **state, uint64_t features)
{
	static const struct stream_ops ops = { end_read, end_write };
	static struct driver d;

	driver_memory(&d);
	memset(ends, 0, sizeof(ends));
	posted = 0;
	for (int i = 0; i < 2; i++) {
		ends[i].stream.ops = &ops;
		ends[i].say = "";
		ends[i].room = 256;
	}
	const struct virtio_console_port ports[] = { { "console", true, &ends[0].stream },
						     { "agent", false, &ends[1].stream } };

	driver_attach(&d, virtio_console_new(&d.mem, ports, 2, 80, 24), features);
	*state = &d;
	return 0;
}

static int begin(void **state)
{
	return begin_with(state, 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
}

static int begin_single(void **state)
{
	return begin_with(state, 0);
}

static int end(void **state)
{
	driver_detach(*state);
	return 0;
}

static void tell(struct driver *d, uint32_t id, uint16_t event, uint16_t value)
{
	const struct virtio_console_control m = { htole32(id), htole16(event), htole16(value) };
	const struct piece p = { MESSAGE, sizeof(m), false };

	memcpy(guest(d, MESSAGE), &m, sizeof(m));
	driver_offer(d, CONTROL_TX, &p, 1);
	assert_int_equal(driver_take(d, CONTROL_TX), 0);
}

/* The next control message, after offering a buffer; false: none. `text` gets what is behind the header. */
static bool hear(struct driver *d, struct virtio_console_control *m, char *text)
{
	struct virtq_desc *table = guest(d, ring_area(CONTROL_RX, 0));
	uint16_t *ring = guest(d, ring_area(CONTROL_RX, 1)), i = posted % DRIVER_RING;
	uint8_t *used = guest(d, ring_area(CONTROL_RX, 2));
	struct virtq_used_elem e;

	table[i] = (struct virtq_desc){ htole64(ANSWERS + i * 256), htole32(256),
					htole16(VIRTQ_DESC_F_WRITE), 0 };
	ring[2 + i] = htole16(i);
	ring[1] = htole16(++posted);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, CONTROL_RX);
	if (((uint16_t *)(void *)used)[1] == d->seen[CONTROL_RX])
		return false;
	memcpy(&e, used + 4 + 8 * (d->seen[CONTROL_RX]++ % DRIVER_RING), sizeof(e));
	const char *at = guest(d, ANSWERS + e.id * 256);

	memcpy(m, at, sizeof(*m));
	if (text) {
		memcpy(text, at + sizeof(*m), e.len - sizeof(*m));
		text[e.len - sizeof(*m)] = '\0';
	}
	return true;
}

static void expect(struct driver *d, uint32_t id, uint16_t event, char *text)
{
	struct virtio_console_control m;

	assert_true(hear(d, &m, text));
	assert_int_equal(m.id, id);
	assert_int_equal(m.event, event);
}

static void expect_nothing(struct driver *d)
{
	struct virtio_console_control m;

	assert_false(hear(d, &m, NULL));
}

/* 5.3.6.2.1: "The device MUST NOT specify a port which exists in a DEVICE_ADD message, nor a port which is equal or
 * greater than max_nr_ports." */
static void each_port_is_added_once(void **state)
{
	struct driver *d = *state;
	uint32_t most = reg_read(d, VIRTIO_MMIO_CONFIG + 4);

	assert_int_equal(most, 2);
	tell(d, 0, VIRTIO_CONSOLE_DEVICE_READY, 0); /* it failed */
	expect_nothing(d);
	tell(d, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (uint32_t i = 0; i < most; i++)
		expect(d, i, VIRTIO_CONSOLE_DEVICE_ADD, NULL);
	tell(d, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_nothing(d);
	driver_start(d, 1ull << VIRTIO_CONSOLE_F_MULTIPORT); /* a new driver has none */
	posted = 0;
	tell(d, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect(d, 0, VIRTIO_CONSOLE_DEVICE_ADD, NULL);
}

/* 5.3.6.2 */
static void ports_are_named_and_opened(void **state)
{
	struct driver *d = *state;
	char text[256];
	uint16_t size[2];

	tell(d, 0, VIRTIO_CONSOLE_PORT_READY, 0);
	expect_nothing(d);
	tell(d, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(d, 0, VIRTIO_CONSOLE_CONSOLE_PORT, NULL);
	expect(d, 0, VIRTIO_CONSOLE_PORT_NAME, text);
	assert_string_equal(text, "console");
	expect(d, 0, VIRTIO_CONSOLE_PORT_OPEN, NULL);
	tell(d, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(d, 1, VIRTIO_CONSOLE_PORT_NAME, text);
	assert_string_equal(text, "agent");
	expect(d, 1, VIRTIO_CONSOLE_PORT_OPEN, NULL);
	tell(d, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect(d, 0, VIRTIO_CONSOLE_DEVICE_ADD, NULL);
	expect(d, 1, VIRTIO_CONSOLE_DEVICE_ADD, NULL);
	expect_nothing(d);
	virtio_console_resize(d->dev, 100, 30); /* into the buffer that was left */
	uint8_t *used = guest(d, ring_area(CONTROL_RX, 2));
	struct virtq_used_elem e;

	memcpy(&e, used + 4 + 8 * (d->seen[CONTROL_RX] % DRIVER_RING), sizeof(e));
	assert_int_equal(e.len, 12);
	memcpy(size, guest(d, ANSWERS + e.id * 256 + 8), 4);
	assert_int_equal(size[0], 100);
	assert_int_equal(size[1], 30);
}

static void unknown_messages_do_nothing(void **state)
{
	struct driver *d = *state;
	static const struct {
		uint32_t id;
		uint16_t event;
	} rows[] = {
		{ 2, VIRTIO_CONSOLE_PORT_READY },
		{ UINT32_MAX, VIRTIO_CONSOLE_PORT_READY },
		{ UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN },
		{ 0, VIRTIO_CONSOLE_DEVICE_REMOVE },
		{ 0, VIRTIO_CONSOLE_RESIZE },
		{ 0, 8 },
		{ 0, 0xffff },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		tell(d, rows[i].id, rows[i].event, 1);
		expect_nothing(d);
	}
	const struct piece part = { MESSAGE, 7, false };

	driver_offer(d, CONTROL_TX, &part, 1);
	assert_int_equal(driver_take(d, CONTROL_TX), 0);
}

/* A driver that asks for ever and never listens costs a bounded list. */
static void messages_that_nobody_hears(void **state)
{
	struct driver *d = *state;
	struct virtio_console_control m;
	unsigned n = 0;

	for (int i = 0; i < 100; i++)
		tell(d, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	while (hear(d, &m, NULL))
		n++;
	assert_true(n && n <= 32);
}

static void bytes_go_both_ways(void **state)
{
	struct driver *d = *state;
	const struct piece in = { TEXT, 64, true }, out = { TEXT + 64, 11, false };

	ends[1].say = "typed";
	driver_offer(d, RX1, &in, 1);
	assert_int_equal(driver_take(d, RX1), -1); /* the port is not open */
	tell(d, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(driver_take(d, RX1), 5);
	assert_memory_equal(guest(d, TEXT), "typed", 5);
	memcpy(guest(d, TEXT + 64), "hello world", 11);
	ends[1].room = 5;
	driver_offer(d, TX1, &out, 1);
	assert_int_equal(driver_take(d, TX1), -1); /* the host is slow: so is the guest */
	ends[1].room = 100;
	ends[1].stream.ready(ends[1].stream.ready_arg);
	assert_int_equal(driver_take(d, TX1), 0);
	assert_memory_equal(ends[1].got, "hello world", 11);
	assert_int_equal(ends[0].got_n, 0);
}

static unsigned rung;

static void count_ring(void *arg)
{
	(void)arg;
	rung++;
}

/* A driver that never stops does not keep the thread. */
static void others_get_their_turn(void **state)
{
	struct driver *d = *state;
	struct virtq_desc *table = guest(d, ring_area(TX0, 0));
	uint16_t *ring = guest(d, ring_area(TX0, 1));

	d->mmio.ring = count_ring;
	rung = 0;
	table[0] = (struct virtq_desc){ htole64(TEXT), htole32(1), 0, 0 };
	ends[0].endless = ring;
	ring[1] = htole16(1);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, TX0);
	assert_int_equal(ends[0].writes, VIRTIO_TURN);
	assert_int_equal(rung, 1);
	ends[0].endless = NULL; /* the one that is left */
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, TX0);
	assert_int_equal(ends[0].got_n, 1);
	assert_int_equal(rung, 1);
}

/* 5.3.2: "The port 0 receive and transmit queues always exist: other queues only exist if MULTIPORT is set." */
static void port_0_without_multiport(void **state)
{
	struct driver *d = *state;
	const struct piece in = { TEXT, 64, true };
	const struct virtio_console_control m = { 0, VIRTIO_CONSOLE_DEVICE_READY, 1 };
	const struct piece p = { MESSAGE, sizeof(m), false };

	ends[0].say = "typed";
	driver_offer(d, RX0, &in, 1);
	assert_int_equal(driver_take(d, RX0), 5);
	memcpy(guest(d, MESSAGE), &m, sizeof(m));
	driver_offer(d, CONTROL_TX, &p, 1);
	assert_int_equal(driver_take(d, CONTROL_TX), -1);
}

/* 5.3.4: the configuration is not the driver's. */
static void config_is_read_only(void **state)
{
	struct driver *d = *state;

	reg_write(d, VIRTIO_MMIO_CONFIG + 4, 1);
	reg_write(d, VIRTIO_MMIO_CONFIG + 8, 'E'); /* emerg_wr: not offered */
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG + 4), 2);
	assert_int_equal(ends[0].got_n, 0);
}

int main(void)
{
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(each_port_is_added_once),
		TEST(ports_are_named_and_opened),
		TEST(unknown_messages_do_nothing),
		TEST(messages_that_nobody_hears),
		TEST(bytes_go_both_ways),
		TEST(others_get_their_turn),
		cmocka_unit_test_setup_teardown(port_0_without_multiport, begin_single, end),
		TEST(config_is_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
