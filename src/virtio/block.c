/*
 * The block device.
 *
 * A request is a header (what, where), data, and one status byte at the very end of the writable part. It is
 * taken from the queue into one of a fixed number of slots, handed to the disk, and given back when the disk
 * says so, in whatever order. Layout is never assumed (VERSION_1 implies any layout): header, data and status
 * are found by byte counts.
 *
 * Queues share the slots and the disk; a request goes back to the queue that it came from. Requests of one round are
 * handed to the disk together (block_kick), and what is complete then is told by one interrupt.
 *
 * Implemented of virtio 1.2: 5.2.3 RO, BLK_SIZE, SEG_MAX, FLUSH, MQ, DISCARD, WRITE_ZEROES; 5.2.6 IN, OUT, FLUSH,
 * GET_ID, DISCARD, WRITE_ZEROES, UNSUPP for others; 5.2.6.2 sector ranges checked before the disk sees them.
 *
 * Trust: header and ranges are copied, then judged. Data goes straight between guest memory and the disk.
 * Threads: the device's, and vCPUs, under the lock; completions arrive under it too. #syscalls: futex
 */
#include "virtio/block.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { SLOTS = 64, MAX_RANGE_SECTORS = 1 << 22 /* 2 GB */ };

struct request {
	struct virtq_chain chain;
	struct block_io io;
	struct iovec data[VIRTQ_IOV_MAX];
	struct virtio_block *owner;
	struct virtq *queue;
	uint32_t written; /* bytes of the writable part, status included */
	struct request *next;
};

struct virtio_block {
	struct virtio_device dev;
	struct virtq queue[VIRTIO_BLOCK_QUEUES_MAX];
	struct block *disk;
	char serial[VIRTIO_BLK_ID_BYTES];
	struct virtio_blk_config config;
	struct request *free;
	unsigned busy;
	bool draining; /* a reset is waiting for the disk */
	struct request slots[SLOTS];
};

static struct virtio_block *block_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_block, dev);
}

static void config_read(struct virtio_device *d, uint32_t offset, void *to, uint32_t len)
{
	memcpy(to, (const uint8_t *)&block_of(d)->config + offset, len);
}

static void give_back(struct request *r, uint8_t status)
{
	struct virtio_block *b = r->owner;

	virtq_scatter(&r->chain, r->chain.writable_len - 1, &status, 1);
	virtq_push(r->queue, &r->chain, r->written);
	r->next = b->free;
	b->free = r;
	b->busy--;
}

static uint8_t status_of(int result)
{
	return result == 0	       ? VIRTIO_BLK_S_OK
	       : result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP
				       : VIRTIO_BLK_S_IOERR;
}

static void done(struct block_io *io)
{
	struct request *r = container_of(io, struct request, io);

	give_back(r, status_of(io->result));
}

/* 5.2.6.2: a range that leaves the disk is an error, and no part of it happens. */
static bool range_ok(const struct virtio_block *b, uint64_t sector, uint64_t bytes)
{
	uint64_t capacity = b->disk->size / BLOCK_SECTOR;

	return bytes % BLOCK_SECTOR == 0 && sector <= capacity &&
	       bytes / BLOCK_SECTOR <= capacity - sector;
}

