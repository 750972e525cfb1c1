/*
 * Disks: what the guest's xen-blkfront may ask.
 *
 * Tour stop 16: sharing pages with a driver. Requests come in a ring of 32 slots in a page that the guest granted;
 * each names up to eleven segments by grant reference, or, indirectly, up to BLKRING_SEGMENTS_MAX in granted pages
 * of segments. The segments become one vector into guest memory, which the disk reads or writes in place.
 * Persistent grants need nothing more here: a reference is looked up each time, which is one load.
 *
 * Trust: everything in the ring. A slot is copied once, judged, used; counts and sectors are bounded, each grant
 * goes through `page`, the range on the disk is checked by storage/. A request that breaks a rule gets an error
 * for an answer; indices more than a ring apart end the service. Pure but for the disk: no system call here.
 * Threads: one at a time. #syscalls: none
 */
#include "pv/blkring.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/util.h"

#define SECTORS_PER_PAGE 8u
#define PAGE_BYTES	 4096u
#define BATCH		 8u /* answers that wait for each other at most: an event costs the guest an exit */

/* Turns segments into a vector. The number of entries, or -errno. */
static int vector(struct blkring *b, unsigned segments, bool into_guest)
{
	int n = 0;

	for (unsigned i = 0; i < segments; i++) {
		const struct xen_blk_segment *s = &b->seg[i];

		if (s->first > s->last || s->last >= SECTORS_PER_PAGE)
			return -EINVAL;
		uint8_t *page = b->page(b->arg, s->gref, into_guest);

		if (!page)
			return -EACCES;
		uint8_t *start = page + s->first * BLOCK_SECTOR;
		size_t len = (s->last - s->first + 1u) * BLOCK_SECTOR;

		if (n && (uint8_t *)b->iov[n - 1].iov_base + b->iov[n - 1].iov_len == start)
			b->iov[n - 1].iov_len += len;
		else
			b->iov[n++] = (struct iovec){ start, len };
	}
	return n;
}

static int transfer(struct blkring *b, unsigned op, uint64_t sector, unsigned segments)
{
	if (op != XEN_BLK_READ && op != XEN_BLK_WRITE)
		return -EINVAL;
	if (sector > b->block->size / BLOCK_SECTOR)
		return -EINVAL;
	int n = vector(b, segments, op == XEN_BLK_READ);

	if (n <= 0)
		return n < 0 ? n : -EINVAL;
	return op == XEN_BLK_READ ? block_readv(b->block, sector * BLOCK_SECTOR, b->iov, n)
				  : block_writev(b->block, sector * BLOCK_SECTOR, b->iov, n);
}

static int indirect(struct blkring *b, const struct xen_blk_indirect *q)
{
	unsigned left = q->segments, done = 0;

	if (!left || left > BLKRING_SEGMENTS_MAX)
		return -EINVAL;
	for (unsigned page = 0; left; page++) {
		unsigned n = MIN(left, XEN_BLK_SEGMENTS_PER_PAGE);
		const void *from = b->page(b->arg, q->gref[page], false);

		if (!from)
			return -EACCES;
		memcpy(b->seg + done, from, n * sizeof(b->seg[0]));
		done += n;
		left -= n;
	}
	return transfer(b, q->indirect_op, q->sector, q->segments);
}

static int discard(struct blkring *b, const struct xen_blk_discard *q)
{
	uint64_t sectors = b->block->size / BLOCK_SECTOR;

	if (q->sector > sectors || q->sectors > sectors - q->sector)
		return -EINVAL;
	return block_discard(b->block, q->sector * BLOCK_SECTOR, q->sectors * BLOCK_SECTOR);
}

/* One request, already copied out of the ring. Its status. */
static int16_t perform(struct blkring *b, const union xen_blk_slot *q)
{
	int r;

	switch (q->rw.op) {
	case XEN_BLK_READ:
	case XEN_BLK_WRITE:
		if (!q->rw.segments || q->rw.segments > XEN_BLK_SEGMENTS)
			return XEN_BLK_ERROR;
		memcpy(b->seg, q->rw.seg, q->rw.segments * sizeof(b->seg[0]));
		r = transfer(b, q->rw.op, q->rw.sector, q->rw.segments);
		break;
	case XEN_BLK_INDIRECT:
		r = indirect(b, &q->indirect);
		break;
	case XEN_BLK_FLUSH:
		r = block_flush(b->block);
		if (!r && q->rw.segments && q->rw.segments <= XEN_BLK_SEGMENTS) {
			memcpy(b->seg, q->rw.seg, q->rw.segments * sizeof(b->seg[0]));
			r = transfer(b, XEN_BLK_WRITE, q->rw.sector, q->rw.segments);
		}
		break;
	case XEN_BLK_DISCARD:
		r = discard(b, &q->discard);
		break;
	default:
		return XEN_BLK_NOT_SUPPORTED;
	}
	return r == 0 ? XEN_BLK_OKAY : r == -EOPNOTSUPP ? XEN_BLK_NOT_SUPPORTED : XEN_BLK_ERROR;
}

static void answer(struct blkring *b, uint64_t id, uint8_t op, int16_t status)
{
	const struct xen_blk_response rsp = { .id = id, .op = op, .status = status };

	b->slots[b->rsp_prod++ % BLKRING_SLOTS].response = rsp;
}

/* Shows the answers since the last time, and says so if the guest asked to hear of one of them. */
static void publish(struct blkring *b)
{
	uint32_t fresh = b->rsp_prod - b->rsp_shown;

	if (!fresh)
		return;
	b->rsp_shown = b->rsp_prod;
	__atomic_store_n(&b->head->rsp_prod, b->rsp_prod, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (b->rsp_prod - __atomic_load_n(&b->head->rsp_event, __ATOMIC_RELAXED) < fresh)
		b->notify(b->arg);
}

bool blkring_drain(struct blkring *b, const _Atomic bool *stop)
{
	for (;;) {
		uint32_t prod = __atomic_load_n(&b->head->req_prod, __ATOMIC_ACQUIRE);

		if (prod - b->req_cons > BLKRING_SLOTS)
			return false;
		if (prod == b->req_cons || b->rsp_prod - b->rsp_shown >= BATCH)
			publish(b);
		if (prod == b->req_cons) {
			/* Ask for a notification, then look once more. */
			__atomic_store_n(&b->head->req_event, b->req_cons + 1, __ATOMIC_SEQ_CST);
			if (__atomic_load_n(&b->head->req_prod, __ATOMIC_SEQ_CST) == b->req_cons)
				return true;
			continue;
		}
		union xen_blk_slot q = b->slots[b->req_cons++ % BLKRING_SLOTS];
		uint8_t op = q.rw.op == XEN_BLK_INDIRECT ? q.indirect.indirect_op : q.rw.op;

		int16_t status = perform(b, &q);

		b->requests++;
		b->refused += status != XEN_BLK_OKAY;
		answer(b, q.rw.id, op, status);
		if (atomic_load_explicit(stop, memory_order_acquire)) {
			publish(b);
			return true;
		}
	}
}

void blkring_start(struct blkring *b, void *page)
{
	b->head = page;
	b->slots = (union xen_blk_slot *)(void *)((uint8_t *)page + sizeof(struct xen_ring_head));
	b->req_cons = b->rsp_prod = b->rsp_shown = 0;
}

_Static_assert(sizeof(struct xen_ring_head) + BLKRING_SLOTS * sizeof(union xen_blk_slot) <=
		       PAGE_BYTES,
	       "the ring fits a page");
