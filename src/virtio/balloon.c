/*
 * The memory balloon: what the guest does not need goes back to the host.
 *
 * Three ways, all of which end in memory_discard: the host asks for pages (num_pages), and the driver puts them on
 * the inflate queue; the driver reports what its allocator has free, without being asked; and when the guest is
 * short of memory, it takes pages back by itself (DEFLATE_ON_OOM). A page that is used again comes back as zeroes,
 * so deflating needs no work. The statistics queue holds one buffer of the driver's; giving it back asks for news.
 *
 * Implemented of virtio 1.2: 5.5.3 STATS_VQ, DEFLATE_ON_OOM, PAGE_POISON, PAGE_REPORTING; 5.5.6 inflating and
 * deflating; 5.5.6.3 statistics; 5.5.6.6 poisoned pages are left alone; 5.5.6.7 reporting. Not offered:
 * MUST_TELL_HOST, FREE_PAGE_HINT.
 *
 * Trust: page numbers and report ranges are the guest's; each goes through the door of guest memory, and a guest
 * that gives back pages that it uses has lost its own data. Threads: under the device's lock.
 * #syscalls: futex madvise
 */
#include "virtio/balloon.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum {
	QUEUE_INFLATE =
		0, /* 5.5.2: the others exist as their features are negotiated, without gaps */
	QUEUE_DEFLATE = 1,
	QUEUES = 4,
	QUEUE_SIZE = 128,
	PFN_SHIFT = 12,
};

struct virtio_balloon {
	struct virtio_device dev;
	struct virtq queues[QUEUES];
	struct memory *mem;
	struct virtio_balloon_config config; /* little-endian, as the guest sees it */
	struct virtio_balloon_figures figures;
	struct virtq_chain chain;
	struct virtq_chain stats; /* the driver's buffer, when `stats_held` */
	bool stats_held;
};

static struct virtio_balloon *balloon_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_balloon, dev);
}

static bool has_stats(const struct virtio_balloon *b)
{
	return virtio_has(&b->dev, VIRTIO_BALLOON_F_STATS_VQ);
}

/* The numbers of the queues that not every driver has; QUEUES: it has none. */
static unsigned stats_queue(const struct virtio_balloon *b)
{
	return has_stats(b) ? 2 : QUEUES;
}

static unsigned reporting_queue(const struct virtio_balloon *b)
{
	return virtio_has(&b->dev, VIRTIO_BALLOON_F_PAGE_REPORTING) ? 2u + has_stats(b) : QUEUES;
}

static void config_read(struct virtio_device *d, uint32_t offset, void *to, uint32_t len)
{
	memcpy(to, (const uint8_t *)&balloon_of(d)->config + offset, len);
}

/* 5.5.4: `actual` and `poison_val` are the driver's to write. */
static void config_write(struct virtio_device *d, uint32_t offset, const void *from, uint32_t len)
{
	struct virtio_balloon *b = balloon_of(d);
	struct virtio_balloon_config c = b->config;

	memcpy((uint8_t *)&c + offset, from, len);
	b->config.actual = c.actual;
	if (virtio_has(d, VIRTIO_BALLOON_F_PAGE_POISON))
		b->config.poison_val = c.poison_val;
}

/* ---- pages ---- */

static void inflate_run(struct virtio_balloon *b, uint64_t pfn, uint64_t n)
{
	void *p = memory_at(b->mem, GPA(pfn << PFN_SHIFT), n << PFN_SHIFT);

	if (p && !memory_discard(b->mem, p, n << PFN_SHIFT))
		b->figures.inflated += n << PFN_SHIFT;
}

/* Page numbers of one buffer; neighbours go together. */
static void inflate(struct virtio_balloon *b, const struct virtq_chain *c)
{
	uint32_t pfns[256];
	uint64_t start = 0, n = 0;
	size_t got, at = 0;

	while ((got = virtq_gather(c, at, pfns, sizeof(pfns)) / sizeof(pfns[0]))) {
		at += got * sizeof(pfns[0]);
		for (size_t i = 0; i < got; i++) {
			uint64_t pfn = le32toh(pfns[i]);

			if (n && pfn == start + n) {
				n++;
				continue;
			}
			if (n)
				inflate_run(b, start, n);
			start = pfn;
			n = 1;
		}
	}
	if (n)
		inflate_run(b, start, n);
}

/* 5.5.6.7: the pieces of a report are the free pages themselves. With a poison value they would have to read as
 * that; discarded ones read as zero. */
static void report(struct virtio_balloon *b, const struct virtq_chain *c)
{
	const struct iovec *p = c->iov + c->readable;

	if (virtio_has(&b->dev, VIRTIO_BALLOON_F_PAGE_POISON) && b->config.poison_val)
		return;
	for (int i = 0; i < c->writable; i++)
		if (!memory_discard(b->mem, p[i].iov_base, p[i].iov_len))
			b->figures.reported += p[i].iov_len;
}

