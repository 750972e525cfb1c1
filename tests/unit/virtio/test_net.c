/* The network device behind its registers, with a port that remembers. Names of tests quote virtio 1.2. */
#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "driver.h"
#include "virtio/net.h"

enum { PAIRS = 2, CONTROL = 2 * PAIRS, FRAME = 100, LARGE = 40 << 20 };

#define F(name) (1ull << VIRTIO_NET_F_##name)

/* A port: what was sent last, and what is to be received. */
static struct {
	struct net_port port;
	unsigned sent, can, used;
	uint8_t last[70000];
	size_t last_n;
	bool full, gone;
	uint16_t *endless; /* an available ring: with each frame comes another */
	uint8_t waiting[70000];
	size_t waiting_n; /* 0: nothing */
} p;

static struct {
	bool in[PAIRS], out[PAIRS];
	unsigned again;
} m;

static int port_send(struct net_port *port, unsigned queue, const struct iovec *iov, int n)
{
	(void)port;
	(void)queue;
	if (p.full)
		return -EAGAIN;
	p.last_n = 0;
	if (p.endless)
		p.endless[1] = htole16((uint16_t)(le16toh(p.endless[1]) + 1));
	for (int i = 0; i < n; i++) {
		memcpy(p.last + p.last_n, iov[i].iov_base, iov[i].iov_len);
		p.last_n += iov[i].iov_len;
	}
	p.sent++;
	return 0;
}

static ssize_t port_receive(struct net_port *port, unsigned queue, const struct iovec *iov, int n)
{
	size_t done = 0;

	(void)port;
	(void)queue;
	if (p.gone)
		return -EPIPE;
	if (!p.waiting_n)
		return -EAGAIN;
	for (int i = 0; i < n && done < p.waiting_n; i++) {
		size_t part = MIN(iov[i].iov_len, p.waiting_n - done);

		memcpy(iov[i].iov_base, p.waiting + done, part);
		done += part;
	}
	p.waiting_n = 0;
	return (ssize_t)done;
}

static int port_accept(struct net_port *port, unsigned can)
{
	(void)port;
	p.can = can;
	return 0;
}

static int port_use(struct net_port *port, unsigned queues)
{
	(void)port;
	p.used = queues;
	return 0;
}

static void port_free(struct net_port *port)
{
	(void)port;
}

static void watch(void *arg, unsigned queue, bool in, bool out)
{
	(void)arg;
	m.in[queue] = in;
	m.out[queue] = out;
}

static void again(void *arg, unsigned virtqueue)
{
	(void)arg;
	(void)virtqueue;
	m.again++;
}

static int begin_in(void **state, uint64_t memory, uint64_t features)
{
	static const struct net_port_ops ops = { "test",      port_send, port_receive,
						 port_accept, port_use,	 port_free };
	static const struct virtio_net_settings settings = {
		.mac = { 2, 0x57, 1, 2, 3, 4 }, .mtu = 1500, .watch = watch, .again = again
	};
	static struct driver d;
	struct err e = ERR_INIT;

	driver_memory(&d);
	memory_fini(&d.mem);
	assert_int_equal(memory_init(&d.mem, memory, false, &e), 0);
	memset(&p, 0, sizeof(p));
	memset(&m, 0, sizeof(m));
	p.port = (struct net_port){ .ops = &ops, .offloads = true, .queues = PAIRS };
	driver_attach(&d, virtio_net_new(&d.mem, &p.port, &settings), features);
	assert_int_equal(m.again, 1); /* DRIVER_OK: the device's thread is called */
	virtio_net_ready(d.dev, 0);
	m.again = 0;
	*state = &d;
	return 0;
}

static int begin_with(void **state, uint64_t features)
{
	return begin_in(state, DRIVER_MEMORY, features);
}

static int begin(void **state)
{
	return begin_with(state, F(CSUM) | F(HOST_TSO4) | F(MQ) | F(CTRL_VQ) | F(CTRL_MAC_ADDR));
}

static int begin_merging(void **state)
{
	return begin_with(state, F(MRG_RXBUF) | F(CSUM) | F(GUEST_CSUM) | F(GUEST_TSO4) | F(MQ));
}

static int begin_plain(void **state)
{
	return begin_with(state, F(CTRL_VQ));
}

