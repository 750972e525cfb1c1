/*
 * The socket device: a table of connections, each a stream of the host's and two counters of credit.
 *
 *	guest's tx queue -> header judged -> host's stream, or `held` while it takes nothing
 *	host's stream -> straight into a buffer of the rx queue, behind the header
 *
 * To the guest goes only what it has room for by its own word (buf_alloc, fwd_cnt); from the guest comes at most what
 * we said we have room for, and one that sends more is disconnected. What has to be told to the guest is a flag of
 * its connection (`owes`), and for packets that belong to none a short list: so that the tx queue is worked on while
 * the rx queue is empty, until that list is full.
 *
 * Implemented of virtio 1.2: 5.10.3 STREAM; 5.10.4 guest_cid; 5.10.6.1 flow control between the queues; 5.10.6.3
 * credit; 5.10.6.4 unknown types; 5.10.6.5 REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST. The
 * event queue is never needed. Not offered: SEQPACKET.
 *
 * Trust: headers are copied, then judged; ports and counters are the guest's word and are used for its own
 * connection only. Threads: under the device's lock. #syscalls: futex
 */
#include "virtio/vsock.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"

enum {
	QUEUE_RX = 0, /* 5.10.2 */
	QUEUE_TX = 1,
	QUEUES = 3,
	QUEUE_SIZE = 128,
	LOOSE_MAX = 64, /* resets of no connection that wait for a buffer */
	HEADER = sizeof(struct virtio_vsock_hdr),
	/* 5.10.6.3: told again when the guest might not know of this much room */
	TELL_CREDIT = VIRTIO_VSOCK_BUFFER / 4,
	SLOT_BITS = 8,
};

#define FIRST_HOST_PORT (1u << 30)

enum conn_state {
	CONN_FREE,
	CONN_ASKED,   /* by the guest; the host has not answered */
	CONN_OFFERED, /* to the guest, which has not answered */
	CONN_OPEN,
	CONN_OVER, /* only a reset is owed */
};

/* What the guest is to be told. */
enum {
	OWES_REQUEST = 1,
	OWES_RESPONSE = 2,
	OWES_RESET = 4,
	OWES_SHUTDOWN = 8,
	OWES_CREDIT = 16,
};

struct conn {
	struct virtio_vsock *owner;
	enum conn_state state;
	unsigned owes;
	uint32_t id, host_port, guest_port;
	struct stream *stream;
	bool readable;		      /* the stream may have bytes */
	bool guest_ended, guest_deaf; /* it sends, takes no more */
	uint32_t alloc, fwd, sent;    /* the guest's room, what it took of it, what it was sent */
	uint32_t took, told; /* bytes that the host took of the guest's; and of which it knows */
	struct buf held;
};

struct virtio_vsock {
	struct virtio_device dev;
	struct virtq queues[QUEUES];
	struct virtio_vsock_config config;
	uint32_t cid;
	const struct virtio_vsock_host *host;
	void *arg;
	struct conn conns[VIRTIO_VSOCK_CONNECTIONS_MAX];
	unsigned turn; /* whose bytes come first */
	uint32_t next_id, next_port;
	struct virtio_vsock_hdr loose[LOOSE_MAX];
	unsigned loose_n;
	struct virtq_chain rx; /* the guest's buffer in hand, when `rx_held` */
	bool rx_held;
	struct virtq_chain tx;
};

static struct virtio_vsock *vsock_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_vsock, dev);
}

static void config_read(struct virtio_device *d, uint32_t offset, void *to, uint32_t len)
{
	memcpy(to, (const uint8_t *)&vsock_of(d)->config + offset, len);
}

/* ---- connections ---- */

static struct conn *find(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port)
{
	for (unsigned i = 0; i < VIRTIO_VSOCK_CONNECTIONS_MAX; i++) {
		struct conn *c = &v->conns[i];

		if (c->state != CONN_FREE && c->host_port == host_port &&
		    c->guest_port == guest_port)
			return c;
	}
	return NULL;
}

