/*
 * The network device: frames to the guest.
 *
 * Buffers are taken from the queue until the longest possible frame fits (one buffer when they do not merge), then
 * one read puts a frame right into them, and those that it reached go back together; the rest waits for the next
 * frame. A last piece of our own memory catches what is longer than the guest has room for: that frame is lost, as
 * on a wire.
 *
 * Implemented of virtio 1.2: 5.1.6.3.2 and 5.1.6.4.1 (device requirements): num_buffers is 1 without MRG_RXBUF, else
 * the number of buffers, which are given back in order and at once; without GUEST_CSUM flags are zero and checksums
 * complete; gso_type is only what was negotiated.
 *
 * Trust: the guest may change the header while and after it is written: nothing is read back from there.
 * Threads: under the device's lock. #syscalls: none
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "virtio/net_int.h"

/* The longest frame that the other side sends, with its header. */
static uint64_t longest(const struct virtio_net *n)
{
	if (virtio_has(&n->dev, VIRTIO_NET_F_GUEST_TSO4) ||
	    virtio_has(&n->dev, VIRTIO_NET_F_GUEST_TSO6) || n->host.mtu > 1500)
		return NET_HEADER + NET_FRAME_MAX;
	return NET_HEADER + 18 + 1500;
}

static void take_buffers(struct virtio_net *n, unsigned pair)
{
	bool merge = virtio_has(&n->dev, VIRTIO_NET_F_MRG_RXBUF);
	struct net_room *room = &n->pair[pair].room;
	struct virtq *q = net_rx(n, pair);
	struct virtq_chain *c = &n->scratch;
	uint64_t want = merge ? longest(n) : 1;

	while (room->size < want && room->buffers < NET_HELD_MAX &&
	       room->iovs + VIRTQ_IOV_MAX <= NET_IOV_MAX && virtq_pop(q, c) > 0) {
		if (!c->writable_len) {
			q->broken = "a receive buffer that cannot be written";
			return;
		}
		/* One piece of memory may be in it many times, so that it is larger than all memory: it counts
		 * here as in hand_over. */
		uint32_t size = (uint32_t)MIN(c->writable_len, (uint64_t)UINT32_MAX);

		memcpy(room->iov + room->iovs, virtq_writable(c),
		       (size_t)c->writable * sizeof(room->iov[0]));
		room->buffer[room->buffers] = (struct virtq_done){ c->id, c->slots, size };
		room->pieces[room->buffers++] = (uint16_t)c->writable;
		room->iovs += (unsigned)c->writable;
		room->size += size;
	}
}

/* Bytes at `offset` of the room. */
static void write_at(const struct net_room *room, size_t offset, const void *from, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < room->iovs && done < len; i++) {
		size_t size = room->iov[i].iov_len;

		if (offset >= size) {
			offset -= size;
			continue;
		}
		size_t part = MIN(size - offset, len - done);

		memcpy((uint8_t *)room->iov[i].iov_base + offset, (const uint8_t *)from + done,
		       part);
		done += part;
		offset = 0;
	}
}

/* A frame of `len` bytes lies in the room: gives its buffers back. */
static void hand_over(struct virtio_net *n, unsigned pair, uint64_t len)
{
	struct net_room *room = &n->pair[pair].room;
	static const uint8_t empty[NET_HEADER];
	unsigned used = 0, pieces = 0;

	for (uint64_t left = len; left; used++) {
		uint32_t part = (uint32_t)MIN(left, (uint64_t)room->buffer[used].written);

		room->size -= room->buffer[used].written;
		room->buffer[used].written = part;
		pieces += room->pieces[used];
		left -= part;
	}
	uint16_t number = htole16((uint16_t)used);

	if (!virtio_has(&n->dev, VIRTIO_NET_F_GUEST_CSUM))
		write_at(room, 0, empty, sizeof(empty));
	write_at(room, offsetof(struct virtio_net_hdr, num_buffers), &number, sizeof(number));
	virtq_push_all(net_rx(n, pair), room->buffer, used);
	room->buffers -= used;
	room->iovs -= pieces;
	memmove(room->buffer, room->buffer + used, room->buffers * sizeof(room->buffer[0]));
	memmove(room->pieces, room->pieces + used, room->buffers * sizeof(room->pieces[0]));
	memmove(room->iov, room->iov + pieces, room->iovs * sizeof(room->iov[0]));
	n->stats.rx++;
}

/* One frame: 1, 0 when there is no room for any, -EAGAIN when there is none, other -errno: the port failed. */
static int receive_one(struct virtio_net *n, unsigned pair)
{
	struct net_room *room = &n->pair[pair].room;

	take_buffers(n, pair);
	if (!room->size)
		return 0;
	room->iov[room->iovs] = (struct iovec){ n->overflow, sizeof(n->overflow) };
	ssize_t r = n->port->ops->receive(n->port, pair, room->iov, (int)room->iovs + 1);

	if (r < 0)
		return (int)r;
	if ((uint64_t)r > room->size || r <= NET_HEADER)
		n->stats.rx_dropped++;
	else
		hand_over(n, pair, (uint64_t)r);
	return 1;
}

void net_receive(struct virtio_net *n, unsigned pair)
{
	struct net_pair *p = &n->pair[pair];
	struct virtq *q = net_rx(n, pair);
	int r = 1, budget = NET_BATCH;

	if (pair >= n->active)
		return;
	virtq_hush(q);
	p->in_off = false;
	while (r > 0 && budget--) {
		r = receive_one(n, pair);
		/* Out of buffers: the driver says when there are more, and may have done so just now. */
		if (r == 0 && !q->broken && virtq_listen(q)) {
			virtq_hush(q);
			r = 1;
		}
	}
	virtio_device_signal(&n->dev, q);
	if (r < 0 && r != -EAGAIN)
		net_cut(n);
	p->in_off = r == 0;
	if (r > 0) /* frames may wait in the port, where no event tells of them */
		n->host.again(n->host.arg, 2 * pair);
	net_watch(n, pair, r > 0 || r == -EAGAIN, p->watch_out);
}