/* With enough memory for a buffer of more than 4 GB. */
static int begin_large(void **state)
{
	return begin_in(state, LARGE, F(MRG_RXBUF) | 1ull << VIRTIO_F_INDIRECT_DESC);
}

static int end(void **state)
{
	driver_detach(*state);
	return 0;
}

/* ---- frames from the guest ---- */

static struct virtio_net_hdr *tx_header(struct driver *d)
{
	struct virtio_net_hdr *h = guest(d, DRIVER_DATA);
	uint8_t *frame = guest(d, DRIVER_DATA + sizeof(*h));

	memset(h, 0, sizeof(*h));
	for (int i = 0; i < FRAME; i++)
		frame[i] = (uint8_t)i;
	return h;
}

static void send(struct driver *d, uint32_t len)
{
	driver_offer(d, 1, &(struct piece){ DRIVER_DATA, len, false }, 1);
}

static void tx_5_1_6_2_frames_go_out_whole(void **state)
{
	struct driver *d = *state;

	tx_header(d);
	send(d, sizeof(struct virtio_net_hdr) + FRAME);
	assert_int_equal(driver_take(d, 1), 0);
	assert_int_equal(p.sent, 1);
	assert_int_equal(p.last_n, sizeof(struct virtio_net_hdr) + FRAME);
	assert_int_equal(p.last[sizeof(struct virtio_net_hdr) + 99], 99);
}

/* 2.7.4: the device makes no assumption on how a buffer is cut. */
static void tx_2_7_4_any_layout(void **state)
{
	struct driver *d = *state;
	struct piece cut[] = { { DRIVER_DATA, 5, false },
			       { DRIVER_DATA + 5, 10, false },
			       { DRIVER_DATA + 15, FRAME - 3, false } };

	tx_header(d);
	driver_offer(d, 1, cut, 3);
	assert_int_equal(p.last_n, sizeof(struct virtio_net_hdr) + FRAME);
	for (int i = 0; i < FRAME; i++)
		assert_int_equal(p.last[sizeof(struct virtio_net_hdr) + i], i);
}

