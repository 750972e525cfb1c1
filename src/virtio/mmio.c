/*
 * The MMIO transport.
 *
 * The driver finds a page of 32-bit registers (through ACPI's LNRO0005, see machine/acpi.c), negotiates and
 * places its queues with them, and kicks by writing a queue's number to QueueNotify; KVM turns that write
 * into an eventfd, so this file only sees it where there is no ioeventfd. Interrupts are one edge-triggered
 * line; InterruptStatus says why.
 *
 * Trust: offset, width and value are the guest's. A register that does not exist reads as 0 and ignores writes
 * (4.2.2.2); widths other than 32 bits are only for the configuration space.
 * Threads: vCPUs, under the device's lock; `pending` is atomic because device threads raise it.
 * #syscalls: futex
 */
#include "virtio/mmio.h"

#include <endian.h>
#include <string.h>

#include "base/util.h"

static void interrupt(struct virtio_transport *base, uint32_t bits)
{
	struct virtio_mmio *t = container_of(base, struct virtio_mmio, transport);

	atomic_fetch_or_explicit(&t->pending, bits, memory_order_release);
	t->raise(t->raise_arg);
}

static void ring(struct virtio_transport *base)
{
	struct virtio_mmio *t = container_of(base, struct virtio_mmio, transport);

	if (t->ring)
		t->ring(t->raise_arg);
}

static struct virtq *selected(struct virtio_mmio *t)
{
	return t->queue_sel < t->device->queues_n ? &t->device->queues[t->queue_sel] : NULL;
}

static uint32_t features_word(uint64_t features, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(features >> (32 * sel));
}

static uint32_t read_register(struct virtio_mmio *t, uint32_t offset)
{
	struct virtio_device *d = t->device;
	const struct virtq *q = selected(t);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC:
		return VIRTIO_MMIO_MAGIC_VALUE;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return d->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VIRTIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return features_word(d->offered, t->device_features_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? q->max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q && q->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return atomic_load_explicit(&t->pending, memory_order_acquire);
	case VIRTIO_MMIO_STATUS:
		return d->status;
	case VIRTIO_MMIO_SHM_LEN_LOW: /* 4.2.2: no such region */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	default:
		return 0;
	}
}

static void set_half(uint64_t *to, bool high, uint32_t v)
{
	if (high)
		*to = (*to & UINT32_MAX) | (uint64_t)v << 32;
	else
		*to = (*to & ~(uint64_t)UINT32_MAX) | v;
}

static void set_driver_features(struct virtio_mmio *t, uint32_t v)
{
	/* 3.1.1: not after FEATURES_OK */
	if (t->device->status & VIRTIO_STATUS_FEATURES_OK || t->driver_features_sel > 1)
		return;
	set_half(&t->device->negotiated, t->driver_features_sel, v);
}

static void set_queue_ready(struct virtio_mmio *t, struct virtq *q, uint32_t v)
{
	if (v && !q->ready && t->device->status & VIRTIO_STATUS_FEATURES_OK) {
		if (virtq_start(q, t->device->negotiated))
			virtio_device_fail(t->device);
	} else if (!v && q->ready) {
		virtq_reset(q);
	}
}

/* 4.2.2: the layout registers of the selected queue, while it is not in use. */
static void write_layout(struct virtq *q, uint32_t offset, uint32_t v)
{
	struct virtq_layout *l = &q->layout;

	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		l->size = v <= q->max ? (uint16_t)v : 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&l->desc, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
		set_half(&l->driver, offset == VIRTIO_MMIO_QUEUE_DRIVER_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		set_half(&l->device, offset == VIRTIO_MMIO_QUEUE_DEVICE_HIGH, v);
		break;
	default:
		break;
	}
}

static void write_register(struct virtio_mmio *t, uint32_t offset, uint32_t v)
{
	struct virtio_device *d = t->device;
	struct virtq *q = selected(t);

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		t->device_features_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		t->driver_features_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		set_driver_features(t, v);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		t->queue_sel = v;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (q)
			set_queue_ready(t, q, v);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		atomic_fetch_and_explicit(&t->pending, ~v, memory_order_acq_rel);
		break;
	case VIRTIO_MMIO_STATUS:
		virtio_device_set_status(d, (uint8_t)v);
		if (!d->status)
			atomic_store_explicit(&t->pending, 0, memory_order_release);
		break;
	default:
		if (q && !q->ready)
			write_layout(q, offset, v);
	}
}

static void config_access(struct virtio_device *d, uint32_t offset, void *data, uint32_t len,
			  bool is_write)
{
	if (!is_write)
		memset(data, 0, len);
	if (offset > d->config_size || len > d->config_size - offset)
		return;
	if (!is_write)
		d->ops->config_read(d, offset, data, len);
	else if (d->ops->config_write)
		d->ops->config_write(d, offset, data, len);
}

static void access(struct bus_range *r, uint64_t offset64, void *data, uint32_t len, bool is_write)
{
	struct virtio_mmio *t = container_of(r, struct virtio_mmio, range);
	uint32_t offset = (uint32_t)offset64, v = 0;

	if (is_write && offset == VIRTIO_MMIO_QUEUE_NOTIFY && len == 4) {
		memcpy(&v, data, 4);
		virtio_device_notify(t->device, le32toh(v)); /* locks */
		return;
	}
	pthread_mutex_lock(&t->device->lock);
	if (offset >= VIRTIO_MMIO_CONFIG) {
		config_access(t->device, offset - VIRTIO_MMIO_CONFIG, data, len, is_write);
	} else if (len != 4 || offset % 4) { /* 4.2.2.2: the driver uses 32 bits, aligned */
		if (!is_write)
			memset(data, 0, len);
	} else if (is_write) {
		memcpy(&v, data, 4);
		write_register(t, offset, le32toh(v));
	} else {
		v = htole32(read_register(t, offset));
		memcpy(data, &v, 4);
	}
	pthread_mutex_unlock(&t->device->lock);
}

void virtio_mmio_init(struct virtio_mmio *t, struct virtio_device *d, uint64_t base,
		      void (*raise)(void *arg), void *arg)
{
	*t = (struct virtio_mmio){
		.transport = { .interrupt = interrupt, .ring = ring },
		.range = { .base = base, .size = VIRTIO_MMIO_SIZE, .access = access },
		.device = d,
		.raise = raise,
		.raise_arg = arg,
	};
	d->transport = &t->transport;
}
