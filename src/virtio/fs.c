/*
 * The file system device: FUSE requests go straight from descriptor chains to the server's socket, replies from the
 * socket into the chains. Nothing of them is understood here but the two headers.
 *
 * A request takes a slot until its reply came; the number that the server sees as `unique` is the slot's, so that
 * replies find their way whatever the guest calls its requests. What the socket does not take at once is copied to
 * `out`, and the request queue then waits. The high-priority queue does not: forgets and interrupts want no reply,
 * so they are copied behind what waits, and used. After a reset the server may still answer what the old driver
 * asked: such slots are abandoned, and their replies read and dropped; a DESTROY ends the old session.
 *
 * Implemented of virtio 1.2: 5.11.2 hiprio and one request queue; 5.11.4 tag, num_request_queues; 5.11.6.1,
 * 5.11.6.2. Not offered: NOTIFICATION, shared memory (DAX).
 *
 * Trust: the guest's header is copied, then judged: its length must be the buffer's, and no more than the server
 * takes; the rest is judged by the server, on its own copy. The server is ours, but has eaten the guest's bytes: its
 * replies' lengths and numbers are checked too. Threads: under the device's lock. #syscalls: futex
 */
#include "virtio/fs.h"

#include <endian.h>
#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "storage/share.h"

enum {
	QUEUE_HIPRIO = 0, /* 5.11.2 */
	QUEUE_REQUESTS = 1,
	QUEUES = 2,
	QUEUE_SIZE = 128,
	SLOTS = 64,
	REQUEST_MAX = SHARE_MESSAGE_MAX + 4096, /* the server's buffer */
	OUT_MAX = 512 << 10,
	OUT_HIPRIO_MAX = 256 << 10, /* forgets wait for room from here on */
};

enum slot_state { SLOT_FREE, SLOT_SENT, SLOT_ABANDONED };

struct slot {
	struct virtq_chain chain;
	enum slot_state state;
	uint64_t unique; /* the guest's */
	struct slot *next;
};

/* The reply that is coming in. */
struct reply {
	struct fuse_out_header header;
	size_t header_n; /* bytes of it that came */
	struct slot *slot;
	bool fits;
	uint64_t at, left; /* of the body */
};

struct virtio_fs {
	struct virtio_device dev;
	struct virtq queues[QUEUES];
	struct virtio_fs_config config;
	struct stream *server;
	bool gone;    /* the server: every request fails */
	bool session; /* requests of this driver reached it */
	struct buf out;
	struct reply in;
	struct slot *free;
	struct slot slots[SLOTS];
	struct virtq_chain hiprio;
};

static struct virtio_fs *fs_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_fs, dev);
}

static void config_read(struct virtio_device *d, uint32_t offset, void *to, uint32_t len)
{
	memcpy(to, (const uint8_t *)&fs_of(d)->config + offset, len);
}

static void slot_free(struct virtio_fs *f, struct slot *s)
{
	s->state = SLOT_FREE;
	s->next = f->free;
	f->free = s;
}

/* ---- requests ---- */

static bool wants_no_reply(uint32_t opcode)
{
	return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT;
}

static void give_up(struct virtio_fs *f)
{
	f->gone = true;
	buf_clear(&f->out);
}

static void flush(struct virtio_fs *f)
{
	while (f->out.len && !f->gone) {
		struct iovec all = { f->out.data, f->out.len };
		ssize_t n = f->server->ops->write(f->server, &all, 1);

		if (n == -EAGAIN)
			return;
		if (n <= 0)
			give_up(f);
		else
			buf_consume(&f->out, (size_t)n);
	}
}

/* The header as the server gets it, then the chain's bytes behind it. What it does not take now is kept. */
static void send(struct virtio_fs *f, const struct fuse_in_header *h, const struct virtq_chain *c)
{
	struct iovec iov[1 + VIRTQ_IOV_MAX];
	size_t rest = h->len - sizeof(*h), sent = 0;

	if (!f->out.len) {
		struct fuse_in_header copy = *h;

		iov[0] = (struct iovec){ &copy, sizeof(copy) };
		int k = rest ? virtq_slice(c->iov, c->readable, sizeof(*h), rest, iov + 1) : 0;
		ssize_t n = f->server->ops->write(f->server, iov, 1 + k);

		if (n < 0 && n != -EAGAIN)
			give_up(f);
		sent = n > 0 ? (size_t)n : 0;
	}
	if (f->gone || sent == h->len)
		return;
	char *p = buf_reserve(&f->out, h->len - sent);

	if (!p) {
		give_up(f);
		return;
	}
	size_t kept = 0;

	if (sent < sizeof(*h)) {
		kept = sizeof(*h) - sent;
		memcpy(p, (const uint8_t *)h + sent, kept);
	}
	if (rest)
		virtq_gather(c, sent + kept, p + kept, h->len - sent - kept);
	buf_commit(&f->out, h->len - sent);
	flush(f); /* to be told when it goes on */
}

