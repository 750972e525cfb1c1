/* Where a network device's frames go, behind an ops table: a device never opens one, it is handed a
 * `struct net_port *`. Every frame has a struct virtio_net_hdr (12 bytes) before it, in both directions. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "wire/virtio.h"

enum { NET_QUEUES_MAX = 8 };
/* The largest frame that anybody sends: 64 KB behind an Ethernet header with a VLAN tag. */
enum { NET_FRAME_MAX = 65535 + 18 };

/* What the receiver of frames can complete by itself. */
enum { NET_CAN_CSUM = 1, NET_CAN_TSO4 = 2, NET_CAN_TSO6 = 4, NET_CAN_ECN = 8 };

struct net_port;

struct net_port_ops {
	const char *name; /* "tap", "passt" */
	/* One frame out by `queue`: 0, -EAGAIN when it has to wait for `fd` to be writable, other -errno: it is
	 * lost. With `n` 0 it only brings `pending` further. */
	int (*send)(struct net_port *p, unsigned queue, const struct iovec *iov, int n);
	/* One frame in from `queue`: its length with the header, cut off where the pieces end; -EAGAIN none now,
	 * other -errno. */
	ssize_t (*receive)(struct net_port *p, unsigned queue, const struct iovec *iov, int n);
	/* What our side completes from now on (NET_CAN_*), and by how many queues frames come in. */
	int (*accept)(struct net_port *p, unsigned can);
	int (*use)(struct net_port *p, unsigned queues);
	void (*free)(struct net_port *p);
};

struct net_port {
	const struct net_port_ops *ops;
	bool offloads; /* the other side completes checksums and segments for us, and sends such frames */
	bool pending;		/* a part of a frame still waits to go out */
	unsigned queues;	/* 1 to NET_QUEUES_MAX */
	int fd[NET_QUEUES_MAX]; /* readable: frames wait; writable: send goes on */
};

/* NULL is fine. Closes its descriptors. */
static inline void net_port_free(struct net_port *p)
{
	if (p)
		p->ops->free(p);
}
