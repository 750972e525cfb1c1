/* The socket device between a driver and a host that the test plays. Names of tests quote virtio 1.2. */
#include <errno.h>

#include "base/util.h"
#include "driver.h"
#include "virtio/vsock.h"

enum {
	RX,
	TX,
	CID = 7,
	BUFFERS = DRIVER_DATA, /* for the rx queue, 4 KB each */
	PACKET = DRIVER_DATA + 0x20000,
	HOST_PORT = 1024,
	GUEST_PORT = 5000,
};

/* A stream of the host's. */
struct end {
	struct stream stream;
	uint8_t got[1 << 17];
	size_t got_n, room;
	const char *say;
	bool says_end, dead;
	unsigned ended, closed;
};

static struct end ends[2];
static uint32_t asked_id, asked_port, opened_port;
static unsigned asked;
static uint16_t posted; /* rx buffers */

static ssize_t end_read(struct stream *s, const struct iovec *iov, int n)
{
	struct end *x = container_of(s, struct end, stream);
	size_t done = 0;

	for (int i = 0; i < n; i++) {
		size_t part = MIN(iov[i].iov_len, strlen(x->say));

		memcpy(iov[i].iov_base, x->say, part);
		x->say += part;
		done += part;
	}
	return done ? (ssize_t)done : x->dead ? -ECONNRESET : x->says_end ? 0 : -EAGAIN;
}

static ssize_t end_write(struct stream *s, const struct iovec *iov, int n)
{
	struct end *x = container_of(s, struct end, stream);
	size_t done = 0;

	if (x->dead)
		return -EPIPE;
	for (int i = 0; i < n; i++) {
		size_t part = MIN(iov[i].iov_len, x->room);

		memcpy(x->got + x->got_n, iov[i].iov_base, part);
		x->got_n += part;
		x->room -= part;
		done += part;
	}
	return done ? (ssize_t)done : -EAGAIN;
}

static void host_connect(void *arg, uint32_t id, uint32_t port)
{
	(void)arg;
	asked_id = id;
	asked_port = port;
	asked++;
}

static void host_opened(void *arg, uint32_t id, struct stream *s, uint32_t host_port)
{
	(void)arg, (void)id, (void)s;
	opened_port = host_port;
}

static void host_ended(void *arg, struct stream *s)
{
	(void)arg;
	container_of(s, struct end, stream)->ended++;
}

static void host_closed(void *arg, struct stream *s)
{
	(void)arg;
	container_of(s, struct end, stream)->closed++;
}

static int begin(void **state)
{
	static const struct virtio_vsock_host host = { host_connect, host_opened, host_ended,
						       host_closed };
	static const struct stream_ops ops = { end_read, end_write };
	static struct driver d;

	driver_memory(&d);
	memset(ends, 0, sizeof(ends));
	for (int i = 0; i < 2; i++) {
		ends[i].stream.ops = &ops;
		ends[i].room = SIZE_MAX;
		ends[i].say = "";
	}
	asked = posted = 0;
	driver_attach(&d, virtio_vsock_new(&d.mem, CID, &host, NULL), 1);
	*state = &d;
	return 0;
}

static int end(void **state)
{
	driver_detach(*state);
	return 0;
}

/* ---- the driver's side ---- */

/* Offers a receive buffer; the driver helper writes descriptor 0, so the ring slots are set by hand. */
static void post(struct driver *d, uint32_t len)
{
	struct virtq_desc *table = guest(d, ring_area(RX, 0));
	uint16_t *ring = guest(d, ring_area(RX, 1)), i = posted % DRIVER_RING;

	table[i] = (struct virtq_desc){ htole64(BUFFERS + i * 4096), htole32(len),
					htole16(VIRTQ_DESC_F_WRITE), 0 };
	ring[2 + i] = htole16(i);
	ring[1] = htole16(++posted);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, RX);
}

static void send(struct driver *d, uint16_t op, struct virtio_vsock_hdr h, const char *payload)
{
	const struct piece p = { PACKET, (uint32_t)(sizeof(h) + strlen(payload)), false };

	h.op = htole16(op);
	if (!h.len)
		h.len = htole32((uint32_t)strlen(payload));
	memcpy(guest(d, PACKET), &h, sizeof(h));
	memcpy(guest(d, PACKET + sizeof(h)), payload, strlen(payload));
	driver_offer(d, TX, &p, 1);
}

static struct virtio_vsock_hdr header(uint32_t host_port)
{
	return (struct virtio_vsock_hdr){ .src_cid = CID,
					  .dst_cid = 2,
					  .src_port = GUEST_PORT,
					  .dst_port = host_port,
					  .type = VIRTIO_VSOCK_TYPE_STREAM,
					  .buf_alloc = 65536 };
}

