/* The file system device in front of a server that the test plays. Names of tests quote virtio 1.2. */
#include <errno.h>
#include <linux/fuse.h>

#include "base/util.h"
#include "driver.h"
#include "virtio/fs.h"

enum {
	HIPRIO,
	REQUESTS, /* 5.11.2 */
	REQUEST = DRIVER_DATA,
	FORGET = DRIVER_DATA + 0x8000,
	REPLY = DRIVER_DATA + 0x10000,
};

/* What the device wrote and what it may read. */
static struct server {
	struct stream stream;
	uint8_t got[1 << 16], say[1 << 16];
	size_t got_n, say_n, said, room;
	size_t at_once; /* bytes a call */
	bool gone;
} server;

static ssize_t server_read(struct stream *s, const struct iovec *iov, int n)
{
	size_t done = 0;

	(void)s;
	if (server.gone)
		return 0;
	for (int i = 0; i < n && done < server.at_once; i++) {
		size_t left = MIN(server.say_n - server.said, server.at_once - done);
		size_t part = MIN(iov[i].iov_len, left);

		memcpy(iov[i].iov_base, server.say + server.said, part);
		server.said += part;
		done += part;
	}
	return done ? (ssize_t)done : -EAGAIN;
}

static ssize_t server_write(struct stream *s, const struct iovec *iov, int n)
{
	size_t done = 0;

	(void)s;
	if (server.gone)
		return -EPIPE;
	for (int i = 0; i < n; i++) {
		size_t part = MIN(iov[i].iov_len, server.room);

		memcpy(server.got + server.got_n, iov[i].iov_base, part);
		server.got_n += part;
		server.room -= part;
		done += part;
	}
	return done ? (ssize_t)done : -EAGAIN;
}

static int begin(void **state)
{
	static const struct stream_ops ops = { server_read, server_write };
	static struct driver d;

	driver_memory(&d);
	memset(&server, 0, sizeof(server));
	server.stream.ops = &ops;
	server.room = server.at_once = SIZE_MAX;
	driver_attach(&d, virtio_fs_new(&d.mem, "share0", &server.stream), 0);
	*state = &d;
	return 0;
}

static int end(void **state)
{
	driver_detach(*state);
	return 0;
}

static void put_request(struct driver *d, uint32_t opcode, uint64_t unique, uint32_t len)
{
	struct fuse_in_header h = { .len = len, .opcode = opcode, .unique = unique };

	memset(guest(d, REQUEST), 'q', 4096);
	memcpy(guest(d, REQUEST), &h, sizeof(h));
}

/* A request of `len` bytes, with room for a reply of `room`. */
static void ask(struct driver *d, uint32_t opcode, uint64_t unique, uint32_t len, uint32_t room)
{
	const struct piece p[] = { { REQUEST, len, false }, { REPLY, room, true } };

	put_request(d, opcode, unique, len);
	driver_offer(d, REQUESTS, p, room ? 2 : 1);
}

static void forget(struct driver *d)
{
	const uint32_t len = sizeof(struct fuse_in_header) + sizeof(struct fuse_forget_in);
	const struct piece p = { FORGET, len, false };
	struct fuse_in_header h = { .len = len, .opcode = FUSE_FORGET, .unique = 5 };

	memcpy(guest(d, FORGET), &h, sizeof(h));
	driver_offer(d, HIPRIO, &p, 1);
}

/* The header of the request at `at` of what the server got. */
static struct fuse_in_header got(size_t at)
{
	struct fuse_in_header h;

	assert_true(at + sizeof(h) <= server.got_n);
	memcpy(&h, server.got + at, sizeof(h));
	return h;
}

static void reply(uint64_t unique, const char *body)
{
	struct fuse_out_header h = { .len = (uint32_t)(sizeof(h) + strlen(body)),
				     .unique = unique };

	memcpy(server.say + server.say_n, &h, sizeof(h));
	memcpy(server.say + server.say_n + sizeof(h), body, strlen(body));
	server.say_n += h.len;
	server.stream.ready(server.stream.ready_arg);
}

static struct fuse_out_header replied(struct driver *d)
{
	struct fuse_out_header h;

	memcpy(&h, guest(d, REPLY), sizeof(h));
	return h;
}

static bool needs_reset(struct driver *d)
{
	return reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET;
}

