/*
 * The network device: configuration, control queue, life. Frames move in net_rx.c and net_tx.c.
 *
 * A pair of queues carries frames, each behind a 12-byte header that says which checksum and which segments the
 * sender left to be completed. Where they go is a `struct net_port`; a tap completes them, or hands them on as they
 * are to a receiver that said it can. With several pairs the driver chooses by the control queue how many it
 * uses; pair i is queue i of the port.
 *
 * Implemented of virtio 1.2: 5.1.2 queues (the control queue's number depends on MQ); 5.1.3 CSUM, GUEST_CSUM, MTU,
 * MAC, GUEST_TSO4, GUEST_TSO6, GUEST_ECN, HOST_TSO4, HOST_TSO6, HOST_ECN, MRG_RXBUF, STATUS, CTRL_VQ, MQ,
 * CTRL_MAC_ADDR; 5.1.3.1 features that need others count only with them; 5.1.4 mac, status, max_virtqueue_pairs, mtu;
 * 5.1.6.5.2 MAC_ADDR_SET; 5.1.6.5.5 VQ_PAIRS_SET; other commands are answered ERR (5.1.6.5). There is no filter
 * (CTRL_RX is not offered): every frame of the port is the guest's.
 *
 * Trust: control commands are copied, then judged. Threads: the device's, and vCPUs, under the lock; the port and
 * what is watched are the device thread's alone.
 * #syscalls: futex
 */
#include "virtio/net.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "virtio/net_int.h"

static struct virtio_net *net_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_net, dev);
}

static void config_read(struct virtio_device *d, uint32_t offset, void *to, uint32_t len)
{
	memcpy(to, (const uint8_t *)&net_of(d)->config + offset, len);
}

void net_watch(struct virtio_net *n, unsigned pair, bool in, bool out)
{
	struct net_pair *p = &n->pair[pair];

	if (p->watch_in == in && p->watch_out == out)
		return;
	p->watch_in = in;
	p->watch_out = out;
	n->host.watch(n->host.arg, pair, in, out);
}

void net_cut(struct virtio_net *n)
{
	if (!n->config.status)
		return;
	n->config.status = 0; /* 5.1.4: LINK_UP clear */
	virtio_device_config_changed(&n->dev);
}

/* 5.1.3.1: TSO and ECN mean nothing without what they stand on. */
static unsigned can_complete(const struct virtio_device *d)
{
	unsigned can = 0;

	if (!virtio_has(d, VIRTIO_NET_F_GUEST_CSUM))
		return 0;
	can = NET_CAN_CSUM;
	if (virtio_has(d, VIRTIO_NET_F_GUEST_TSO4))
		can |= NET_CAN_TSO4;
	if (virtio_has(d, VIRTIO_NET_F_GUEST_TSO6))
		can |= NET_CAN_TSO6;
	if (virtio_has(d, VIRTIO_NET_F_GUEST_ECN) && can & (NET_CAN_TSO4 | NET_CAN_TSO6))
		can |= NET_CAN_ECN;
	return can;
}

/* 5.1.6.5.5: pairs beyond `active` get no frames. 0, or -errno when the host cannot. */
static int use_pairs(struct virtio_net *n, unsigned active)
{
	int r = n->port->ops->use(n->port, active);

	if (r)
		return r;
	n->active = active;
	for (unsigned i = 0; i < n->pairs; i++)
		net_watch(n, i, i < active && !n->pair[i].in_off, n->pair[i].watch_out);
	return 0;
}

/* What DRIVER_OK asks of the port, which is the device thread's alone: vCPUs only leave the word. */
static void settle(struct virtio_net *n)
{
	if (!n->fresh)
		return;
	n->fresh = false;
	/* A port that cannot do what it did before: frames go by their headers alone, which are judged anyway. */
	if (n->port->ops->accept(n->port, can_complete(&n->dev)) < 0)
		n->port->ops->accept(n->port, 0);
	use_pairs(
		n,
		1); /* 5.1.6.5.5.1: one pair after reset; closing others cannot fail where they were opened */
}

static void start(struct virtio_device *d)
{
	struct virtio_net *n = net_of(d);

	for (unsigned i = 0; i < n->pairs; i++)
		virtq_hush(net_rx(n, i)); /* room is looked for when a frame comes */
	n->fresh = true;
	n->host.again(n->host.arg, 0);
}

/* ---- control (5.1.6.5) ---- */

static bool set_pairs(struct virtio_net *n, const struct virtq_chain *c)
{
	uint16_t wish;

	if (!virtio_has(&n->dev, VIRTIO_NET_F_MQ) || c->readable_len != 2 + sizeof(wish))
		return false;
	virtq_gather(c, 2, &wish, sizeof(wish));
	wish = le16toh(wish);
	return wish >= 1 && wish <= n->pairs && use_pairs(n, wish) == 0;
}

