/*
 * The console device: several byte pipes and one control channel.
 *
 * Each port has a queue to the guest and one from it; a further pair carries control messages by which the
 * ports are announced, opened and resized (5.3.6.2). The host side of a port is a `struct stream`. What the
 * host cannot take now stays in the queue (back pressure reaches the guest's writer); what the guest has no
 * buffer for stays with the host.
 *
 * Implemented of virtio 1.2: 5.3.3 MULTIPORT (without it port 0 alone is there, and open); 5.3.6.2 DEVICE_READY,
 * DEVICE_ADD, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME. Not offered: SIZE (RESIZE tells it, of any port),
 * EMERG_WRITE.
 *
 * Trust: control messages are copied, port numbers checked; unknown events are ignored (5.3.6.2.1).
 * Threads: under the device's lock. #syscalls: futex
 */
#include "virtio/console.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum {
	QUEUE_CONTROL_RX = 2, /* 5.3.2 */
	QUEUE_CONTROL_TX = 3,
	QUEUES = 2 * VIRTIO_CONSOLE_PORTS_MAX + 2,
	PENDING_MAX = 32, /* control messages waiting for a buffer */
};

struct port {
	struct virtio_console *owner;
	struct virtio_console_port what;
	unsigned index;
	bool guest_open, announced;
	struct virtq_chain in;	/* the guest's buffer that waits for the host's bytes */
	struct virtq_chain out; /* the guest's bytes that the host could not take yet */
	uint64_t out_done;
	bool in_held, out_held;
};

struct message {
	struct virtio_console_control control;
	const char *name; /* PORT_NAME */
};

struct virtio_console {
	struct virtio_device dev;
	struct virtq queues[QUEUES];
	struct port ports[VIRTIO_CONSOLE_PORTS_MAX];
	unsigned ports_n;
	struct virtio_console_config config;
	struct message pending[PENDING_MAX];
	unsigned pending_n;
	uint16_t cols, rows;
};

static struct virtio_console *console_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_console, dev);
}