/* A reply of ours: the header alone. */
static void answer(struct virtio_fs *f, const struct virtq_chain *c, uint64_t unique, int error)
{
	struct fuse_out_header out = { .len = sizeof(out), .error = error, .unique = unique };
	size_t n = 0;

	if (c->writable_len >= sizeof(out))
		n = virtq_scatter(c, 0, &out, sizeof(out));
	virtq_push(&f->queues[QUEUE_REQUESTS], c, (uint32_t)n);
}

/* Copies and judges the header. */
static bool take_header(struct virtio_fs *f, unsigned queue, const struct virtq_chain *c,
			struct fuse_in_header *h)
{
	const char *why = NULL;

	if (virtq_gather(c, 0, h, sizeof(*h)) != sizeof(*h))
		why = "a FUSE request without a header";
	else if (h->len != c->readable_len || h->len > REQUEST_MAX)
		why = "a FUSE request whose length is not its buffer's";
	else if (queue == QUEUE_HIPRIO && !wants_no_reply(h->opcode))
		why = "an ordinary FUSE request on the high-priority queue"; /* 5.11.6.2.2 */
	f->queues[queue].broken = why;
	return !why;
}

/* True when the queue may go on. */
static bool take_hiprio(struct virtio_fs *f)
{
	struct virtq *q = &f->queues[QUEUE_HIPRIO];
	struct fuse_in_header h;

	if (f->out.len >= OUT_HIPRIO_MAX || virtq_pop(q, &f->hiprio) <= 0 ||
	    !take_header(f, QUEUE_HIPRIO, &f->hiprio, &h))
		return false;
	h.unique = 0;
	if (!f->gone)
		send(f, &h, &f->hiprio);
	virtq_push(q, &f->hiprio, 0);
	return true;
}

static bool take_request(struct virtio_fs *f)
{
	struct virtq *q = &f->queues[QUEUE_REQUESTS];
	struct slot *s = f->free;
	struct fuse_in_header h;

	if (!s || f->out.len || virtq_pop(q, &s->chain) <= 0 ||
	    !take_header(f, QUEUE_REQUESTS, &s->chain, &h))
		return false;
	s->unique = h.unique;
	if (f->gone) {
		answer(f, &s->chain, s->unique, -ENOTCONN);
		return true;
	}
	f->session = true;
	if (wants_no_reply(h.opcode)) {
		h.unique = 0;
		send(f, &h, &s->chain);
		virtq_push(q, &s->chain, 0);
		return true;
	}
	f->free = s->next;
	s->state = SLOT_SENT;
	h.unique = (uint64_t)(s - f->slots) + 1;
	send(f, &h, &s->chain);
	return true;
}

static void work(struct virtio_fs *f, unsigned queue)
{
	struct virtq *q = &f->queues[queue];
	bool (*take)(struct virtio_fs *) = queue == QUEUE_HIPRIO ? take_hiprio : take_request;
	bool more;
	int turn = VIRTIO_TURN;

	do {
		virtq_hush(q);
		while (turn && take(f))
			turn--;
		more = turn && virtq_listen(q) && !q->broken &&
		       (queue == QUEUE_HIPRIO ? f->out.len < OUT_HIPRIO_MAX
					      : f->free && !f->out.len);
	} while (more);
	if (!turn)
		virtio_device_again(&f->dev);
	if (q->broken)
		virtio_device_fail(&f->dev);
}

/* ---- replies ---- */

static void reply_begins(struct virtio_fs *f)
{
	struct reply *in = &f->in;
	uint64_t n = in->header.unique;

	if (in->header.len < sizeof(in->header) || in->header.len > SHARE_MESSAGE_MAX ||
	    n > SLOTS || (n && f->slots[n - 1].state == SLOT_FREE)) {
		give_up(f);
		return;
	}
	in->slot = n ? &f->slots[n - 1] : NULL;
	in->fits = in->slot && in->header.len <= in->slot->chain.writable_len;
	in->at = sizeof(in->header);
	in->left = in->header.len - in->at;
}

