/* A little driver for device tests: it finds a device behind its registers, negotiates, places split rings,
 * and sends buffers. */
#pragma once

#include <endian.h>
#include <string.h>

#include "../test.h"
#include "virtio/mmio.h"

enum {
	DRIVER_RING = 8,
	DRIVER_BASE = 0x10000,	/* rings: a page for each area of each queue */
	DRIVER_DATA = 0x100000, /* free for tests */
	DRIVER_MEMORY = 2 << 20,
};

struct driver {
	struct memory mem;
	struct virtio_device *dev;
	struct virtio_mmio mmio;
	unsigned interrupts;
	uint16_t avail[16], seen[16];
};

static inline uint32_t reg_read(struct driver *d, uint32_t offset)
{
	uint32_t v = 0;

	d->mmio.range.access(&d->mmio.range, offset, &v, 4, false);
	return le32toh(v);
}

static inline void reg_write(struct driver *d, uint32_t offset, uint32_t value)
{
	value = htole32(value);
	d->mmio.range.access(&d->mmio.range, offset, &value, 4, true);
}

static inline void *guest(struct driver *d, uint64_t gpa)
{
	void *p = memory_at(&d->mem, GPA(gpa), 1);

	assert_non_null(p);
	return p;
}

static inline void count_interrupt(void *arg)
{
	((struct driver *)arg)->interrupts++;
}

static inline void driver_memory(struct driver *d)
{
	struct err e = ERR_INIT;

	memset(d, 0, sizeof(*d));
	assert_int_equal(memory_init(&d->mem, DRIVER_MEMORY, false, &e), 0);
}

/* The areas of queue `q`. */
static inline uint64_t ring_area(unsigned q, unsigned area)
{
	return DRIVER_BASE + (3 * (uint64_t)q + area) * 4096;
}

static inline void driver_queue(struct driver *d, unsigned q)
{
	memset(guest(d, ring_area(q, 0)), 0, 3 * 4096);
	d->avail[q] = d->seen[q] = 0;
	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, q);
	reg_write(d, VIRTIO_MMIO_QUEUE_NUM, DRIVER_RING);
	reg_write(d, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)ring_area(q, 0));
	reg_write(d, VIRTIO_MMIO_QUEUE_DRIVER_LOW, (uint32_t)ring_area(q, 1));
	reg_write(d, VIRTIO_MMIO_QUEUE_DEVICE_LOW, (uint32_t)ring_area(q, 2));
	reg_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
}

/* 3.1.1, with these feature bits and VERSION_1. */
static inline void driver_start(struct driver *d, uint64_t features)
{
	features |= 1ull << VIRTIO_F_VERSION_1;
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
	reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	for (uint32_t i = 0; i < 2; i++) {
		reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * i)));
	}
	reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_FEATURES_OK);
	assert_true(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_FEATURES_OK);
	for (unsigned q = 0; q < d->dev->queues_n; q++)
		driver_queue(d, q);
	reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_DRIVER_OK);
}

static inline void driver_attach(struct driver *d, struct virtio_device *dev, uint64_t features)
{
	assert_non_null(dev);
	d->dev = dev;
	virtio_mmio_init(&d->mmio, dev, 0xd0000000, count_interrupt, d);
	driver_start(d, features);
}

static inline void driver_detach(struct driver *d)
{
	virtio_device_free(d->dev);
	memory_fini(&d->mem);
}

struct piece {
	uint64_t addr;
	uint32_t len;
	bool write;
};

/* Offers one buffer of `n` pieces (descriptors 0..n-1) and kicks. */
static inline void driver_offer(struct driver *d, unsigned q, const struct piece *p, uint16_t n)
{
	struct virtq_desc *table = guest(d, ring_area(q, 0));
	uint16_t *ring = guest(d, ring_area(q, 1));

	for (uint16_t i = 0; i < n; i++)
		table[i] = (struct virtq_desc){
			htole64(p[i].addr),
			htole32(p[i].len),
			htole16((uint16_t)((p[i].write ? VIRTQ_DESC_F_WRITE : 0) |
					   (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0))),
			htole16((uint16_t)(i + 1)),
		};
	ring[2 + d->avail[q] % DRIVER_RING] = 0;
	ring[1] = htole16(++d->avail[q]);
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

/* The length of the next used buffer, or -1 when there is none. */
static inline int64_t driver_take(struct driver *d, unsigned q)
{
	uint8_t *used = guest(d, ring_area(q, 2));
	struct virtq_used_elem e;

	if (le16toh(((uint16_t *)(void *)used)[1]) == d->seen[q])
		return -1;
	memcpy(&e, used + 4 + 8 * (d->seen[q]++ % DRIVER_RING), sizeof(e));
	return le32toh(e.len);
}
