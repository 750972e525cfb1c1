/* A hostile driver for any virtio device: the input is a list of what it does to the registers and to memory.
 *
 * The first byte says how far an honest set-up goes before (nothing, features, or queues ready at fixed
 * places with split or packed rings), so that both the registers and what lies behind them are reached. */
#pragma once

#include "fuzz.h"
#include "machine/memory.h"
#include "virtio/device.h"
#include "virtio/mmio.h"

enum { FUZZ_MEMORY = 2 << 20, FUZZ_USED = 0x10000, FUZZ_RING = 8 };

struct fuzz_input {
	const uint8_t *p;
	size_t n;
};

static inline uint64_t fuzz_take(struct fuzz_input *in, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes && in->n; i++, in->p++, in->n--)
		v |= (uint64_t)*in->p << (8 * i);
	return v;
}

static inline void fuzz_raise(void *arg)
{
	(void)arg;
}

static inline void fuzz_write(struct virtio_mmio *t, uint64_t offset, uint32_t v)
{
	t->range.access(&t->range, offset, &v, 4, true);
}

static inline uint64_t fuzz_ring(unsigned queue)
{
	return 0x1000u * (1 + queue % 12);
}

static inline void fuzz_setup(struct virtio_mmio *t, uint8_t how)
{
	fuzz_write(t, VIRTIO_MMIO_STATUS, 3);
	for (uint32_t sel = 0; sel < 2; sel++) {
		uint64_t wanted = t->device->offered;

		if (how & 4)
			wanted &= ~(UINT64_C(1) << VIRTIO_F_RING_PACKED);
		if (how & 8)
			wanted &= ~(UINT64_C(1) << VIRTIO_F_EVENT_IDX);
		fuzz_write(t, VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
		fuzz_write(t, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(wanted >> (32 * sel)) | sel);
	}
	fuzz_write(t, VIRTIO_MMIO_STATUS, 11);
	if (!(how & 2))
		return;
	for (unsigned q = 0; q < t->device->queues_n; q++) {
		uint32_t at = (uint32_t)fuzz_ring(q);

		fuzz_write(t, VIRTIO_MMIO_QUEUE_SEL, q);
		fuzz_write(t, VIRTIO_MMIO_QUEUE_NUM, FUZZ_RING);
		fuzz_write(t, VIRTIO_MMIO_QUEUE_DESC_LOW, at);
		fuzz_write(t, VIRTIO_MMIO_QUEUE_DRIVER_LOW, at + 0x400);
		fuzz_write(t, VIRTIO_MMIO_QUEUE_DEVICE_LOW, at + 0x800);
		fuzz_write(t, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	fuzz_write(t, VIRTIO_MMIO_STATUS, 15);
}

static inline void fuzz_put(struct memory *mem, uint64_t at, const void *p, uint64_t n)
{
	memory_write(mem, GPA(at % FUZZ_USED), p, n);
}

/* A descriptor, and for a split ring the available entry that offers it. */
static inline void fuzz_offer(struct memory *mem, struct fuzz_input *in)
{
	unsigned queue = (unsigned)fuzz_take(in, 1), slot = (unsigned)fuzz_take(in, 1) % FUZZ_RING;
	struct virtq_desc d = { .addr = FUZZ_USED - 0x2000 + fuzz_take(in, 2),
				.len = (uint32_t)fuzz_take(in, 2),
				.flags = (uint16_t)fuzz_take(in, 2),
				.next = (uint16_t)fuzz_take(in, 1) % FUZZ_RING };
	uint16_t head = (uint16_t)slot, *index = memory_at(mem, GPA(fuzz_ring(queue) + 0x402), 2);

	fuzz_put(mem, fuzz_ring(queue) + 16 * slot, &d, sizeof(d));
	fuzz_put(mem, fuzz_ring(queue) + 0x404 + 2u * (*index % FUZZ_RING), &head, sizeof(head));
	++*index;
}

/* `turn` is called after each step: what the device's thread would do. */
static inline void fuzz_virtio(struct virtio_device *d, struct memory *mem, const uint8_t *data,
			       size_t size, void (*turn)(struct virtio_device *d))
{
	struct fuzz_input in = { data, size };
	struct virtio_mmio t;
	uint8_t how = (uint8_t)fuzz_take(&in, 1);

	virtio_mmio_init(&t, d, 0xd0000000, fuzz_raise, NULL);
	if (how & 3)
		fuzz_setup(&t, how);
	for (int steps = 0; in.n && steps < 500; steps++) {
		uint32_t word = 0;

		switch (fuzz_take(&in, 1) % 8) {
		case 0:
			word = (uint32_t)fuzz_take(&in, 4);
			fuzz_write(&t, fuzz_take(&in, 1) * 4, word);
			break;
		case 1: {
			uint64_t offset = fuzz_take(&in, 2) % (VIRTIO_MMIO_SIZE - 8);
			uint8_t bytes[8] = { 0 };

			t.range.access(&t.range, offset, bytes, 1 + (uint32_t)fuzz_take(&in, 1) % 8,
				       fuzz_take(&in, 1) & 1);
			break;
		}
		case 2: {
			uint64_t at = fuzz_take(&in, 2), v = fuzz_take(&in, 8);

			fuzz_put(mem, at, &v, sizeof(v));
			break;
		}
		case 3:
		case 4:
			fuzz_offer(mem, &in);
			break;
		case 5:
			fuzz_offer(mem, &in);
			fuzz_write(&t, VIRTIO_MMIO_QUEUE_NOTIFY, (uint32_t)fuzz_take(&in, 1) % 16);
			break;
		case 6:
			fuzz_write(&t, VIRTIO_MMIO_QUEUE_NOTIFY, (uint32_t)fuzz_take(&in, 4));
			break;
		default:
			fuzz_write(&t, VIRTIO_MMIO_QUEUE_NOTIFY, (uint32_t)fuzz_take(&in, 1) % 16);
			break;
		}
		if (turn)
			turn(d);
	}
	virtio_device_free(d);
}

/* Guest memory, clean where the ring and the buffers lie. */
static inline struct memory *fuzz_memory(void)
{
	static struct memory mem;
	struct err e = ERR_INIT;

	if (!mem.base)
		FUZZ_CHECK(memory_init(&mem, FUZZ_MEMORY, false, &e) == 0);
	memset(mem.base, 0, 2 * FUZZ_USED);
	return &mem;
}
