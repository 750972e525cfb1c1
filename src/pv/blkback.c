/*
 * Disks: the back end of the guest's xen-blkfront.
 *
 * Tour stop 16: sharing pages with a driver. Requests come in a ring of 32 slots in a page that the guest granted;
 * each names up to eleven segments by grant reference, or, indirectly, up to PV_BLK_INDIRECT_SEGMENTS in granted
 * pages of segments. The segments become one vector into guest memory, which the disk reads or writes in place.
 * Persistent grants need nothing more here: a reference is looked up each time, which is one load.
 *
 * Trust: everything in the ring. A slot is copied once, judged, used; counts and sectors are bounded, each grant
 * goes through pv_grant_page, the range on the disk is checked by storage/. A request that breaks a rule gets an
 * error for an answer; indices more than a ring apart cut the disk off.
 * Threads: one for each connected disk; connect and disconnect on the device loop's. #syscalls: ppoll read write
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "pv/domain.h"

#define SLOTS		 32u
#define SECTORS_PER_PAGE 8u

struct pv_blk {
	struct pv_domain *d;
	unsigned index;
	struct block *block;
	bool connected;
	_Atomic bool stop;
	pthread_t thread;
	struct pv_bell bell;
	struct xen_ring_head *head;
	union xen_blk_slot *slots;
	uint32_t req_cons, rsp_prod;
	struct iovec iov[PV_BLK_INDIRECT_SEGMENTS];
	struct xen_blk_segment seg[PV_BLK_INDIRECT_SEGMENTS];
};

/* Turns segments into a vector. The number of entries, or -errno. */
static int vector(struct pv_blk *b, unsigned segments, bool into_guest)
{
	int n = 0;

	for (unsigned i = 0; i < segments; i++) {
		const struct xen_blk_segment *s = &b->seg[i];

		if (s->first > s->last || s->last >= SECTORS_PER_PAGE)
			return -EINVAL;
		uint8_t *page = pv_grant_page(b->d, s->gref, into_guest);

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

static int transfer(struct pv_blk *b, unsigned op, uint64_t sector, unsigned segments)
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

static int indirect(struct pv_blk *b, const struct xen_blk_indirect *q)
{
	unsigned left = q->segments, done = 0;

	if (!left || left > PV_BLK_INDIRECT_SEGMENTS)
		return -EINVAL;
	for (unsigned page = 0; left; page++) {
		unsigned n = MIN(left, XEN_BLK_SEGMENTS_PER_PAGE);
		const void *from = pv_grant_page(b->d, q->gref[page], false);

		if (!from)
			return -EACCES;
		memcpy(b->seg + done, from, n * sizeof(b->seg[0]));
		done += n;
		left -= n;
	}
	return transfer(b, q->indirect_op, q->sector, q->segments);
}

static int discard(struct pv_blk *b, const struct xen_blk_discard *q)
{
	uint64_t sectors = b->block->size / BLOCK_SECTOR;

	if (q->sector > sectors || q->sectors > sectors - q->sector)
		return -EINVAL;
	return block_discard(b->block, q->sector * BLOCK_SECTOR, q->sectors * BLOCK_SECTOR);
}

/* One request, already copied out of the ring. Its status. */
static int16_t perform(struct pv_blk *b, const union xen_blk_slot *q)
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

static void answer(struct pv_blk *b, uint64_t id, uint8_t op, int16_t status)
{
	struct xen_blk_response rsp = { .id = id, .op = op, .status = status };
	uint32_t old = b->rsp_prod++;

	b->slots[old % SLOTS].response = rsp;
	__atomic_store_n(&b->head->rsp_prod, b->rsp_prod, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (b->rsp_prod - __atomic_load_n(&b->head->rsp_event, __ATOMIC_RELAXED) <
	    b->rsp_prod - old)
		pv_event_raise(b->d, b->bell.port);
}

/* Until the ring is empty. False when it is broken. */
static bool drain(struct pv_blk *b)
{
	for (;;) {
		uint32_t prod = __atomic_load_n(&b->head->req_prod, __ATOMIC_ACQUIRE);

		if (prod - b->req_cons > SLOTS) {
			pv_complain(b->d,
				    "disk %s was cut off: its ring's indices are too far apart",
				    b->d->config.disk[b->index].name);
			return false;
		}
		if (prod == b->req_cons) {
			/* Ask for a notification, then look once more. */
			__atomic_store_n(&b->head->req_event, b->req_cons + 1, __ATOMIC_SEQ_CST);
			if (__atomic_load_n(&b->head->req_prod, __ATOMIC_SEQ_CST) == b->req_cons)
				return true;
			continue;
		}
		union xen_blk_slot q = b->slots[b->req_cons++ % SLOTS];
		uint8_t op = q.rw.op == XEN_BLK_INDIRECT ? q.indirect.indirect_op : q.rw.op;

		answer(b, q.rw.id, op, perform(b, &q));
		if (atomic_load_explicit(&b->stop, memory_order_acquire))
			return true;
	}
}

static void *thread(void *arg)
{
	struct pv_blk *b = arg;
	struct pollfd p = { .fd = b->bell.fd, .events = POLLIN };
	sigset_t all;
	uint64_t n;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (!atomic_load_explicit(&b->stop, memory_order_acquire)) {
		if (!drain(b))
			break;
		if (ppoll(&p, 1, NULL, NULL) < 0 && errno != EINTR)
			break;
		if (read(b->bell.fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
			break;
	}
	return NULL;
}

int pv_blk_connect(struct pv_blk *b, uint32_t ring_ref, uint32_t port)
{
	uint8_t *page = pv_grant_page(b->d, ring_ref, true);
	const char *name = b->d->config.disk[b->index].name;

	if (b->connected)
		return 0;
	if (!page || !port) {
		pv_complain(b->d, "disk %s: its ring is not granted", name);
		return -EINVAL;
	}
	b->head = (struct xen_ring_head *)(void *)page;
	b->slots = (union xen_blk_slot *)(void *)(page + sizeof(struct xen_ring_head));
	b->req_cons = b->rsp_prod = 0;
	pv_bell_open(b->d, &b->bell, port);
	if (b->bell.index < 0) {
		pv_bell_close(b->d, &b->bell);
		pv_complain(b->d, "disk %s: no doorbell left", name);
		return -ENOSPC;
	}
	atomic_store_explicit(&b->stop, false, memory_order_release);
	int r = pthread_create(&b->thread, NULL, thread, b);

	if (r) {
		pv_bell_close(b->d, &b->bell);
		return -r;
	}
	b->connected = true;
	return 0;
}

void pv_blk_disconnect(struct pv_blk *b)
{
	uint64_t one = 1;

	if (!b->connected)
		return;
	atomic_store_explicit(&b->stop, true, memory_order_release);
	if (write(b->bell.fd, &one, sizeof(one)) < 0) {
		/* Full: it is readable already. */
	}
	pthread_join(b->thread, NULL);
	pv_bell_close(b->d, &b->bell);
	b->connected = false;
}

int pv_blk_new(struct pv_domain *d, unsigned index, struct err *e)
{
	struct pv_blk *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(e, -ENOMEM, "disk %s: out of memory", d->config.disk[index].name);
	b->d = d;
	b->index = index;
	b->block = d->config.disk[index].block;
	b->bell = (struct pv_bell){ .index = -1, .fd = -1 };
	d->blk[index] = b;
	return 0;
}

void pv_blk_free(struct pv_blk *b)
{
	if (!b)
		return;
	pv_blk_disconnect(b);
	free(b);
}