/* 5.11.4: "The device MUST set num_request_queues to 1 or greater"; the tag is padded with NUL. */
static void num_request_queues_is_1_or_greater(void **state)
{
	struct driver *d = *state;
	char tag[36];

	for (uint32_t i = 0; i < 36; i += 4) {
		uint32_t word = reg_read(d, VIRTIO_MMIO_CONFIG + i);

		memcpy(tag + i, &word, 4);
	}
	assert_memory_equal(tag, "share0\0\0", 8);
	assert_int_equal(tag[35], 0);
	assert_true(reg_read(d, VIRTIO_MMIO_CONFIG + 36) >= 1);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_DEVICE_ID), 26);
	reg_write(d, VIRTIO_MMIO_CONFIG + 36, 0); /* 5.11.4.1: drivers do not */
	assert_true(reg_read(d, VIRTIO_MMIO_CONFIG + 36) >= 1);
}

/* 5.11.6.1 */
static void a_request_and_its_reply(void **state)
{
	struct driver *d = *state;

	ask(d, FUSE_LOOKUP, 77, 60, 100);
	assert_int_equal(server.got_n, 60);
	assert_int_equal(got(0).opcode, FUSE_LOOKUP);
	assert_int_equal(server.got[59], 'q');
	assert_int_equal(driver_take(d, REQUESTS), -1);
	reply(got(0).unique, "body");
	assert_int_equal(driver_take(d, REQUESTS), 20);
	assert_int_equal(replied(d).unique, 77);
	assert_int_equal(replied(d).len, 20);
	assert_memory_equal(guest(d, REPLY + 16), "body", 4);
	assert_int_equal(d->interrupts, 1);
}

/* 2.7.4.1: nor about how it is cut, nor about how the socket cuts it. */
static void any_layout_and_any_pace(void **state)
{
	struct driver *d = *state;
	const struct piece p[] = { { REQUEST, 7, false },
				   { REQUEST + 7, 73, false },
				   { REPLY, 3, true },
				   { REPLY + 3, 14, true },
				   { REPLY + 17, 100, true } };

	server.at_once = 1;
	server.room = 30;
	put_request(d, FUSE_GETATTR, 9, 80);
	driver_offer(d, REQUESTS, p, 5);
	assert_int_equal(server.got_n, 30);
	memset(guest(d, REQUEST), 0, 80); /* too late to change it */
	server.room = 20;
	server.stream.ready(server.stream.ready_arg);
	assert_int_equal(server.got_n, 50);
	server.room = SIZE_MAX;
	server.stream.ready(server.stream.ready_arg);
	assert_int_equal(server.got_n, 80);
	for (size_t i = sizeof(struct fuse_in_header); i < 80; i++)
		assert_int_equal(server.got[i], 'q');
	reply(got(0).unique, "0123456789");
	assert_int_equal(driver_take(d, REQUESTS), 26);
	assert_int_equal(replied(d).unique, 9);
	assert_memory_equal(guest(d, REPLY + 16), "0123456789", 10);
}

/* 5.11.6: replies in any order. */
static void replies_find_their_requests(void **state)
{
	struct driver *d = *state;
	const struct piece first[] = { { REQUEST, 60, false }, { REPLY, 100, true } };
	struct virtq_desc *table = guest(d, ring_area(REQUESTS, 0));
	uint16_t *ring = guest(d, ring_area(REQUESTS, 1));

	put_request(d, FUSE_LOOKUP, 1, 60);
	driver_offer(d, REQUESTS, first, 2);
	table[2] = table[0];
	table[2].next = htole16(3);
	table[3] = table[1];
	table[3].addr = htole64(REPLY + 0x1000);
	put_request(d, FUSE_LOOKUP, 2, 60);
	ring[2 + 1] = htole16(2);
	ring[1] = htole16(++d->avail[REQUESTS]);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, REQUESTS);
	assert_int_equal(server.got_n, 120);
	reply(got(60).unique, "second");
	reply(got(0).unique, "first");
	assert_memory_equal(guest(d, REPLY + 0x1010), "second", 6);
	assert_memory_equal(guest(d, REPLY + 16), "first", 5);
	assert_int_equal(replied(d).unique, 1);
}

/* 5.11.6.2: "The device MUST NOT pause processing of the hiprio queue due to activity on a normal request
 * queue": neither a server that works on requests nor one that takes no more of them holds it up. */
static void hiprio_does_not_pause_for_requests(void **state)
{
	struct driver *d = *state;

	server.room = 45;
	ask(d, FUSE_LOOKUP, 1, 60, 100);
	ask(d, FUSE_LOOKUP, 2, 60, 100);
	assert_int_equal(server.got_n, 45);
	forget(d);
	assert_int_equal(driver_take(d, HIPRIO), 0);
	server.room = SIZE_MAX;
	server.stream.ready(server.stream.ready_arg);
	assert_int_equal(got(60).opcode, FUSE_FORGET);
	assert_int_equal(got(60).unique, 0);
	assert_int_equal(got(108).opcode, FUSE_LOOKUP);
}

