/* The virtio socket device (virtio 1.2, 5.10), in user space: stream connections between programs of the guest and
 * streams of the host. */
#pragma once

#include "machine/stream.h"
#include "virtio/device.h"

enum {
	VIRTIO_VSOCK_CONNECTIONS_MAX = 64,
	VIRTIO_VSOCK_BUFFER = 64 << 10, /* what a connection may hold of the guest's bytes */
};

/* The host's side. A connection is known by a number of ours, which is not used again soon. Called with the device's
 * lock held. */
struct virtio_vsock_host {
	/* The guest asks for `port` of the host: virtio_vsock_answer is owed, later, not from within. */
	void (*connect)(void *arg, uint32_t id, uint32_t port);
	/* The guest took what virtio_vsock_connect offered; nothing of it was written yet. */
	void (*opened)(void *arg, uint32_t id, struct stream *s, uint32_t host_port);
	/* Nothing more will be written: the guest sends no more. */
	void (*ended)(void *arg, struct stream *s);
	/* The connection is over: the stream is not used any more. */
	void (*closed)(void *arg, struct stream *s);
};

/* `cid` is the guest's, none of the reserved ones. NULL: no memory. */
struct virtio_device *virtio_vsock_new(const struct memory *mem, uint32_t cid,
				       const struct virtio_vsock_host *host, void *arg);

/* From here on the locks are taken. Streams become the device's until `closed`; their `ready` is taken. */

/* What the guest asked for: `s`, or NULL: nobody listens there. False: the guest gave up meanwhile, and `s` remains
 * the caller's. */
bool virtio_vsock_answer(struct virtio_device *d, uint32_t id, struct stream *s);
/* A program of the host wants `port` of the guest. 0; -EBUSY: too many connections; -ENOTCONN: no driver. */
int virtio_vsock_connect(struct virtio_device *d, uint32_t port, struct stream *s);
