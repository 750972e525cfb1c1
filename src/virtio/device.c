/*
 * What all virtio devices share: feature negotiation, the status register's life, telling the driver.
 *
 * A device has one lock. vCPU threads take it for register accesses, the device's thread while it works on a
 * queue, so that a reset never meets a request half way.
 *
 * Trust: status and features come from the guest; a sequence that 3.1.1 does not allow leaves FEATURES_OK or
 * DRIVER_OK unset, and an unready queue does nothing. Threads: any, by the lock. #syscalls: futex
 */
#include "virtio/device.h"

uint64_t virtio_common_features(void)
{
	return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_RING_PACKED |
	       1ull << VIRTIO_F_INDIRECT_DESC | 1ull << VIRTIO_F_EVENT_IDX;
}

void virtio_device_init(struct virtio_device *d, const struct virtio_ops *ops,
			const struct memory *mem, struct virtq *queues, unsigned n, uint16_t max,
			uint64_t features, uint32_t config_size)
{
	*d = (struct virtio_device){
		.ops = ops,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.offered = features | virtio_common_features(),
		.config_size = config_size,
		.queues = queues,
		.queues_n = n,
	};
	for (unsigned i = 0; i < n; i++)
		virtq_init(&queues[i], mem, max);
}

void virtio_device_free(struct virtio_device *d)
{
	if (d)
		d->ops->free(d);
}

static void interrupt(struct virtio_device *d, uint32_t bits)
{
	if (d->transport && d->status & VIRTIO_STATUS_DRIVER_OK)
		d->transport->interrupt(d->transport, bits);
}

void virtio_device_again(struct virtio_device *d)
{
	if (d->transport)
		d->transport->ring(d->transport);
}

void virtio_device_signal(struct virtio_device *d, struct virtq *q)
{
	if (virtq_wants_interrupt(q))
		interrupt(d, VIRTIO_INTERRUPT_USED);
}

void virtio_device_fail(struct virtio_device *d)
{
	if (d->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	d->status |= VIRTIO_STATUS_NEEDS_RESET;
	interrupt(d, VIRTIO_INTERRUPT_CONFIG);
}

void virtio_device_config_changed(struct virtio_device *d)
{
	interrupt(d, VIRTIO_INTERRUPT_CONFIG);
}

void virtio_device_notify(struct virtio_device *d, unsigned queue)
{
	pthread_mutex_lock(&d->lock);
	/* 2.1.2: no buffer is consumed before DRIVER_OK */
	if (queue < d->queues_n && d->queues[queue].ready && d->status & VIRTIO_STATUS_DRIVER_OK) {
		d->ops->notify(d, queue);
		if (d->queues[queue].broken)
			virtio_device_fail(d);
	}
	pthread_mutex_unlock(&d->lock);
}

static void reset(struct virtio_device *d)
{
	if (d->ops->reset)
		d->ops->reset(d);
	for (unsigned i = 0; i < d->queues_n; i++)
		virtq_reset(&d->queues[i]);
	d->status = 0;
	d->negotiated = 0;
}

void virtio_device_set_status(struct virtio_device *d, uint8_t status)
{
	uint8_t before = d->status;

	if (!status) {
		reset(d);
		return;
	}
	/* 2.1.1: the driver does not clear bits; NEEDS_RESET is ours alone */
	status |= before;
	status = (uint8_t)((status & ~VIRTIO_STATUS_NEEDS_RESET) |
			   (before & VIRTIO_STATUS_NEEDS_RESET));
	/* 2.2.2, 6.2: only a subset of what was offered, and version 1 always */
	if (status & ~before & VIRTIO_STATUS_FEATURES_OK &&
	    (d->negotiated & ~d->offered || !virtio_has(d, VIRTIO_F_VERSION_1)))
		status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	if (!(status & VIRTIO_STATUS_FEATURES_OK))
		status &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	d->status = status;
	if (status & ~before & VIRTIO_STATUS_DRIVER_OK) {
		if (d->ops->start)
			d->ops->start(d);
		virtio_device_again(d); /* drivers kick before DRIVER_OK too, unheard */
	}
}