static void tx_5_1_6_2_offloads_reach_the_port(void **state)
{
	struct driver *d = *state;
	struct virtio_net_hdr *h = tx_header(d), got;

	*h = (struct virtio_net_hdr){ 0xff,	   VIRTIO_NET_HDR_GSO_TCPV4,
				      htole16(54), htole16(50),
				      htole16(34), htole16(16),
				      htole16(9) };
	send(d, sizeof(*h) + FRAME);
	assert_int_equal(p.sent, 1);
	memcpy(&got, p.last, sizeof(got));
	/* Only what is known of flags goes on, and nothing of num_buffers (5.1.6.2.1: the driver sets 0). */
	assert_int_equal(got.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(got.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(le16toh(got.gso_size), 50);
	assert_int_equal(le16toh(got.csum_start), 34);
	assert_int_equal(got.num_buffers, 0);
}

/* 5.1.6.2.2, 5.1.3: headers that lie, or use what was not negotiated, cost the guest the frame. */
static void tx_5_1_6_2_2_lies_cost_the_frame(void **state)
{
	enum { N = VIRTIO_NET_HDR_F_NEEDS_CSUM, T4 = VIRTIO_NET_HDR_GSO_TCPV4 };
	static const struct {
		const char *what;
		struct virtio_net_hdr h;
		uint32_t len;
	} rows[] = {
		{ "checksum behind the frame", { N, 0, 0, 0, 90, 9, 0 }, FRAME },
		{ "checksum far behind", { N, 0, 0, 0, 0xffff, 0xffff, 0 }, FRAME },
		{ "checksum in a frame of one byte", { N, 0, 0, 0, 0, 0, 0 }, 1 },
		{ "segments without a size", { N, T4, 54, 0, 34, 16, 0 }, FRAME },
		{ "segments without a checksum", { 0, T4, 54, 50, 34, 16, 0 }, FRAME },
		{ "headers longer than the frame", { N, T4, FRAME + 1, 50, 34, 16, 0 }, FRAME },
		{ "TSO6 was not negotiated",
		  { N, VIRTIO_NET_HDR_GSO_TCPV6, 54, 50, 34, 16, 0 },
		  FRAME },
		{ "UFO is not offered", { N, VIRTIO_NET_HDR_GSO_UDP, 54, 50, 34, 16, 0 }, FRAME },
		{ "ECN was not negotiated",
		  { N, T4 | VIRTIO_NET_HDR_GSO_ECN, 54, 50, 34, 16, 0 },
		  FRAME },
		{ "ECN alone", { N, VIRTIO_NET_HDR_GSO_ECN, 54, 50, 34, 16, 0 }, FRAME },
		{ "an unknown type", { N, 7, 54, 50, 34, 16, 0 }, FRAME },
		{ "no frame", { 0 }, 0 },
		{ "too long a frame", { 0 }, NET_FRAME_MAX + 1 },
	};
	struct driver *d = *state;
	struct virtio_net_stats s;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct virtio_net_hdr *h = tx_header(d);

		*h = rows[i].h; /* this machine is little-endian, as the device */
		send(d, sizeof(*h) + rows[i].len);
		if (p.sent)
			fail_msg("%s: was sent", rows[i].what);
		assert_int_equal(driver_take(d, 1), 0);
	}
	virtio_net_stats(d->dev, &s);
	assert_int_equal(s.tx_dropped, ARRAY_SIZE(rows));
	assert_false(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	tx_header(d);
	send(d, sizeof(struct virtio_net_hdr) + FRAME);
	assert_int_equal(p.sent, 1);
}

static void tx_5_1_3_no_checksums_without_the_feature(void **state)
{
	struct driver *d = *state; /* CSUM not negotiated */

	tx_header(d)->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	send(d, sizeof(struct virtio_net_hdr) + FRAME);
	assert_int_equal(p.sent, 0);
}

static void tx_2_1_2_headless_frames_need_a_reset(void **state)
{
	struct driver *d = *state;

	tx_header(d);
	send(d, sizeof(struct virtio_net_hdr) - 1);
	assert_int_equal(p.sent, 0);
	assert_true(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
}

static void tx_waits_for_the_port(void **state)
{
	struct driver *d = *state;

	p.full = true;
	tx_header(d);
	send(d, sizeof(struct virtio_net_hdr) + FRAME);
	assert_int_equal(driver_take(d, 1), -1);
	assert_true(m.out[0]);
	p.full = false;
	virtio_net_ready(d->dev, 0);
	assert_int_equal(driver_take(d, 1), 0);
	assert_int_equal(p.sent, 1);
	assert_false(m.out[0]);
}

/* A driver that never stops does not keep the thread. */
static void tx_others_get_their_turn(void **state)
{
	struct driver *d = *state;
	struct virtq_desc *table = guest(d, ring_area(1, 0));
	uint16_t *ring = guest(d, ring_area(1, 1));

	tx_header(d);
	table[0] = (struct virtq_desc){ htole64(DRIVER_DATA), htole32(112), 0, 0 };
	p.endless = ring;
	ring[1] = htole16(1);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	assert_in_range(p.sent, 1, 1000);
	assert_int_equal(m.again, 1);
}

/* ---- frames to the guest ---- */

static void give(struct driver *d, uint16_t slot, uint32_t len)
{
	struct virtq_desc *table = guest(d, ring_area(0, 0));
	uint16_t *ring = guest(d, ring_area(0, 1));

	table[slot] = (struct virtq_desc){ htole64(DRIVER_DATA + 0x2000u * slot), htole32(len),
					   htole16(VIRTQ_DESC_F_WRITE), 0 };
	ring[2 + d->avail[0] % DRIVER_RING] = htole16(slot);
	ring[1] = htole16(++d->avail[0]);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static void arrive(struct driver *d, size_t len)
{
	memset(p.waiting, 0, sizeof(struct virtio_net_hdr));
	for (size_t i = 0; i < len; i++)
		p.waiting[sizeof(struct virtio_net_hdr) + i] = (uint8_t)i;
	p.waiting_n = sizeof(struct virtio_net_hdr) + len;
	virtio_net_ready(d->dev, 0);
}

static struct virtio_net_hdr rx_header(struct driver *d, uint16_t slot)
{
	struct virtio_net_hdr h;

	memcpy(&h, guest(d, DRIVER_DATA + 0x2000u * slot), sizeof(h));
	return h;
}

static void rx_5_1_6_3_2_one_buffer_without_merging(void **state)
{
	struct driver *d = *state;

	give(d, 0, 2000);
	give(d, 1, 2000);
	arrive(d, FRAME);
	assert_int_equal(driver_take(d, 0), sizeof(struct virtio_net_hdr) + FRAME);
	assert_int_equal(driver_take(d, 0), -1);
	assert_int_equal(le16toh(rx_header(d, 0).num_buffers), 1);
	assert_int_equal(*(uint8_t *)guest(d, DRIVER_DATA + 12 + 99), 99);
}

static void rx_too_small_a_buffer_loses_the_frame(void **state)
{
	struct driver *d = *state;
	struct virtio_net_stats s;

	give(d, 0, 50);
	arrive(d, FRAME);
	assert_int_equal(driver_take(d, 0), -1);
	virtio_net_stats(d->dev, &s);
	assert_int_equal(s.rx_dropped, 1);
	arrive(d, 20); /* the buffer is still there */
	assert_int_equal(driver_take(d, 0), sizeof(struct virtio_net_hdr) + 20);
}

/* 5.1.6.4.1: flags are zero without GUEST_CSUM, whatever the port says. */
static void rx_5_1_6_4_1_no_flags_without_the_feature(void **state)
{
	struct driver *d = *state;

	give(d, 0, 2000);
	memset(p.waiting, 0xff, sizeof(struct virtio_net_hdr) + FRAME);
	p.waiting_n = sizeof(struct virtio_net_hdr) + FRAME;
	virtio_net_ready(d->dev, 0);
	struct virtio_net_hdr h = rx_header(d, 0);

	assert_int_equal(h.flags, 0);
	assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(h.gso_size, 0);
	assert_int_equal(le16toh(h.num_buffers), 1);
}

static void rx_5_1_6_4_1_merged_buffers(void **state)
{
	struct driver *d = *state;

	for (uint16_t i = 0; i < 5; i++)
		give(d, i, 1000);
	arrive(d, 2500);
	assert_int_equal(driver_take(d, 0), 1000);
	assert_int_equal(driver_take(d, 0), 1000);
	assert_int_equal(driver_take(d, 0), 512);
	assert_int_equal(driver_take(d, 0), -1);
	assert_int_equal(le16toh(rx_header(d, 0).num_buffers), 3);
	assert_int_equal(*(uint8_t *)guest(d, DRIVER_DATA + 0x4000 + 511), (uint8_t)2499);
	arrive(d, FRAME); /* goes on with the fourth */
	assert_int_equal(driver_take(d, 0), sizeof(struct virtio_net_hdr) + FRAME);
	assert_int_equal(le16toh(rx_header(d, 3).num_buffers), 1);
}

/* The number of buffers lands where it belongs, though a driver cuts the header in two. */
static void rx_header_across_buffers(void **state)
{
	struct driver *d = *state;

	give(d, 0, 11);
	give(d, 1, 1000);
	arrive(d, FRAME);
	assert_int_equal(driver_take(d, 0), 11);
	assert_int_equal(driver_take(d, 0), 1 + FRAME);
	assert_int_equal(*(uint8_t *)guest(d, DRIVER_DATA + 10), 2);
	assert_int_equal(*(uint8_t *)guest(d, DRIVER_DATA + 0x2000), 0);
}

static void rx_waits_for_buffers(void **state)
{
	struct driver *d = *state;

	arrive(d, FRAME);
	assert_false(m.in[0]); /* no room: the port is left alone */
	give(d, 0, 2000);
	give(d, 1, 2000);
	assert_int_equal(driver_take(d, 0), sizeof(struct virtio_net_hdr) + FRAME);
	assert_true(m.in[0]);
}

static void rx_buffers_that_cannot_be_written_need_a_reset(void **state)
{
	struct driver *d = *state;

	driver_offer(d, 0, &(struct piece){ DRIVER_DATA, 2000, false }, 1);
	arrive(d, FRAME);
	assert_true(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
}

/* ---- configuration and control ---- */

static void config_5_1_4(void **state)
{
	struct driver *d = *state;

	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG), 0x02015702);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG + 4), VIRTIO_NET_S_LINK_UP << 16 | 0x0403);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG + 8), 1500 << 16 | PAIRS);
	p.gone = true;
	give(d, 0, 2000);
	virtio_net_ready(d->dev, 0);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG + 4), 0x0403); /* the link is down */
	assert_true(reg_read(d, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_INTERRUPT_CONFIG);
}