static void take_pages(struct virtio_balloon *b, unsigned queue)
{
	struct virtq *q = &b->queues[queue];
	int turn = VIRTIO_TURN;

	while (turn && virtq_pop(q, &b->chain) > 0) {
		turn--;
		/* Memory may be in a buffer many times: the work for one shall end. */
		if (b->chain.readable_len / sizeof(uint32_t) > b->mem->size >> PFN_SHIFT) {
			q->broken = "more page numbers than there are pages";
			return;
		}
		if (queue == QUEUE_INFLATE)
			inflate(b, &b->chain);
		else if (queue == QUEUE_DEFLATE)
			b->figures.deflated += b->chain.readable_len / 4 << PFN_SHIFT;
		else
			report(b, &b->chain);
		virtq_push(q, &b->chain, 0);
	}
	virtio_device_signal(&b->dev, q);
	if (!turn)
		virtio_device_again(&b->dev);
}

/* ---- statistics ---- */

/* 5.5.6.3: entries in any order; unknown tags are ignored. */
static void take_stats(struct virtio_balloon *b)
{
	struct virtq *q = &b->queues[stats_queue(b)];
	uint8_t entry[VIRTIO_BALLOON_STAT_BYTES];
	int turn = VIRTIO_TURN;

	/* 5.5.6.3.1: the driver has at most one buffer here; a second is given back unread. */
	while (turn && virtq_pop(q, &b->chain) > 0) {
		turn--;
		if (b->stats_held)
			virtq_push(q, &b->stats, 0);
		b->stats = b->chain;
		b->stats_held = true;
		for (size_t at = 0;
		     virtq_gather(&b->stats, at, entry, sizeof(entry)) == sizeof(entry) &&
		     at < sizeof(entry) * 64;
		     at += sizeof(entry)) {
			uint16_t tag;
			uint64_t value;

			memcpy(&tag, entry, sizeof(tag));
			memcpy(&value, entry + sizeof(tag), sizeof(value));
			tag = le16toh(tag);
			if (tag >= VIRTIO_BALLOON_S_COUNT)
				continue;
			b->figures.stat[tag] = le64toh(value);
			b->figures.stats |= 1ull << tag;
		}
	}
	virtio_device_signal(&b->dev, q);
	if (!turn)
		virtio_device_again(&b->dev);
}

static void notify(struct virtio_device *d, unsigned queue)
{
	struct virtio_balloon *b = balloon_of(d);

	if (queue == stats_queue(b))
		take_stats(b);
	else if (queue <= QUEUE_DEFLATE || queue == reporting_queue(b))
		take_pages(b, queue);
}

static void reset(struct virtio_device *d)
{
	struct virtio_balloon *b = balloon_of(d);

	b->stats_held = false;
	b->figures.stats = 0;
	b->config.actual = b->config.poison_val = 0;
}

static void free_balloon(struct virtio_device *d)
{
	free(balloon_of(d));
}

static const struct virtio_ops ops = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
	.config_read = config_read,
	.config_write = config_write,
	.notify = notify,
	.reset = reset,
	.free = free_balloon,
};

struct virtio_device *virtio_balloon_new(struct memory *mem)
{
	struct virtio_balloon *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	virtio_device_init(&b->dev, &ops, mem, b->queues, QUEUES, QUEUE_SIZE,
			   1ull << VIRTIO_BALLOON_F_STATS_VQ |
				   1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
				   1ull << VIRTIO_BALLOON_F_PAGE_POISON |
				   1ull << VIRTIO_BALLOON_F_PAGE_REPORTING,
			   sizeof(b->config));
	b->mem = mem;
	return &b->dev;
}

void virtio_balloon_set(struct virtio_device *d, uint64_t bytes)
{
	struct virtio_balloon *b = balloon_of(d);

	pthread_mutex_lock(&d->lock);
	b->config.num_pages = htole32((uint32_t)(MIN(bytes, b->mem->size) >> PFN_SHIFT));
	virtio_device_config_changed(d);
	pthread_mutex_unlock(&d->lock);
}

void virtio_balloon_figures(struct virtio_device *d, struct virtio_balloon_figures *f)
{
	struct virtio_balloon *b = balloon_of(d);

	pthread_mutex_lock(&d->lock);
	b->figures.target = (uint64_t)le32toh(b->config.num_pages) << PFN_SHIFT;
	b->figures.actual = (uint64_t)le32toh(b->config.actual) << PFN_SHIFT;
	*f = b->figures;
	if (b->stats_held && d->status & VIRTIO_STATUS_DRIVER_OK) {
		struct virtq *q = &b->queues[stats_queue(b)];

		b->stats_held = false;
		virtq_push(q, &b->stats, 0);
		virtio_device_signal(d, q);
	}
	pthread_mutex_unlock(&d->lock);
}
