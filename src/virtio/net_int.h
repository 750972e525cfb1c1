/* What the network device's files share. */
#pragma once

#include "virtio/net.h"

enum {
	NET_HEADER = sizeof(struct virtio_net_hdr),
	NET_HELD_MAX = VIRTQ_MAX, /* the guest's empty buffers in our hands */
	NET_IOV_MAX = 512,	  /* pieces of them */
	NET_BATCH = 256,	  /* frames before others get their turn */
};

/* Guest memory that waits for frames: buffers in the queue's order, their pieces one behind the other. */
struct net_room {
	struct virtq_done buffer[NET_HELD_MAX]; /* `written`: its size, until it is given back */
	uint16_t pieces[NET_HELD_MAX];
	unsigned buffers;
	struct iovec iov[NET_IOV_MAX + 1]; /* and one behind them for what is too long */
	unsigned iovs;
	uint64_t size;
};

struct net_pair {
	struct net_room room;
	struct virtq_chain out; /* a frame that waits for the port */
	bool out_held, in_off;	/* in_off: no room, the port's frames wait there */
	bool watch_in, watch_out;
};

struct virtio_net {
	struct virtio_device dev;
	struct virtq queues[2 * NET_QUEUES_MAX + 1];
	struct virtio_net_config config;
	struct virtio_net_settings host;
	struct net_port *port;
	unsigned pairs, active; /* offered; that the driver uses */
	bool fresh;		/* DRIVER_OK since the device's thread looked last */
	struct virtio_net_stats stats;
	struct virtq_chain scratch; /* of whoever has the lock */
	struct net_pair pair[NET_QUEUES_MAX];
	uint8_t overflow[NET_HEADER + NET_FRAME_MAX]; /* of frames that are dropped */
};

static inline struct virtq *net_rx(struct virtio_net *n, unsigned pair)
{
	return &n->queues[2 * pair];
}

static inline struct virtq *net_tx(struct virtio_net *n, unsigned pair)
{
	return &n->queues[2 * pair + 1];
}

/* net_rx.c: from the port to the guest, until one of them has no more, or the batch is full. */
void net_receive(struct virtio_net *n, unsigned pair);
/* net_tx.c: the other way. */
void net_transmit(struct virtio_net *n, unsigned pair);
/* net.c: tells the machine what pair `pair` waits for. */
void net_watch(struct virtio_net *n, unsigned pair, bool in, bool out);
/* net.c: the port is no more: the driver learns that the link is down. */
void net_cut(struct virtio_net *n);