static int control(struct driver *d, unsigned queue, uint8_t class, uint8_t what, const void *data,
		   uint32_t n)
{
	uint8_t *c = guest(d, DRIVER_DATA);
	struct piece pieces[] = { { DRIVER_DATA, 2, false },
				  { DRIVER_DATA + 2, n, false },
				  { DRIVER_DATA + 64, 1, true } };

	c[0] = class;
	c[1] = what;
	c[64] = 0xee;
	memcpy(c + 2, data, n);
	driver_offer(d, queue, pieces, 3);
	assert_int_equal(driver_take(d, queue), 1);
	return c[64];
}

static void control_5_1_6_5_5_pairs(void **state)
{
	struct driver *d = *state;
	static const uint16_t wishes[] = { 2, 1, 0, PAIRS + 1, 0x8000 };

	assert_int_equal(p.used, 1); /* 5.1.6.5.5.1: one pair after reset */
	assert_false(m.in[1]);
	for (size_t i = 0; i < ARRAY_SIZE(wishes); i++) {
		uint16_t n = htole16(wishes[i]);
		bool good = wishes[i] == 1 || wishes[i] == 2;

		assert_int_equal(control(d, CONTROL, VIRTIO_NET_CTRL_MQ, 0, &n, 2),
				 good ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
		assert_int_equal(p.used, i == 0 ? 2 : 1);
		assert_int_equal(m.in[1], i == 0);
	}
	assert_int_equal(control(d, CONTROL, VIRTIO_NET_CTRL_MQ, 0, "x", 1), VIRTIO_NET_ERR);
}

static void control_5_1_6_5_2_address(void **state)
{
	struct driver *d = *state;

	assert_int_equal(control(d, CONTROL, VIRTIO_NET_CTRL_MAC, 1, "\x02wxyz!", 6),
			 VIRTIO_NET_OK);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG), 'y' << 24 | 'x' << 16 | 'w' << 8 | 2);
	assert_int_equal(control(d, CONTROL, VIRTIO_NET_CTRL_MAC, 1, "\x02wxyz", 5),
			 VIRTIO_NET_ERR);
	driver_start(d, 0);
	virtio_net_ready(d->dev, 0);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG), 0x02015702);
}