/* A reply that does not fit its buffer is an error, and nothing is written behind the buffer. */
static void a_reply_beyond_its_buffer(void **state)
{
	struct driver *d = *state;

	memset(guest(d, REPLY), 0x55, 64);
	ask(d, FUSE_READ, 3, 60, 24);
	reply(got(0).unique, "more than eight bytes");
	assert_int_equal(driver_take(d, REQUESTS), 16);
	assert_int_equal(replied(d).error, -EIO);
	assert_int_equal(*(uint8_t *)guest(d, REPLY + 16), 0x55);
	ask(d, FUSE_READ, 4, 60, 8);
	reply(got(60).unique, "x");
	assert_int_equal(driver_take(d, REQUESTS), 0);
	assert_int_equal(server.said, server.say_n);
	assert_false(needs_reset(d));
}

static void broken_requests_need_a_reset(void **state)
{
	struct driver *d = *state;
	static const struct {
		uint32_t said, is;
		unsigned queue;
		uint32_t opcode;
	} rows[] = {
		{ 60, 61, REQUESTS, FUSE_LOOKUP },
		{ 61, 60, REQUESTS, FUSE_LOOKUP },
		{ 39, 39, REQUESTS, FUSE_LOOKUP },
		{ UINT32_MAX, 60, REQUESTS, FUSE_LOOKUP },
		{ 200 << 10, 200 << 10, REQUESTS, FUSE_WRITE },
		{ 60, 60, HIPRIO, FUSE_LOOKUP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct piece p = { REQUEST, rows[i].is, false };

		driver_start(d, 0);
		put_request(d, rows[i].opcode, 1, rows[i].said);
		server.got_n = 0;
		driver_offer(d, rows[i].queue, &p, 1);
		assert_true(needs_reset(d));
		assert_int_equal(server.got_n, 0);
	}
}

/* 2.4: after a reset the device touches no buffer; the server's late answer goes nowhere. */
static void reset_abandons_requests(void **state)
{
	struct driver *d = *state;

	ask(d, FUSE_LOOKUP, 1, 60, 100);
	uint64_t old = got(0).unique;

	memset(guest(d, REPLY), 0x55, 64);
	driver_start(d, 0);
	server.stream.ready(server.stream.ready_arg);
	assert_int_equal(got(60).opcode, FUSE_DESTROY); /* the session is over */
	reply(old, "late");
	reply(got(60).unique, "");
	assert_int_equal(driver_take(d, REQUESTS), -1);
	assert_int_equal(*(uint8_t *)guest(d, REPLY), 0x55);
	ask(d, FUSE_INIT, 2, 60, 100);
	reply(got(100).unique, "new");
	assert_int_equal(driver_take(d, REQUESTS), 19);
}

/* The server is not the guest's, but has read its bytes. */
static void a_server_that_lies_is_gone(void **state)
{
	struct driver *d = *state;
	static const struct fuse_out_header rows[] = {
		{ .len = 15, .unique = 1 },
		{ .len = UINT32_MAX, .unique = 1 },
		{ .len = 20, .unique = 64 },
		{ .len = 20, .unique = UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		end(state);
		begin(state);
		ask(d, FUSE_LOOKUP, 7, 60, 100);
		memcpy(server.say, &rows[i], sizeof(rows[i]));
		server.say_n = 40;
		server.stream.ready(server.stream.ready_arg);
		assert_int_equal(driver_take(d, REQUESTS), 16);
		assert_int_equal(replied(d).error, -ENOTCONN);
		ask(d, FUSE_LOOKUP, 8, 60, 100);
		assert_int_equal(driver_take(d, REQUESTS), 16);
		assert_int_equal(replied(d).unique, 8);
	}
}

static void a_server_that_died(void **state)
{
	struct driver *d = *state;

	ask(d, FUSE_LOOKUP, 7, 60, 100);
	server.gone = true;
	server.stream.ready(server.stream.ready_arg);
	assert_int_equal(replied(d).error, -ENOTCONN);
	forget(d);
	assert_int_equal(driver_take(d, HIPRIO), 0);
}

int main(void)
{
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(num_request_queues_is_1_or_greater),
		TEST(a_request_and_its_reply),
		TEST(any_layout_and_any_pace),
		TEST(replies_find_their_requests),
		TEST(hiprio_does_not_pause_for_requests),
		TEST(a_reply_beyond_its_buffer),
		TEST(broken_requests_need_a_reset),
		TEST(reset_abandons_requests),
		TEST(a_server_that_lies_is_gone),
		TEST(a_server_that_died),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
