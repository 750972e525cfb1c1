/* A virtio device as its transport sees it, and what devices share. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/queue.h"

struct virtio_device;

/* What a device implements. All are called with the device's lock held. */
struct virtio_ops {
	const char *name;
	uint32_t id; /* virtio 1.2, 5 */
	/* The range was checked against `config_size`. `write` may be NULL: writes are ignored. */
	void (*config_read)(struct virtio_device *d, uint32_t offset, void *to, uint32_t len);
	void (*config_write)(struct virtio_device *d, uint32_t offset, const void *from,
			     uint32_t len);
	void (*start)(struct virtio_device *d); /* DRIVER_OK; may be NULL */
	void (*notify)(struct virtio_device *d, unsigned queue);
	void (*reset)(struct virtio_device
			      *d); /* forget the driver; queues are reset after; may be NULL */
	void (*free)(struct virtio_device *d);
};

/* Up to the transport: tells the driver. `bits` are VIRTIO_INTERRUPT_*. */
struct virtio_transport {
	void (*interrupt)(struct virtio_transport *t, uint32_t bits);
	/* Has the device's thread call virtio_device_notify for every queue, soon. */
	void (*ring)(struct virtio_transport *t);
};

struct virtio_device {
	const struct virtio_ops *ops;
	struct virtio_transport *transport;
	pthread_mutex_t lock;
	uint64_t offered;    /* feature bits; the transport adds VERSION_1 */
	uint64_t negotiated; /* subset of `offered`, valid after FEATURES_OK */
	uint32_t config_size;
	uint8_t status;
	unsigned queues_n;
	struct virtq *queues; /* in the device's own struct */
};

/* Features that every device offers: version 1, packed rings, indirect descriptors, event index. */
uint64_t virtio_common_features(void);

/* Fills the base; `queues` have `max` entries each. */
void virtio_device_init(struct virtio_device *d, const struct virtio_ops *ops,
			const struct memory *mem, struct virtq *queues, unsigned n, uint16_t max,
			uint64_t features, uint32_t config_size);
void virtio_device_free(struct virtio_device *d);

static inline bool virtio_has(const struct virtio_device *d, unsigned feature)
{
	return d->negotiated >> feature & 1;
}

/* Interrupts the driver when it wants to know of what was pushed to `q`. */
void virtio_device_signal(struct virtio_device *d, struct virtq *q);
/* The driver broke a rule: DEVICE_NEEDS_RESET (2.1.2) and a configuration interrupt. */
void virtio_device_fail(struct virtio_device *d);
/* The configuration space changed. */
void virtio_device_config_changed(struct virtio_device *d);

/* The driver's kick, from a device thread or from a vCPU: takes the lock. */
void virtio_device_notify(struct virtio_device *d, unsigned queue);

/* Buffers that a device takes in one go: a driver that offers them as fast as they are taken shall not keep the thread
 * from what else it serves. Who stops there calls virtio_device_again. */
enum { VIRTIO_TURN = 256 };
/* As if the driver had kicked every queue, once others had their turn. */
void virtio_device_again(struct virtio_device *d);

/* From the transport, lock held: the status register was written (2.1, 3.1); 0 resets (2.4). */
void virtio_device_set_status(struct virtio_device *d, uint8_t status);