static void control_5_1_6_5_unknown_commands(void **state)
{
	struct driver *d = *state;

	assert_int_equal(control(d, CONTROL, 0, 0, "\1", 1), VIRTIO_NET_ERR);
	assert_int_equal(control(d, CONTROL, 200, 7, "\1", 1), VIRTIO_NET_ERR);
	assert_int_equal(control(d, CONTROL, VIRTIO_NET_CTRL_MAC, 0, "\1", 1), VIRTIO_NET_ERR);
	assert_int_equal(control(d, CONTROL, VIRTIO_NET_CTRL_MQ, 1, "\1\0", 2), VIRTIO_NET_ERR);
}

/* 5.1.2: without MQ the control queue is the third, and MQ's command is none. */
static void control_5_1_2_queue_without_mq(void **state)
{
	struct driver *d = *state;
	uint16_t two = htole16(2);

	assert_int_equal(control(d, 2, VIRTIO_NET_CTRL_MQ, 0, &two, 2), VIRTIO_NET_ERR);
	assert_int_equal(control(d, 2, VIRTIO_NET_CTRL_MAC, 1, "abcdef", 6), VIRTIO_NET_ERR);
	assert_int_equal(p.used, 1);
}

static void control_without_an_answer_needs_a_reset(void **state)
{
	struct driver *d = *state;

	driver_offer(d, CONTROL, &(struct piece){ DRIVER_DATA, 2, false }, 1);
	assert_true(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
}

static void features_5_1_3_1_need_each_other(void **state)
{
	struct driver *d = *state;

	assert_int_equal(p.can, NET_CAN_CSUM | NET_CAN_TSO4);
	driver_start(d, F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN));
	virtio_net_ready(d->dev, 0);
	assert_int_equal(p.can, 0); /* without GUEST_CSUM */
	driver_start(d, F(GUEST_CSUM) | F(GUEST_ECN));
	virtio_net_ready(d->dev, 0);
	assert_int_equal(p.can, NET_CAN_CSUM);
	driver_start(d, F(GUEST_CSUM) | F(GUEST_TSO6) | F(GUEST_ECN));
	virtio_net_ready(d->dev, 0);
	assert_int_equal(p.can, NET_CAN_CSUM | NET_CAN_TSO6 | NET_CAN_ECN);
}