static struct conn *conn_new(struct virtio_vsock *v, enum conn_state state, uint32_t host_port,
			     uint32_t guest_port)
{
	for (unsigned i = 0; i < VIRTIO_VSOCK_CONNECTIONS_MAX; i++) {
		struct conn *c = &v->conns[i];

		if (c->state != CONN_FREE)
			continue;
		*c = (struct conn){
			.owner = v,
			.state = state,
			.id = v->next_id++ << SLOT_BITS | i,
			.host_port = host_port,
			.guest_port = guest_port,
		};
		buf_init(&c->held, VIRTIO_VSOCK_BUFFER);
		return c;
	}
	return NULL;
}

/* The host's side of it is over. */
static void conn_drop(struct conn *c)
{
	struct stream *s = c->stream;

	c->stream = NULL;
	c->readable = false;
	buf_fini(&c->held);
	if (s) {
		s->ready = NULL;
		c->owner->host->closed(c->owner->arg, s);
	}
}

static void conn_free(struct conn *c)
{
	conn_drop(c);
	c->state = CONN_FREE;
}

/* And the guest's, once it was told. */
static void conn_reset(struct conn *c)
{
	conn_drop(c);
	c->state = CONN_OVER;
	c->owes = OWES_RESET;
}

/* ---- to the guest ---- */

/* A buffer of the rx queue with room for a header and a byte. */
static bool hold_rx(struct virtio_vsock *v)
{
	struct virtq *q = &v->queues[QUEUE_RX];

	if (!v->rx_held && virtq_pop(q, &v->rx) > 0) {
		v->rx_held = v->rx.writable_len > HEADER;
		if (!v->rx_held)
			q->broken = "a receive buffer without room for a packet";
	}
	return v->rx_held;
}

static void put_packet(struct virtio_vsock *v, const struct virtio_vsock_hdr *h, uint32_t payload)
{
	virtq_scatter(&v->rx, 0, h, HEADER);
	virtq_push(&v->queues[QUEUE_RX], &v->rx, HEADER + payload);
	v->rx_held = false;
}

static void put_of(struct conn *c, uint16_t op, uint32_t flags, uint32_t payload)
{
	const struct virtio_vsock_hdr h = {
		.src_cid = htole64(VIRTIO_VSOCK_CID_HOST),
		.dst_cid = htole64(c->owner->cid),
		.src_port = htole32(c->host_port),
		.dst_port = htole32(c->guest_port),
		.len = htole32(payload),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(op),
		.flags = htole32(flags),
		.buf_alloc = htole32(VIRTIO_VSOCK_BUFFER),
		.fwd_cnt = htole32(c->took),
	};

	c->told = c->took;
	c->owes &= ~(unsigned)OWES_CREDIT;
	put_packet(c->owner, &h, payload);
}