/* The next packet that came, after offering a buffer for it; `op` 0: none. */
static struct virtio_vsock_hdr receive(struct driver *d, char *payload)
{
	struct virtio_vsock_hdr h = { 0 };
	uint8_t *used = guest(d, ring_area(RX, 2));
	struct virtq_used_elem e;

	post(d, 4096);
	if (le16toh(((uint16_t *)(void *)used)[1]) == d->seen[RX])
		return h;
	memcpy(&e, used + 4 + 8 * (d->seen[RX]++ % DRIVER_RING), sizeof(e));
	memcpy(&h, guest(d, BUFFERS + 4096 * (uint64_t)le32toh(e.id)), sizeof(h));
	assert_int_equal(le32toh(e.len), sizeof(h) + h.len);
	if (payload) {
		memcpy(payload, guest(d, BUFFERS + 4096 * (uint64_t)le32toh(e.id) + sizeof(h)),
		       h.len);
		payload[h.len] = '\0';
	}
	return h;
}

static void expect(struct driver *d, uint16_t op)
{
	struct virtio_vsock_hdr h = receive(d, NULL);

	assert_int_equal(h.op, op);
	if (op) {
		assert_int_equal(h.src_cid, 2);
		assert_int_equal(h.dst_cid, CID);
	}
}

/* A connection that the guest asked for. */
static void establish(struct driver *d)
{
	send(d, VIRTIO_VSOCK_OP_REQUEST, header(HOST_PORT), "");
	assert_true(virtio_vsock_answer(d->dev, asked_id, &ends[0].stream));
	expect(d, VIRTIO_VSOCK_OP_RESPONSE);
}

static void rw(struct driver *d, const char *text)
{
	send(d, VIRTIO_VSOCK_OP_RW, header(HOST_PORT), text);
}

static bool needs_reset(struct driver *d)
{
	return reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET;
}

/* ---- tests ---- */

/* 5.10.6.4: "The guest_cid configuration field MUST NOT contain a reserved CID." */
static void guest_cid_is_not_reserved(void **state)
{
	struct driver *d = *state;

	assert_int_equal(reg_read(d, VIRTIO_MMIO_DEVICE_ID), 19);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG), CID);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG + 4), 0);
}

static void the_guest_calls(void **state)
{
	struct driver *d = *state;
	char text[64];

	establish(d);
	assert_int_equal(asked_port, HOST_PORT);
	rw(d, "from the guest");
	assert_memory_equal(ends[0].got, "from the guest", 14);
	ends[0].say = "from the host";
	ends[0].stream.ready(ends[0].stream.ready_arg);
	struct virtio_vsock_hdr h = receive(d, text);

	assert_int_equal(h.op, VIRTIO_VSOCK_OP_RW);
	assert_string_equal(text, "from the host");
	assert_int_equal(h.src_port, HOST_PORT);
	assert_int_equal(h.dst_port, GUEST_PORT);
}