static void reset_2_4_forgets_buffers(void **state)
{
	struct driver *d = *state;

	give(d, 0, 1000);
	give(d, 1, 1000);
	arrive(d, 200); /* the second buffer is in the device's hands */
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	arrive(d, 300);
	assert_false(m.in[0]);
	driver_start(d, F(MRG_RXBUF));
	virtio_net_ready(d->dev, 0);
	memset(guest(d, DRIVER_DATA + 0x2000), 0x55, 1000);
	give(d, 5, 1000);
	arrive(d, 300);
	assert_int_equal(driver_take(d, 0), 312);
	assert_int_equal(*(uint8_t *)guest(d, DRIVER_DATA + 0x2000), 0x55);
}

/* A buffer in which the same memory lies many times, larger than a used entry can say. */
static void rx_buffers_of_more_than_4_gb(void **state)
{
	struct driver *d = *state;
	struct virtq_desc *table = guest(d, ring_area(0, 0));
	struct virtq_desc *inner = guest(d, DRIVER_DATA + 0x80000);
	uint16_t *ring = guest(d, ring_area(0, 1));

	for (uint16_t i = 0; i < VIRTQ_IOV_MAX; i++)
		inner[i] = (struct virtq_desc){
			0, htole32(LARGE),
			htole16((uint16_t)(VIRTQ_DESC_F_WRITE |
					   (i + 1 < VIRTQ_IOV_MAX ? VIRTQ_DESC_F_NEXT : 0))),
			htole16((uint16_t)(i + 1))
		};
	table[0] = (struct virtq_desc){ htole64(DRIVER_DATA + 0x80000), htole32(16 * VIRTQ_IOV_MAX),
					htole16(VIRTQ_DESC_F_INDIRECT), 0 };
	ring[2] = 0;
	ring[1] = htole16(++d->avail[0]);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	arrive(d, FRAME);
	assert_int_equal(driver_take(d, 0), sizeof(struct virtio_net_hdr) + FRAME);
	/* It was the only one. */
	arrive(d, FRAME);
	assert_int_equal(driver_take(d, 0), -1);
	assert_int_not_equal(p.waiting_n, 0);
	give(d, 5, 2000);
	virtio_net_ready(d->dev, 0);
	assert_int_equal(driver_take(d, 0), sizeof(struct virtio_net_hdr) + FRAME);
}

int main(void)
{
#define TEST(name)	  cmocka_unit_test_setup_teardown(name, begin, end)
#define TEST_MERGED(name) cmocka_unit_test_setup_teardown(name, begin_merging, end)
#define TEST_PLAIN(name)  cmocka_unit_test_setup_teardown(name, begin_plain, end)
	const struct CMUnitTest tests[] = {
		TEST(tx_5_1_6_2_frames_go_out_whole),
		TEST(tx_2_7_4_any_layout),
		TEST(tx_5_1_6_2_offloads_reach_the_port),
		TEST(tx_5_1_6_2_2_lies_cost_the_frame),
		TEST_PLAIN(tx_5_1_3_no_checksums_without_the_feature),
		TEST(tx_2_1_2_headless_frames_need_a_reset),
		TEST(tx_waits_for_the_port),
		TEST(tx_others_get_their_turn),
		TEST(rx_5_1_6_3_2_one_buffer_without_merging),
		TEST(rx_too_small_a_buffer_loses_the_frame),
		TEST(rx_5_1_6_4_1_no_flags_without_the_feature),
		TEST_MERGED(rx_5_1_6_4_1_merged_buffers),
		TEST_MERGED(rx_header_across_buffers),
		cmocka_unit_test_setup_teardown(rx_buffers_of_more_than_4_gb, begin_large, end),
		TEST(rx_waits_for_buffers),
		TEST(rx_buffers_that_cannot_be_written_need_a_reset),
		TEST(config_5_1_4),
		TEST(control_5_1_6_5_5_pairs),
		TEST(control_5_1_6_5_2_address),
		TEST(control_5_1_6_5_unknown_commands),
		TEST_PLAIN(control_5_1_2_queue_without_mq),
		TEST(control_without_an_answer_needs_a_reset),
		TEST_MERGED(features_5_1_3_1_need_each_other),
		TEST_MERGED(reset_2_4_forgets_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