/* One thing that the guest is owed; true when there was one. */
static bool pay(struct conn *c)
{
	if (c->owes & OWES_RESET) {
		put_of(c, VIRTIO_VSOCK_OP_RST, 0, 0);
		conn_free(c);
	} else if (c->owes & OWES_REQUEST) {
		c->owes &= ~(unsigned)OWES_REQUEST;
		put_of(c, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
	} else if (c->owes & OWES_RESPONSE) {
		c->owes &= ~(unsigned)OWES_RESPONSE;
		put_of(c, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	} else if (c->owes & OWES_SHUTDOWN) {
		c->owes &= ~(unsigned)OWES_SHUTDOWN;
		put_of(c, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND, 0);
	} else if (c->owes & OWES_CREDIT) {
		put_of(c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
	} else {
		return false;
	}
	return true;
}

/* 5.10.6.3; a guest whose counters make no sense has no room. */
static uint32_t room(const struct conn *c)
{
	uint32_t on_its_way = c->sent - c->fwd;

	return on_its_way < c->alloc ? c->alloc - on_its_way : 0;
}

/* Bytes of the host's stream into the buffer in hand; true when it is gone. */
static bool forward(struct conn *c)
{
	struct virtio_vsock *v = c->owner;
	struct iovec iov[VIRTQ_IOV_MAX];

	if (c->state != CONN_OPEN || !c->readable || c->guest_deaf || !room(c))
		return false;
	int k = virtq_slice(virtq_writable(&v->rx), v->rx.writable, HEADER,
			    MIN(v->rx.writable_len - HEADER, (uint64_t)room(c)), iov);
	ssize_t n = c->stream->ops->read(c->stream, iov, k);

	if (n == -EAGAIN || n == 0)
		c->readable = false;
	if (n == 0)
		c->owes |= OWES_SHUTDOWN;
	else if (n < 0 && n != -EAGAIN)
		conn_reset(c);
	if (n <= 0)
		return c->owes && pay(c);
	c->sent += (uint32_t)n;
	put_of(c, VIRTIO_VSOCK_OP_RW, 0, (uint32_t)n);
	return true;
}

/* What is owed first, then bytes, of each connection in turn. */
static bool send_one(struct virtio_vsock *v)
{
	if (v->loose_n) {
		put_packet(v, &v->loose[--v->loose_n], 0);
		return true;
	}
	for (unsigned i = 0; i < VIRTIO_VSOCK_CONNECTIONS_MAX; i++)
		if (pay(&v->conns[i]))
			return true;
	for (unsigned i = 0; i < VIRTIO_VSOCK_CONNECTIONS_MAX; i++) {
		v->turn = (v->turn + 1) % VIRTIO_VSOCK_CONNECTIONS_MAX;
		if (forward(&v->conns[v->turn]))
			return true;
	}
	return false;
}

static void fill(struct virtio_vsock *v)
{
	int turn = VIRTIO_TURN;

	while (turn && hold_rx(v) && send_one(v))
		turn--;
	if (!turn)
		virtio_device_again(&v->dev);
	if (v->queues[QUEUE_RX].broken)
		virtio_device_fail(&v->dev);
	virtio_device_signal(&v->dev, &v->queues[QUEUE_RX]);
}

/* ---- from the guest ---- */

/* The host took `n` bytes of the guest's. */
static void took(struct conn *c, size_t n)
{
	c->took += (uint32_t)n;
	if (c->took - c->told >= TELL_CREDIT)
		c->owes |= OWES_CREDIT;
}

/* The guest sends no more, and what it sent is through. */
static void finish(struct conn *c)
{
	if (c->state != CONN_OPEN || !c->guest_ended || c->held.len)
		return;
	if (c->guest_deaf)
		conn_reset(c); /* a clean disconnect ends with our reset */
	else
		c->owner->host->ended(c->owner->arg, c->stream);
}

static void drain(struct conn *c)
{
	while (c->state == CONN_OPEN && c->held.len) {
		struct iovec all = { c->held.data, c->held.len };
		ssize_t n = c->stream->ops->write(c->stream, &all, 1);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			conn_reset(c);
			return;
		}
		buf_consume(&c->held, (size_t)n);
		took(c, (size_t)n);
		finish(c);
	}
}

/* Payload of the packet in hand. */
static void receive(struct conn *c, const struct virtq_chain *p, uint32_t len)
{
	struct iovec iov[VIRTQ_IOV_MAX];
	size_t done = 0;

	/* 5.10.6.3: more than there is room for, or after it said that it had ended */
	if (len > VIRTIO_VSOCK_BUFFER - c->held.len || c->guest_ended) {
		conn_reset(c);
		return;
	}
	if (!len)
		return;
	if (!c->held.len) {
		int k = virtq_slice(p->iov, p->readable, HEADER, len, iov);
		ssize_t n = c->stream->ops->write(c->stream, iov, k);

		if (n < 0 && n != -EAGAIN) {
			conn_reset(c);
			return;
		}
		done = n > 0 ? (size_t)n : 0;
		took(c, done);
	}
	if (done == len)
		return;
	char *rest = buf_reserve(&c->held, len - done);

	if (!rest) {
		conn_reset(c);
		return;
	}
	virtq_gather(p, HEADER + done, rest, len - done);
	buf_commit(&c->held, len - done);
	drain(c); /* to be told when it goes on */
}

static void shut_down(struct conn *c, uint32_t flags)
{
	bool ended = c->guest_ended && !(c->guest_deaf);

	c->guest_deaf |= flags & VIRTIO_VSOCK_SHUTDOWN_RECEIVE;
	c->guest_ended |= !!(flags & VIRTIO_VSOCK_SHUTDOWN_SEND);
	if (!ended || c->guest_deaf)
		finish(c);
}

/* 5.10.6.4, 5.10.6.5: a packet that belongs to nothing is answered with a reset, but for resets. */
static void reset_loose(struct virtio_vsock *v, const struct virtio_vsock_hdr *h)
{
	if (le16toh(h->op) == VIRTIO_VSOCK_OP_RST)
		return;
	assert(v->loose_n < LOOSE_MAX); /* take() sees to it */
	v->loose[v->loose_n++] = (struct virtio_vsock_hdr){
		.src_cid = htole64(VIRTIO_VSOCK_CID_HOST),
		.dst_cid = htole64(v->cid),
		.src_port = h->dst_port,
		.dst_port = h->src_port,
		.type = h->type,
		.op = htole16(VIRTIO_VSOCK_OP_RST),
	};
}

static void credit(struct conn *c, const struct virtio_vsock_hdr *h)
{
	c->alloc = le32toh(h->buf_alloc);
	c->fwd = le32toh(h->fwd_cnt);
}

static void request(struct virtio_vsock *v, const struct virtio_vsock_hdr *h)
{
	uint32_t port = le32toh(h->dst_port);
	struct conn *c = conn_new(v, CONN_ASKED, port, le32toh(h->src_port));

	if (!c) {
		reset_loose(v, h);
		return;
	}
	credit(c, h);
	v->host->connect(v->arg, c->id, port);
}

/* A packet of a connection that both sides have. */
static void packet_of(struct conn *c, const struct virtio_vsock_hdr *h, const struct virtq_chain *p)
{
	struct virtio_vsock *v = c->owner;
	uint16_t op = le16toh(h->op);

	credit(c, h);
	if (op == VIRTIO_VSOCK_OP_RST)
		conn_free(c);
	else if (op == VIRTIO_VSOCK_OP_RESPONSE && c->state == CONN_OFFERED && !c->owes) {
		c->state = CONN_OPEN;
		c->readable = true;
		v->host->opened(v->arg, c->id, c->stream, c->host_port);
	} else if (c->state != CONN_OPEN)
		conn_reset(c);
	else if (op == VIRTIO_VSOCK_OP_RW)
		receive(c, p, le32toh(h->len));
	else if (op == VIRTIO_VSOCK_OP_SHUTDOWN)
		shut_down(c, le32toh(h->flags));
	else if (op == VIRTIO_VSOCK_OP_CREDIT_REQUEST)
		c->owes |= OWES_CREDIT;
	else if (op != VIRTIO_VSOCK_OP_CREDIT_UPDATE)
		conn_reset(c);
}

static void packet(struct virtio_vsock *v, const struct virtq_chain *p)
{
	struct virtio_vsock_hdr h;
	struct conn *c;

	/* Not from this guest, not to us, or shorter than it says: lost, as on a wire. */
	if (virtq_gather(p, 0, &h, HEADER) != HEADER || le64toh(h.src_cid) != v->cid ||
	    le64toh(h.dst_cid) != VIRTIO_VSOCK_CID_HOST ||
	    le32toh(h.len) > p->readable_len - HEADER)
		return;
	c = le16toh(h.type) == VIRTIO_VSOCK_TYPE_STREAM
		    ? find(v, le32toh(h.dst_port), le32toh(h.src_port))
		    : NULL;
	if (c && c->state != CONN_OVER)
		packet_of(c, &h, p);
	else if (!c && le16toh(h.type) == VIRTIO_VSOCK_TYPE_STREAM &&
		 le16toh(h.op) == VIRTIO_VSOCK_OP_REQUEST)
		request(v, &h);
	else if (!c)
		reset_loose(v, &h);
}

/* 5.10.6.1: while there is room for answers outside the rx queue. */
static void take(struct virtio_vsock *v)
{
	struct virtq *q = &v->queues[QUEUE_TX];
	int turn = VIRTIO_TURN;

	while (turn && v->loose_n < LOOSE_MAX && virtq_pop(q, &v->tx) > 0) {
		turn--;
		packet(v, &v->tx);
		virtq_push(q, &v->tx, 0);
	}
	if (!turn)
		virtio_device_again(&v->dev);
	if (q->broken)
		virtio_device_fail(&v->dev);
	virtio_device_signal(&v->dev, q);
}

static void go_on(struct virtio_vsock *v)
{
	if (!(v->dev.status & VIRTIO_STATUS_DRIVER_OK))
		return;
	fill(v); /* makes room for answers */
	take(v);
	fill(v);
}

static void notify(struct virtio_device *d, unsigned queue)
{
	if (queue <= QUEUE_TX)
		go_on(vsock_of(d));
}

static void stream_ready(void *arg)
{
	struct conn *c = arg;
	struct virtio_vsock *v = c->owner;

	pthread_mutex_lock(&v->dev.lock);
	c->readable = c->stream != NULL;
	drain(c);
	go_on(v);
	pthread_mutex_unlock(&v->dev.lock);
}

static void reset(struct virtio_device *d)
{
	struct virtio_vsock *v = vsock_of(d);

	for (unsigned i = 0; i < VIRTIO_VSOCK_CONNECTIONS_MAX; i++)
		if (v->conns[i].state != CONN_FREE)
			conn_free(&v->conns[i]);
	v->loose_n = 0;
	v->rx_held = false;
}

static void free_vsock(struct virtio_device *d)
{
	reset(d);
	free(vsock_of(d));
}

static const struct virtio_ops ops = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.config_read = config_read,
	.notify = notify,
	.reset = reset,
	.free = free_vsock,
};

struct virtio_device *virtio_vsock_new(const struct memory *mem, uint32_t cid,
				       const struct virtio_vsock_host *host, void *arg)
{
	/* 5.10.6.4: no reserved one */
	assert(cid > VIRTIO_VSOCK_CID_HOST && cid != UINT32_MAX);
	struct virtio_vsock *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	virtio_device_init(&v->dev, &ops, mem, v->queues, QUEUES, QUEUE_SIZE,
			   1ull << VIRTIO_VSOCK_F_STREAM, sizeof(v->config));
	v->cid = cid;
	v->config.guest_cid = htole64(cid);
	v->host = host;
	v->arg = arg;
	v->next_port = FIRST_HOST_PORT;
	return &v->dev;
}

static void attach(struct conn *c, struct stream *s)
{
	c->stream = s;
	s->ready = stream_ready;
	s->ready_arg = c;
}

bool virtio_vsock_answer(struct virtio_device *d, uint32_t id, struct stream *s)
{
	struct virtio_vsock *v = vsock_of(d);
	struct conn *c = &v->conns[(id & ((1u << SLOT_BITS) - 1)) % VIRTIO_VSOCK_CONNECTIONS_MAX];

	pthread_mutex_lock(&d->lock);
	bool wanted = c->state == CONN_ASKED && c->id == id;

	if (wanted && s) {
		attach(c, s);
		c->state = CONN_OPEN;
		c->readable = true;
		c->owes = OWES_RESPONSE;
	} else if (wanted) {
		conn_reset(c);
	}
	go_on(v);
	pthread_mutex_unlock(&d->lock);
	return wanted;
}

int virtio_vsock_connect(struct virtio_device *d, uint32_t port, struct stream *s)
{
	struct virtio_vsock *v = vsock_of(d);
	int r = 0;

	pthread_mutex_lock(&d->lock);
	while (find(v, v->next_port, port))
		v->next_port++;
	struct conn *c = NULL;

	if (!(d->status & VIRTIO_STATUS_DRIVER_OK))
		r = -ENOTCONN;
	else
		c = conn_new(v, CONN_OFFERED, v->next_port++, port);
	if (c) {
		attach(c, s);
		c->owes = OWES_REQUEST;
		go_on(v);
	} else if (!r) {
		r = -EBUSY;
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}