static void reply_ends(struct virtio_fs *f)
{
	struct reply *in = &f->in;
	struct slot *s = in->slot;

	if (s && s->state == SLOT_SENT) {
		if (in->fits) {
			in->header.unique = s->unique;
			virtq_scatter(&s->chain, 0, &in->header, sizeof(in->header));
			virtq_push(&f->queues[QUEUE_REQUESTS], &s->chain, in->header.len);
		} else {
			answer(f, &s->chain, s->unique, -EIO);
		}
	}
	if (s)
		slot_free(f, s);
	*in = (struct reply){ 0 };
}

/* One read. False when there is nothing more now. */
static bool receive_some(struct virtio_fs *f)
{
	struct reply *in = &f->in;
	struct iovec iov[VIRTQ_IOV_MAX];
	uint8_t dropped[4096];
	bool head = in->header_n < sizeof(in->header);
	int k = 1;

	if (head) {
		iov[0] = (struct iovec){ (uint8_t *)&in->header + in->header_n,
					 sizeof(in->header) - in->header_n };
	} else if (in->fits && in->slot->state == SLOT_SENT) {
		k = virtq_slice(virtq_writable(&in->slot->chain), in->slot->chain.writable, in->at,
				in->left, iov);
	} else {
		iov[0] = (struct iovec){ dropped, MIN(in->left, (uint64_t)sizeof(dropped)) };
	}
	ssize_t n = f->server->ops->read(f->server, iov, k);

	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		give_up(f);
		return false;
	}
	if (head) {
		in->header_n += (size_t)n;
		if (in->header_n == sizeof(in->header))
			reply_begins(f);
	} else {
		in->at += (uint64_t)n;
		in->left -= (uint64_t)n;
	}
	if (!f->gone && in->header_n == sizeof(in->header) && !in->left)
		reply_ends(f);
	return !f->gone;
}

/* What was asked of a server that is gone fails. */
static void fail_all(struct virtio_fs *f)
{
	f->in = (struct reply){ 0 };
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *s = &f->slots[i];

		if (s->state == SLOT_SENT)
			answer(f, &s->chain, s->unique, -ENOTCONN);
		if (s->state != SLOT_FREE)
			slot_free(f, s);
	}
}

/* Replies first: they make room for requests. */
static void go_on(struct virtio_fs *f)
{
	flush(f);
	while (!f->gone && receive_some(f))
		;
	if (f->dev.status & VIRTIO_STATUS_DRIVER_OK) {
		work(f, QUEUE_HIPRIO);
		work(f, QUEUE_REQUESTS);
	}
	if (f->gone)
		fail_all(f);
	for (unsigned i = 0; i < QUEUES; i++)
		virtio_device_signal(&f->dev, &f->queues[i]);
}

static void notify(struct virtio_device *d, unsigned queue)
{
	(void)queue;
	go_on(fs_of(d));
}

/* The chains are the old driver's: they are neither filled nor read any more. */
static void reset(struct virtio_device *d)
{
	struct virtio_fs *f = fs_of(d);
	const struct fuse_in_header end = { .len = sizeof(end), .opcode = FUSE_DESTROY };

	for (unsigned i = 0; i < SLOTS; i++)
		if (f->slots[i].state == SLOT_SENT)
			f->slots[i].state = SLOT_ABANDONED;
	if (f->session && !f->gone)
		send(f, &end, NULL); /* the old driver's session */
	f->session = false;
}

static void server_ready(void *arg)
{
	struct virtio_fs *f = arg;

	pthread_mutex_lock(&f->dev.lock);
	go_on(f);
	pthread_mutex_unlock(&f->dev.lock);
}

static void free_fs(struct virtio_device *d)
{
	struct virtio_fs *f = fs_of(d);

	buf_fini(&f->out);
	free(f);
}

static const struct virtio_ops ops = {
	.name = "fs",
	.id = VIRTIO_ID_FS,
	.config_read = config_read,
	.notify = notify,
	.reset = reset,
	.free = free_fs,
};

struct virtio_device *virtio_fs_new(const struct memory *mem, const char *tag,
				    struct stream *server)
{
	struct virtio_fs *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	virtio_device_init(&f->dev, &ops, mem, f->queues, QUEUES, QUEUE_SIZE, 0, sizeof(f->config));
	/* 5.11.4: no NUL when full */
	memcpy(f->config.tag, tag, MIN(strlen(tag), sizeof(f->config.tag)));
	f->config.num_request_queues = htole32(QUEUES - 1);
	buf_init(&f->out, OUT_MAX);
	for (unsigned i = SLOTS; i-- > 0;)
		slot_free(f, &f->slots[i]);
	f->server = server;
	server->ready = server_ready;
	server->ready_arg = f;
	return &f->dev;
}