static bool set_mac(struct virtio_net *n, const struct virtq_chain *c)
{
	if (!virtio_has(&n->dev, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    c->readable_len != 2 + sizeof(n->config.mac))
		return false;
	virtq_gather(c, 2, n->config.mac, sizeof(n->config.mac));
	return true;
}

static bool command(struct virtio_net *n, const struct virtq_chain *c)
{
	uint8_t what[2];

	if (virtq_gather(c, 0, what, sizeof(what)) != sizeof(what))
		return false;
	if (what[0] == VIRTIO_NET_CTRL_MAC && what[1] == VIRTIO_NET_CTRL_MAC_ADDR_SET)
		return set_mac(n, c);
	if (what[0] == VIRTIO_NET_CTRL_MQ && what[1] == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)
		return set_pairs(n, c);
	return false;
}

static void take_commands(struct virtio_net *n, struct virtq *q)
{
	struct virtq_chain *c = &n->scratch;

	for (int i = 0; i < NET_BATCH && virtq_pop(q, c) > 0; i++) {
		if (!c->writable_len) {
			q->broken = "a control command without room for the answer";
			break;
		}
		uint8_t ack = command(n, c) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;

		virtq_push(q, c, (uint32_t)virtq_scatter(c, 0, &ack, 1));
	}
	virtio_device_signal(&n->dev, q);
}

/* ---- life ---- */

/* 5.1.2: behind the last pair, or behind the first when there is no MQ. */
static unsigned control_queue(const struct virtio_net *n)
{
	return virtio_has(&n->dev, VIRTIO_NET_F_MQ) ? 2 * n->pairs : 2;
}

static void notify(struct virtio_device *d, unsigned queue)
{
	struct virtio_net *n = net_of(d);

	settle(n);
	if (virtio_has(d, VIRTIO_NET_F_CTRL_VQ) && queue == control_queue(n))
		take_commands(n, &n->queues[queue]);
	else if (queue / 2 >= n->pairs)
		return;
	else if (queue % 2)
		net_transmit(n, queue / 2);
	else
		net_receive(n, queue / 2);
}

static void reset(struct virtio_device *d)
{
	struct virtio_net *n = net_of(d);

	for (unsigned i = 0; i < n->pairs; i++) {
		struct net_pair *p = &n->pair[i];

		p->room.buffers = p->room.iovs = 0;
		p->room.size = 0;
		p->out_held = p->in_off = false;
	}
	memcpy(n->config.mac, n->host.mac, sizeof(n->config.mac));
	n->active = 0;
	n->fresh = false;
}

static void free_net(struct virtio_device *d)
{
	struct virtio_net *n = net_of(d);

	net_port_free(n->port);
	free(n);
}

static const struct virtio_ops ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.config_read = config_read,
	.start = start,
	.notify = notify,
	.reset = reset,
	.free = free_net,
};

static uint64_t features_of(const struct virtio_net *n)
{
	static const uint8_t always[] = { VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS,
					  VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CTRL_VQ,
					  VIRTIO_NET_F_CTRL_MAC_ADDR };
	static const uint8_t offloads[] = {
		VIRTIO_NET_F_CSUM,	 VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,  VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6,	 VIRTIO_NET_F_HOST_ECN,
	};
	uint64_t f = 0;

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		f |= 1ull << always[i];
	for (size_t i = 0; n->port->offloads && i < ARRAY_SIZE(offloads); i++)
		f |= 1ull << offloads[i];
	if (n->host.mtu)
		f |= 1ull << VIRTIO_NET_F_MTU;
	if (n->pairs > 1)
		f |= 1ull << VIRTIO_NET_F_MQ;
	return f;
}

struct virtio_device *virtio_net_new(const struct memory *mem, struct net_port *port,
				     const struct virtio_net_settings *s)
{
	struct virtio_net *n = calloc(1, sizeof(*n));

	if (!n) {
		net_port_free(port);
		return NULL;
	}
	n->port = port;
	n->host = *s;
	n->pairs = port->queues;
	virtio_device_init(&n->dev, &ops, mem, n->queues, 2 * n->pairs + 1, VIRTQ_MAX,
			   features_of(n), sizeof(n->config));
	n->config = (struct virtio_net_config){
		.status = htole16(VIRTIO_NET_S_LINK_UP),
		.max_virtqueue_pairs = htole16((uint16_t)n->pairs),
		.mtu = htole16(s->mtu),
	};
	memcpy(n->config.mac, s->mac, sizeof(s->mac));
	return &n->dev;
}

void virtio_net_ready(struct virtio_device *d, unsigned queue)
{
	struct virtio_net *n = net_of(d);

	pthread_mutex_lock(&d->lock);
	if (!(d->status & VIRTIO_STATUS_DRIVER_OK)) {
		net_watch(n, queue, false, false);
	} else {
		settle(n);
		if (n->pair[queue].watch_out)
			net_transmit(n, queue);
		if (n->pair[queue].watch_in)
			net_receive(n, queue);
		if (net_rx(n, queue)->broken || net_tx(n, queue)->broken)
			virtio_device_fail(d);
	}
	pthread_mutex_unlock(&d->lock);
}

void virtio_net_stats(struct virtio_device *d, struct virtio_net_stats *stats)
{
	pthread_mutex_lock(&d->lock);
	*stats = net_of(d)->stats;
	pthread_mutex_unlock(&d->lock);
}