static void the_host_calls(void **state)
{
	struct driver *d = *state;

	assert_int_equal(virtio_vsock_connect(d->dev, GUEST_PORT, &ends[0].stream), 0);
	struct virtio_vsock_hdr h = receive(d, NULL);

	assert_int_equal(h.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(h.dst_port, GUEST_PORT);
	ends[0].say = "early"; /* not before it is accepted */
	expect(d, 0);
	send(d, VIRTIO_VSOCK_OP_RESPONSE, header(h.src_port), "");
	assert_int_equal(opened_port, h.src_port);
	expect(d, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(virtio_vsock_connect(d->dev, GUEST_PORT, &ends[1].stream), 0);
	uint32_t other = receive(d, NULL).src_port;

	assert_int_not_equal(other, h.src_port);
	send(d, VIRTIO_VSOCK_OP_RST, header(other), "");
	assert_int_equal(ends[1].closed, 1);
}

/* 5.10.6.5: "A RST reply is sent if a listening socket does not exist on the destination". */
static void nobody_listens(void **state)
{
	struct driver *d = *state;

	send(d, VIRTIO_VSOCK_OP_REQUEST, header(HOST_PORT), "");
	assert_true(virtio_vsock_answer(d->dev, asked_id, NULL));
	expect(d, VIRTIO_VSOCK_OP_RST);
	assert_false(virtio_vsock_answer(d->dev, asked_id, &ends[0].stream));
	assert_false(virtio_vsock_answer(d->dev, 0xffffffff, &ends[0].stream));
}

/* 5.10.6.4: "A RST reply MUST be sent if a packet is received with an unknown type value." */
static void unknown_types_are_reset(void **state)
{
	struct driver *d = *state;
	struct virtio_vsock_hdr h = header(HOST_PORT);

	h.type = 2;
	send(d, VIRTIO_VSOCK_OP_REQUEST, h, "");
	assert_int_equal(asked, 0);
	h = receive(d, NULL);
	assert_int_equal(h.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(h.type, 2);
	assert_int_equal(h.dst_port, GUEST_PORT);
	send(d, VIRTIO_VSOCK_OP_RST, header(1), ""); /* but no reset of a reset */
	expect(d, 0);
}

static void unknown_ports_are_reset(void **state)
{
	struct driver *d = *state;
	static const uint16_t ops[] = { VIRTIO_VSOCK_OP_RESPONSE, VIRTIO_VSOCK_OP_SHUTDOWN,
					VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 99 };

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		send(d, ops[i], header(4000), "");
		expect(d, VIRTIO_VSOCK_OP_RST);
	}
	establish(d);
	send(d, 99, header(HOST_PORT), "");
	expect(d, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(ends[0].closed, 1);
}

/* Packets that are not this guest's, or shorter than they say, are lost. */
static void forged_packets_are_lost(void **state)
{
	struct driver *d = *state;
	struct virtio_vsock_hdr rows[4];

	establish(d);
	for (int i = 0; i < 4; i++)
		rows[i] = header(HOST_PORT);
	rows[0].src_cid = CID + 1;
	rows[1].dst_cid = 3;
	rows[2].dst_cid |= 1ull << 40;
	rows[3].len = 100;
	for (int i = 0; i < 4; i++)
		send(d, VIRTIO_VSOCK_OP_RW, rows[i], "x");
	assert_int_equal(ends[0].got_n, 0);
	expect(d, 0);
	const struct piece part = { PACKET, 43, false };

	driver_offer(d, TX, &part, 1);
	expect(d, 0);
	assert_false(needs_reset(d));
}

/* 5.10.6.3: "RW data packets MUST only be transmitted when the peer has sufficient free buffer space". */
static void data_only_as_there_is_credit(void **state)
{
	struct driver *d = *state;
	struct virtio_vsock_hdr h = header(HOST_PORT);
	char text[64];

	establish(d);
	h.buf_alloc = 4;
	send(d, VIRTIO_VSOCK_OP_CREDIT_UPDATE, h, "");
	ends[0].say = "0123456789";
	ends[0].stream.ready(ends[0].stream.ready_arg);
	receive(d, text);
	assert_string_equal(text, "0123");
	expect(d, 0);
	h.fwd_cnt = 3;
	send(d, VIRTIO_VSOCK_OP_CREDIT_UPDATE, h, "");
	receive(d, text);
	assert_string_equal(text, "456");
	/* counters that make no sense are no credit */
	h.fwd_cnt = 1000;
	send(d, VIRTIO_VSOCK_OP_CREDIT_UPDATE, h, "");
	expect(d, 0);
}

/* 5.10.6.3: "All packets associated with a stream flow MUST contain valid information in buf_alloc and fwd_cnt". */
static void our_credit_is_told(void **state)
{
	struct driver *d = *state;

	establish(d);
	ends[0].room = 5;
	rw(d, "0123456789");
	send(d, VIRTIO_VSOCK_OP_CREDIT_REQUEST, header(HOST_PORT), "");
	struct virtio_vsock_hdr h = receive(d, NULL);

	assert_int_equal(h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(h.buf_alloc, VIRTIO_VSOCK_BUFFER);
	assert_int_equal(h.fwd_cnt, 5);
	ends[0].room = SIZE_MAX;
	ends[0].stream.ready(ends[0].stream.ready_arg);
	assert_memory_equal(ends[0].got, "0123456789", 10);
	send(d, VIRTIO_VSOCK_OP_CREDIT_REQUEST, header(HOST_PORT), "");
	assert_int_equal(receive(d, NULL).fwd_cnt, 10);
}

/* A guest that sends more than it may is disconnected; nothing grows. */
static void credit_lies_end_the_connection(void **state)
{
	struct driver *d = *state;
	static char much[30001];
	unsigned n = 0;

	memset(much, 'x', 30000);
	establish(d);
	ends[0].room = 0;
	while (!ends[0].closed && n++ < 10)
		rw(d, much);
	assert_int_equal(n, 3);
	expect(d, VIRTIO_VSOCK_OP_RST);
	establish(d); /* the ports are free again */
}

/* 5.10.6.1: "The tx virtqueue MUST be processed even when the rx virtqueue is full so long as there are additional
 * resources", and not for ever. */
static void tx_goes_on_without_rx_buffers(void **state)
{
	struct driver *d = *state;
	unsigned done = 0;

	for (unsigned i = 0; i < 200; i++) {
		send(d, VIRTIO_VSOCK_OP_RW, header(9), "");
		if (driver_take(d, TX) < 0)
			break;
		done++;
	}
	assert_true(done >= 32 && done < 200);
	for (unsigned i = 0; i <= done; i++)
		expect(d, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(driver_take(d, TX), 0);
}

/* A flood of requests takes the table, not more; those beyond are refused. */
static void floods_of_requests(void **state)
{
	struct driver *d = *state;
	struct virtio_vsock_hdr h = header(HOST_PORT);

	for (unsigned i = 0; i < VIRTIO_VSOCK_CONNECTIONS_MAX; i++) {
		h.src_port = GUEST_PORT + i;
		send(d, VIRTIO_VSOCK_OP_REQUEST, h, "");
	}
	assert_int_equal(asked, VIRTIO_VSOCK_CONNECTIONS_MAX);
	h.src_port++;
	send(d, VIRTIO_VSOCK_OP_REQUEST, h, "");
	assert_int_equal(asked, VIRTIO_VSOCK_CONNECTIONS_MAX);
	expect(d, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(virtio_vsock_connect(d->dev, 1, &ends[0].stream), -EBUSY);
	h.src_port = GUEST_PORT;
	send(d, VIRTIO_VSOCK_OP_REQUEST, h, ""); /* the same once more: it is broken off */
	expect(d, VIRTIO_VSOCK_OP_RST);
}

/* 5.10.6.5: "Clean disconnect is achieved by SHUTDOWN packets, followed by a RST response from the peer." */
static void clean_disconnect_by_the_guest(void **state)
{
	struct driver *d = *state;
	struct virtio_vsock_hdr h = header(HOST_PORT);

	establish(d);
	ends[0].room = 1;
	rw(d, "ab");
	h.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	send(d, VIRTIO_VSOCK_OP_SHUTDOWN, h, "");
	assert_int_equal(ends[0].ended, 0); /* not before all is through */
	ends[0].room = 10;
	ends[0].stream.ready(ends[0].stream.ready_arg);
	assert_int_equal(ends[0].ended, 1);
	assert_memory_equal(ends[0].got, "ab", 2);
	ends[0].say = "still";
	ends[0].stream.ready(ends[0].stream.ready_arg);
	expect(d, VIRTIO_VSOCK_OP_RW);
	h.flags =
		VIRTIO_VSOCK_SHUTDOWN_RECEIVE; /* "successive packets with bits clear do not reset them" */
	send(d, VIRTIO_VSOCK_OP_SHUTDOWN, h, "");
	expect(d, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(ends[0].closed, 1);
}

static void data_after_its_end(void **state)
{
	struct driver *d = *state;
	struct virtio_vsock_hdr h = header(HOST_PORT);

	establish(d);
	h.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	send(d, VIRTIO_VSOCK_OP_SHUTDOWN, h, "");
	rw(d, "more");
	expect(d, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(ends[0].got_n, 0);
}

static void disconnect_by_the_host(void **state)
{
	struct driver *d = *state;

	establish(d);
	ends[0].says_end = true;
	ends[0].stream.ready(ends[0].stream.ready_arg);
	struct virtio_vsock_hdr h = receive(d, NULL);

	assert_int_equal(h.op, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	rw(d, "it still listens");
	assert_int_equal(ends[0].got_n, 16);
	ends[0].dead = true;
	rw(d, "now not");
	expect(d, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(ends[0].closed, 1);
}

static void small_receive_buffers_need_a_reset(void **state)
{
	struct driver *d = *state;

	post(d, 44);
	send(d, VIRTIO_VSOCK_OP_RW, header(9), "");
	assert_true(needs_reset(d));
}

static void reset_closes_all(void **state)
{
	struct driver *d = *state;

	establish(d);
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(ends[0].closed, 1);
	assert_int_equal(virtio_vsock_connect(d->dev, 1, &ends[1].stream), -ENOTCONN);
}

int main(void)
{
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(guest_cid_is_not_reserved),
		TEST(the_guest_calls),
		TEST(the_host_calls),
		TEST(nobody_listens),
		TEST(unknown_types_are_reset),
		TEST(unknown_ports_are_reset),
		TEST(forged_packets_are_lost),
		TEST(data_only_as_there_is_credit),
		TEST(our_credit_is_told),
		TEST(credit_lies_end_the_connection),
		TEST(tx_goes_on_without_rx_buffers),
		TEST(floods_of_requests),
		TEST(clean_disconnect_by_the_guest),
		TEST(data_after_its_end),
		TEST(disconnect_by_the_host),
		TEST(small_receive_buffers_need_a_reset),
		TEST(reset_closes_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