static unsigned rx_queue(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

static struct virtq *rx(struct port *p)
{
	return &p->owner->queues[rx_queue(p->index)];
}

static struct virtq *tx(struct port *p)
{
	return &p->owner->queues[rx_queue(p->index) + 1];
}

static void config_read(struct virtio_device *d, uint32_t offset, void *to, uint32_t len)
{
	memcpy(to, (const uint8_t *)&console_of(d)->config + offset, len);
}

/* Host to guest, as long as there are buffers and bytes. */
static void fill(struct port *p)
{
	struct virtq *q = rx(p);
	struct stream *s = p->what.stream;

	while (p->guest_open) {
		if (!p->in_held && virtq_pop(q, &p->in) <= 0)
			break;
		p->in_held = true;
		ssize_t n = s->ops->read(s, virtq_writable(&p->in), p->in.writable);

		if (n <= 0)
			break;
		virtq_push(q, &p->in, (uint32_t)n);
		p->in_held = false;
	}
	virtio_device_signal(&p->owner->dev, q);
}

/* Writes what is left of the buffer in hand. True when it is through. */
static bool write_held(struct port *p)
{
	struct stream *s = p->what.stream;

	while (p->out_done < p->out.readable_len) {
		struct iovec left[VIRTQ_IOV_MAX];
		int k = virtq_slice(p->out.iov, p->out.readable, p->out_done,
				    p->out.readable_len - p->out_done, left);
		ssize_t n = s->ops->write(s, left, k);

		if (n == -EAGAIN)
			return false;
		if (n <= 0) /* nobody listens: as an unconnected line */
			break;
		p->out_done += (uint64_t)n;
	}
	return true;
}

/* Guest to host. */
static void drain(struct port *p)
{
	struct virtq *q = tx(p);
	int turn = VIRTIO_TURN;

	while (turn) {
		if (!p->out_held) {
			if (virtq_pop(q, &p->out) <= 0)
				break;
			p->out_held = true;
			p->out_done = 0;
		}
		if (!write_held(p))
			break;
		virtq_push(q, &p->out, 0);
		p->out_held = false;
		turn--;
	}
	virtio_device_signal(&p->owner->dev, q);
	if (!turn)
		virtio_device_again(&p->owner->dev);
}

static void flush_control(struct virtio_console *c)
{
	struct virtq *q = &c->queues[QUEUE_CONTROL_RX];
	struct virtq_chain chain;
	unsigned sent = 0;

	while (sent < c->pending_n && virtq_pop(q, &chain) > 0) {
		const struct message *m = &c->pending[sent++];
		size_t n = virtq_scatter(&chain, 0, &m->control, sizeof(m->control));

		if (m->name)
			n += virtq_scatter(&chain, n, m->name, strlen(m->name));
		virtq_push(q, &chain, (uint32_t)n);
	}
	memmove(c->pending, c->pending + sent, (c->pending_n - sent) * sizeof(c->pending[0]));
	c->pending_n -= sent;
	virtio_device_signal(&c->dev, q);
}

static void send(struct virtio_console *c, unsigned port, uint16_t event, uint16_t value,
		 const char *name)
{
	if (c->pending_n == PENDING_MAX)
		return; /* a driver that asks again and again and never listens */
	c->pending[c->pending_n++] = (struct message){
		.control = { htole32(port), htole16(event), htole16(value) },
		.name = name,
	};
	flush_control(c);
}

/* 5.3.6.2: RESIZE carries the dimensions behind the header. A size that finds no buffer is not kept: the
 * next one will be newer. */
static void send_size(struct virtio_console *c, unsigned port)
{
	struct virtq *q = &c->queues[QUEUE_CONTROL_RX];
	struct virtq_chain chain;
	struct {
		struct virtio_console_control control;
		uint16_t cols, rows;
	} m = { { htole32(port), htole16(VIRTIO_CONSOLE_RESIZE), 0 },
		htole16(c->cols),
		htole16(c->rows) };

	if (c->pending_n || !c->rows || virtq_pop(q, &chain) <= 0)
		return;
	virtq_push(q, &chain, (uint32_t)virtq_scatter(&chain, 0, &m, sizeof(m)));
	virtio_device_signal(&c->dev, q);
}

static void port_ready(struct virtio_console *c, struct port *p)
{
	if (p->what.is_console) {
		send(c, p->index, VIRTIO_CONSOLE_CONSOLE_PORT, 1, NULL);
		send_size(c, p->index);
	}
	send(c, p->index, VIRTIO_CONSOLE_PORT_NAME, 1, p->what.name);
	send(c, p->index, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL);
}

static void control_message(struct virtio_console *c, const struct virtio_console_control *m)
{
	unsigned id = le32toh(m->id);
	uint16_t value = le16toh(m->value);
	struct port *p = id < c->ports_n ? &c->ports[id] : NULL;

	switch (le16toh(m->event)) {
	case VIRTIO_CONSOLE_DEVICE_READY:
		for (unsigned i = 0; value == 1 && i < c->ports_n; i++) {
			if (!c->ports[i].announced)
				send(c, i, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL);
			c->ports[i].announced = true;
		}
		break;
	case VIRTIO_CONSOLE_PORT_READY:
		if (p && value == 1)
			port_ready(c, p);
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		if (p) {
			p->guest_open = value;
			fill(p);
		}
		break;
	default:
		break;
	}
}

static void take_control(struct virtio_console *c)
{
	struct virtq *q = &c->queues[QUEUE_CONTROL_TX];
	struct virtq_chain chain;
	struct virtio_console_control m;
	int turn = VIRTIO_TURN;

	while (turn && virtq_pop(q, &chain) > 0) {
		turn--;
		if (virtq_gather(&chain, 0, &m, sizeof(m)) == sizeof(m))
			control_message(c, &m);
		virtq_push(q, &chain, 0);
	}
	virtio_device_signal(&c->dev, q);
	if (!turn)
		virtio_device_again(&c->dev);
}

/* Without control messages nothing opens port 0. */
static void start(struct virtio_device *d)
{
	if (!virtio_has(d, VIRTIO_CONSOLE_F_MULTIPORT))
		console_of(d)->ports[0].guest_open = true;
}

static void notify(struct virtio_device *d, unsigned queue)
{
	struct virtio_console *c = console_of(d);

	if (queue >= QUEUE_CONTROL_RX && !virtio_has(d, VIRTIO_CONSOLE_F_MULTIPORT))
		return; /* 5.3.2: there is no such queue */
	if (queue == QUEUE_CONTROL_TX) {
		take_control(c);
	} else if (queue == QUEUE_CONTROL_RX) {
		flush_control(c);
	} else {
		struct port *p = &c->ports[queue < 2 ? 0 : queue / 2 - 1];

		if (queue % 2)
			drain(p);
		else
			fill(p);
	}
}

/* The host can read or write again. */
static void stream_ready(void *arg)
{
	struct port *p = arg;
	struct virtio_device *d = &p->owner->dev;

	pthread_mutex_lock(&d->lock);
	if (d->status & VIRTIO_STATUS_DRIVER_OK) {
		fill(p);
		drain(p);
	}
	pthread_mutex_unlock(&d->lock);
}

static void reset(struct virtio_device *d)
{
	struct virtio_console *c = console_of(d);

	c->pending_n = 0;
	for (unsigned i = 0; i < c->ports_n; i++)
		c->ports[i].guest_open = c->ports[i].announced = c->ports[i].in_held =
			c->ports[i].out_held = false;
}

static void free_console(struct virtio_device *d)
{
	free(console_of(d));
}

static const struct virtio_ops ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.config_read = config_read,
	.start = start,
	.notify = notify,
	.reset = reset,
	.free = free_console,
};

struct virtio_device *virtio_console_new(const struct memory *mem,
					 const struct virtio_console_port *ports, unsigned n,
					 uint16_t cols, uint16_t rows)
{
	assert(n && n <= VIRTIO_CONSOLE_PORTS_MAX);
	struct virtio_console *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	virtio_device_init(&c->dev, &ops, mem, c->queues, 2 * n + 2, VIRTQ_MAX,
			   1ull << VIRTIO_CONSOLE_F_MULTIPORT, sizeof(c->config));
	c->config.max_nr_ports = htole32(n);
	c->ports_n = n;
	c->cols = cols;
	c->rows = rows;
	for (unsigned i = 0; i < n; i++) {
		c->ports[i] = (struct port){ .owner = c, .what = ports[i], .index = i };
		ports[i].stream->ready = stream_ready;
		ports[i].stream->ready_arg = &c->ports[i];
	}
	return &c->dev;
}

void virtio_console_resize(struct virtio_device *d, uint16_t cols, uint16_t rows)
{
	struct virtio_console *c = console_of(d);

	pthread_mutex_lock(&d->lock);
	c->cols = cols;
	c->rows = rows;
	for (unsigned i = 0; i < c->ports_n; i++)
		if (c->ports[i].what.is_console && c->ports[i].announced)
			send_size(c, i);
	pthread_mutex_unlock(&d->lock);
}