static void submit_data(struct request *r, bool is_write, uint64_t sector)
{
	struct virtio_block *b = r->owner;
	uint64_t len = is_write ? r->chain.readable_len - sizeof(struct virtio_blk_req)
				: r->chain.writable_len - 1;

	if (!range_ok(b, sector, len) || (is_write && b->disk->read_only)) {
		give_back(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	int n = is_write ? virtq_slice(r->chain.iov, r->chain.readable,
				       sizeof(struct virtio_blk_req), len, r->data)
			 : virtq_slice(virtq_writable(&r->chain), r->chain.writable, 0, len,
				       r->data);

	if (!is_write)
		r->written = (uint32_t)(len + 1);
	r->io = (struct block_io){
		.op = is_write ? BLOCK_WRITE : BLOCK_READ,
		.offset = sector * BLOCK_SECTOR,
		.len = len,
		.iov = r->data,
		.iov_n = n,
		.done = done,
	};
	block_submit(b->disk, &r->io);
}

/* 5.2.6: one segment, as the configuration says (max_discard_seg, max_write_zeroes_seg). */
static void submit_range(struct request *r, bool discard)
{
	struct virtio_block *b = r->owner;
	struct virtio_blk_range range;

	if (r->chain.readable_len != sizeof(struct virtio_blk_req) + sizeof(range)) {
		give_back(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	virtq_gather(&r->chain, sizeof(struct virtio_blk_req), &range, sizeof(range));
	uint64_t sector = le64toh(range.sector), n = le32toh(range.num_sectors);
	uint32_t flags = le32toh(range.flags);

	/* 5.2.6.2: unknown flags, and unmap with a discard, are unsupported */
	if (flags & ~(discard ? 0u : (uint32_t)VIRTIO_BLK_WRITE_ZEROES_F_UNMAP)) {
		give_back(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (n > MAX_RANGE_SECTORS || !range_ok(b, sector, n * BLOCK_SECTOR) || b->disk->read_only) {
		give_back(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	r->io = (struct block_io){
		.op = discard ? BLOCK_DISCARD : BLOCK_ZERO,
		.unmap = flags & VIRTIO_BLK_WRITE_ZEROES_F_UNMAP,
		.offset = sector * BLOCK_SECTOR,
		.len = n * BLOCK_SECTOR,
		.done = done,
	};
	block_submit(b->disk, &r->io);
}

static void submit_flush(struct request *r)
{
	r->io = (struct block_io){ .op = BLOCK_FLUSH, .done = done };
	block_submit(r->owner->disk, &r->io);
}

static void get_id(struct request *r)
{
	size_t n = MIN((size_t)r->chain.writable_len - 1, sizeof(r->owner->serial));

	virtq_scatter(&r->chain, 0, r->owner->serial, n);
	r->written = (uint32_t)n + 1;
	give_back(r, VIRTIO_BLK_S_OK);
}

static void dispatch(struct request *r, const struct virtio_blk_req *h)
{
	switch (le32toh(h->type)) {
	case VIRTIO_BLK_T_IN:
		submit_data(r, false, le64toh(h->sector));
		break;
	case VIRTIO_BLK_T_OUT:
		submit_data(r, true, le64toh(h->sector));
		break;
	case VIRTIO_BLK_T_FLUSH:
		submit_flush(r);
		break;
	case VIRTIO_BLK_T_GET_ID:
		get_id(r);
		break;
	case VIRTIO_BLK_T_DISCARD:
		submit_range(r, true);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		submit_range(r, false);
		break;
	default:
		give_back(r, VIRTIO_BLK_S_UNSUPP);
	}
}

/* Takes requests until the queue or the slots are empty. */
static void work(struct virtio_block *b, struct virtq *q)
{
	while (b->free && !b->draining && q->ready) {
		struct request *r = b->free;
		struct virtio_blk_req header;

		if (virtq_pop(q, &r->chain) <= 0)
			break;
		if (virtq_gather(&r->chain, 0, &header, sizeof(header)) != sizeof(header) ||
		    !r->chain.writable_len) {
			q->broken = "a block request without header or status";
			break;
		}
		b->free = r->next;
		b->busy++;
		r->queue = q;
		r->written = 1;
		dispatch(r, &header);
	}
	if (q->broken)
		virtio_device_fail(&b->dev);
	block_kick(b->disk);
}

static void serve(struct virtio_block *b, struct virtq *q)
{
	do {
		virtq_hush(q);
		work(b, q);
	} while (virtq_listen(q) && b->free && !q->broken);
}

/* Completions may be for any of them. */
static void signal_all(struct virtio_block *b)
{
	for (unsigned i = 0; i < b->dev.queues_n; i++)
		if (b->queue[i].ready)
			virtio_device_signal(&b->dev, &b->queue[i]);
}

static void notify(struct virtio_device *d, unsigned queue)
{
	struct virtio_block *b = block_of(d);

	serve(b, &b->queue[queue]);
	signal_all(b);
}

/* Requests in flight still point into guest memory: wait for them. */
static void reset(struct virtio_device *d)
{
	struct virtio_block *b = block_of(d);

	b->draining = true;
	block_rush(b->disk);
	while (b->busy)
		block_reap(b->disk);
	b->draining = false;
}

static void free_block(struct virtio_device *d)
{
	struct virtio_block *b = block_of(d);

	reset(d);
	block_free(b->disk);
	free(b);
}

static const struct virtio_ops ops = {
	.name = "block",
	.id = VIRTIO_ID_BLOCK,
	.config_read = config_read,
	.notify = notify,
	.reset = reset,
	.free = free_block,
};

struct virtio_device *virtio_block_new(const struct memory *mem, struct block *disk,
				       const char *serial, unsigned queues)
{
	struct virtio_block *b = calloc(1, sizeof(*b));

	queues = MIN(MAX(queues, 1u), (unsigned)VIRTIO_BLOCK_QUEUES_MAX);

	if (!b) {
		block_free(disk);
		return NULL;
	}
	uint64_t features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
			    1ull << VIRTIO_BLK_F_FLUSH;

	if (queues > 1)
		features |= 1ull << VIRTIO_BLK_F_MQ;
	if (disk->read_only)
		features |= 1ull << VIRTIO_BLK_F_RO;
	else
		features |= 1ull << VIRTIO_BLK_F_WRITE_ZEROES |
			    (disk->can_discard ? 1ull << VIRTIO_BLK_F_DISCARD : 0);
	virtio_device_init(&b->dev, &ops, mem, b->queue, queues, VIRTQ_MAX, features, 60);
	b->disk = disk;
	memcpy(b->serial, serial,
	       MIN(strlen(serial), sizeof(b->serial))); /* 5.2.6: no NUL when full */
	b->config = (struct virtio_blk_config){
		.capacity = htole64(disk->size / BLOCK_SECTOR),
		.seg_max = htole32(VIRTQ_IOV_MAX - 2),
		.blk_size = htole32(BLOCK_SECTOR),
		.num_queues = htole16((uint16_t)queues),
		.max_discard_sectors = htole32(MAX_RANGE_SECTORS),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(8),
		.max_write_zeroes_sectors = htole32(MAX_RANGE_SECTORS),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = 1,
	};
	for (int i = 0; i < SLOTS; i++) {
		b->slots[i].owner = b;
		b->slots[i].next = b->free;
		b->free = &b->slots[i];
	}
	return &b->dev;
}

int virtio_block_event_fd(const struct virtio_device *d)
{
	return container_of(d, struct virtio_block, dev)->disk->event_fd;
}

void virtio_block_reap(struct virtio_device *d)
{
	struct virtio_block *b = block_of(d);

	pthread_mutex_lock(&d->lock);
	block_reap(b->disk);
	for (unsigned i = 0; i < d->queues_n; i++) /* slots came free */
		if (b->queue[i].ready && !b->queue[i].broken)
			serve(b, &b->queue[i]);
	signal_all(b);
	pthread_mutex_unlock(&d->lock);
}
