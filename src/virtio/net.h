/* The network device (virtio 1.2, 5.1). */
#pragma once

#include "net/port.h"
#include "virtio/device.h"

struct virtio_net_settings {
	uint8_t mac[6];
	uint16_t mtu; /* 0: none is told */
	/* The machine's side: which events of the port's descriptor `queue` the device waits for (in the device's
	 * thread), and that it has more to do on a virtqueue: notify it soon (in any). With the device's lock. */
	void (*watch)(void *arg, unsigned queue, bool in, bool out);
	void (*again)(void *arg, unsigned virtqueue);
	void *arg;
};

struct virtio_net_stats {
	uint64_t tx, rx, tx_dropped, rx_dropped; /* frames */
};

/* Takes `port` over, also on failure. NULL without memory. */
struct virtio_device *virtio_net_new(const struct memory *mem, struct net_port *port,
				     const struct virtio_net_settings *s);
/* The port's descriptor of `queue` is ready for what was waited for. From the device's thread. */
void virtio_net_ready(struct virtio_device *d, unsigned queue);
void virtio_net_stats(struct virtio_device *d, struct virtio_net_stats *stats);
