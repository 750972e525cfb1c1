/*
 * The network device: frames from the guest.
 *
 * A frame's header is copied, judged by what was negotiated and by the frame's own length, and written anew; the
 * rest goes to the port from where it lies. A header that lies costs the guest this frame. A frame that the port
 * cannot take now is kept, and the queue waits with it.
 *
 * Implemented of virtio 1.2: 5.1.6.2.2 (device requirements: packet transmission) NEEDS_CSUM, gso_type and
 * gso_size are only taken when negotiated; flags and fields that are unknown are ignored; the framing of headers in
 * descriptors is not assumed (2.7.4).
 *
 * Trust: see above; what goes on in the guest's memory after the copy can only change the frame's bytes.
 * Threads: under the device's lock. #syscalls: none
 */
#include <endian.h>
#include <errno.h>

#include "base/util.h"
#include "virtio/net_int.h"

static bool gso_ok(const struct virtio_net *n, const struct virtio_net_hdr *h)
{
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		if (!virtio_has(&n->dev, VIRTIO_NET_F_HOST_TSO4))
			return false;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		if (!virtio_has(&n->dev, VIRTIO_NET_F_HOST_TSO6))
			return false;
		break;
	default:
		return false;
	}
	if (h->gso_type & VIRTIO_NET_HDR_GSO_ECN && !virtio_has(&n->dev, VIRTIO_NET_F_HOST_ECN))
		return false;
	/* 5.1.6.2.1: segments have a size, and each gets a checksum of its own */
	return h->gso_size != 0 && h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
}

/* Judges the copy `h` of a header before `len` bytes, and leaves in it what may go on. */
static bool header_ok(const struct virtio_net *n, struct virtio_net_hdr *h, uint64_t len)
{
	struct virtio_net_hdr out = { 0 };

	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		uint32_t end = (uint32_t)le16toh(h->csum_start) + le16toh(h->csum_offset) + 2;

		if (!virtio_has(&n->dev, VIRTIO_NET_F_CSUM) || end > len)
			return false;
		out.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		out.csum_start = h->csum_start;
		out.csum_offset = h->csum_offset;
	}
	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		if (!gso_ok(n, h) || le16toh(h->hdr_len) > len)
			return false;
		out.gso_type = h->gso_type;
		out.gso_size = h->gso_size;
		out.hdr_len = h->hdr_len;
	}
	*h = out;
	return true;
}

/* 0, or -EAGAIN when the port cannot take it now. */
static int send_frame(struct virtio_net *n, unsigned pair, const struct virtq_chain *c)
{
	struct virtio_net_hdr h;
	struct iovec iov[VIRTQ_IOV_MAX + 1];
	uint64_t len = c->readable_len - NET_HEADER;
	size_t skip = NET_HEADER;
	int k = 1, r = -EMSGSIZE;

	virtq_gather(c, 0, &h, sizeof(h));
	if (len && len <= NET_FRAME_MAX && header_ok(n, &h, len)) {
		iov[0] = (struct iovec){ &h, sizeof(h) };
		for (int i = 0; i < c->readable; i++) {
			size_t cut = MIN(skip, c->iov[i].iov_len);

			skip -= cut;
			if (c->iov[i].iov_len > cut)
				iov[k++] = (struct iovec){ (uint8_t *)c->iov[i].iov_base + cut,
							   c->iov[i].iov_len - cut };
		}
		r = n->port->ops->send(n->port, pair, iov, k);
	}
	if (r == -EAGAIN)
		return r;
	if (r)
		n->stats.tx_dropped++;
	else
		n->stats.tx++;
	return 0;
}

/* Sends until the queue is empty (true), or the port or the batch are full. */
static bool drain(struct virtio_net *n, unsigned pair, int *budget)
{
	struct net_pair *p = &n->pair[pair];
	struct virtq *q = net_tx(n, pair);

	for (;; --*budget) {
		if (!p->out_held) {
			if (*budget <= 0)
				return false;
			if (virtq_pop(q, &p->out) <= 0)
				return true;
			if (p->out.readable_len < NET_HEADER) {
				q->broken = "a frame without a header";
				return true;
			}
		}
		p->out_held = send_frame(n, pair, &p->out) == -EAGAIN;
		if (p->out_held)
			return false;
		virtq_push(q, &p->out, 0);
	}
}

void net_transmit(struct virtio_net *n, unsigned pair)
{
	struct net_pair *p = &n->pair[pair];
	struct virtq *q = net_tx(n, pair);
	int budget = NET_BATCH;
	bool empty;

	if (n->port->pending)
		n->port->ops->send(n->port, pair, NULL, 0);
	do {
		virtq_hush(q);
		empty = drain(n, pair, &budget);
	} while (empty && virtq_listen(q));
	virtio_device_signal(&n->dev, q);
	net_watch(n, pair, p->watch_in, p->out_held || n->port->pending);
	if (!empty && !p->out_held)
		n->host.again(n->host.arg, 2 * pair + 1);
}
