/*
 * The entropy device (virtio 1.2, 5.4): the guest offers buffers, the host fills them with random bytes.
 *
 * Implemented of virtio 1.2: 5.4.6 (random data of at least one byte goes into every buffer that has room).
 *
 * Trust: a guest may ask as often as it likes; a buffer is filled up to 4 KB a time. Threads: under the device's lock.
 * #syscalls: futex
 * #syscalls(main): getrandom
 */
#include "virtio/entropy.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/util.h"

struct virtio_entropy {
	struct virtio_device dev;
	struct virtq queue;
};

static void notify(struct virtio_device *d, unsigned queue)
{
	struct virtq *q = &d->queues[queue];
	struct virtq_chain c;
	uint8_t bytes[4096];
	int turn = VIRTIO_TURN;

	while (turn && virtq_pop(q, &c) > 0) {
		turn--;
		size_t want = MIN(c.writable_len, (uint64_t)sizeof(bytes));
		ssize_t n = getrandom(bytes, want, 0);

		virtq_push(q, &c, n > 0 ? (uint32_t)virtq_scatter(&c, 0, bytes, (size_t)n) : 0);
	}
	virtio_device_signal(d, q);
	if (!turn)
		virtio_device_again(d);
}

static void free_entropy(struct virtio_device *d)
{
	free(container_of(d, struct virtio_entropy, dev));
}

static const struct virtio_ops ops = {
	.name = "entropy",
	.id = VIRTIO_ID_ENTROPY,
	.notify = notify,
	.free = free_entropy,
};

struct virtio_device *virtio_entropy_new(const struct memory *mem)
{
	struct virtio_entropy *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	virtio_device_init(&r->dev, &ops, mem, &r->queue, 1, 64, 0, 0);
	return &r->dev;
}
