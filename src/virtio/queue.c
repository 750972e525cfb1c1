/*
 * Virtqueues, device side.
 *
 * A driver puts buffers into a ring in its own memory; the device takes them, uses them, gives them back. The
 * split ring (2.7) has a table of descriptors and one ring for each direction; the packed ring (2.8) is one
 * array in which both sides take turns, told apart by wrap counters. Both may refer to a further table by one
 * indirect descriptor. Devices see neither: virtq_pop hands them a list of host addresses.
 *
 * Trust: everything in the ring is written by the guest, perhaps while we look. Each descriptor is copied
 * once, the copy is judged, and its range goes through the door of guest memory. A chain is bounded by the
 * ring's size (a loop ends there) and by VIRTQ_IOV_MAX. A rule broken kills the queue, not the VMM: `broken`
 * says why and the device raises DEVICE_NEEDS_RESET.
 *
 * Threads: one at a time a queue. Ordering against the guest's processors is by the atomics below: acquire
 * when taking what the driver published, release when publishing, a full fence between publishing and
 * looking whether the other side wants to be told. #syscalls: none
 */
#include "virtio/queue.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/util.h"

/* The guest's memory is not ours to declare _Atomic. */
static uint16_t load16(const void *p, int order)
{
	uint16_t v;

	if (order == __ATOMIC_ACQUIRE)
		v = __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
	else
		v = __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
	return le16toh(v);
}

static void store16(void *p, uint16_t v, int order)
{
	if (order == __ATOMIC_RELEASE)
		__atomic_store_n((uint16_t *)p, htole16(v), __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint16_t *)p, htole16(v), __ATOMIC_RELAXED);
}

/* Parts of the split ring: flags, idx, ring[size], event. */
static void *avail_flags(const struct virtq *q)
{
	return q->driver;
}

static void *avail_idx(const struct virtq *q)
{
	return (uint8_t *)q->driver + 2;
}

static void *avail_entry(const struct virtq *q, uint16_t i)
{
	return (uint8_t *)q->driver + 4 + 2 * (i & (q->layout.size - 1));
}

/* 2.7.7: the driver says up to which used entry it needs no interrupt. */
static void *used_event(const struct virtq *q)
{
	return (uint8_t *)q->driver + 4 + 2 * q->layout.size;
}

static void *used_flags(const struct virtq *q)
{
	return q->device;
}

static void *used_idx(const struct virtq *q)
{
	return (uint8_t *)q->device + 2;
}

static struct virtq_used_elem *used_entry(const struct virtq *q, uint16_t i)
{
	return (void *)((uint8_t *)q->device + 4 + 8 * (i & (q->layout.size - 1)));
}

/* 2.7.10: the device says up to which available entry it needs no notification. */
static void *avail_event(const struct virtq *q)
{
	return (uint8_t *)q->device + 4 + 8 * q->layout.size;
}

static struct virtq_packed_desc *packed_entry(const struct virtq *q, uint16_t i)
{
	return (struct virtq_packed_desc *)q->desc + i;
}

void virtq_init(struct virtq *q, const struct memory *mem, uint16_t max)
{
	*q = (struct virtq){ .mem = mem, .max = max };
}

void virtq_reset(struct virtq *q)
{
	virtq_init(q, q->mem, q->max);
}

static int give_up(struct virtq *q, const char *why)
{
	if (!q->broken)
		q->broken = why;
	return -EPROTO;
}

int virtq_start(struct virtq *q, uint64_t features)
{
	const struct virtq_layout *l = &q->layout;

	q->packed = features >> VIRTIO_F_RING_PACKED & 1;
	q->event_idx = features >> VIRTIO_F_EVENT_IDX & 1;
	q->indirect = features >> VIRTIO_F_INDIRECT_DESC & 1;
	/* 2.7: a power of two; 2.8.10.1: any size for packed rings */
	if (!l->size || l->size > q->max || (!q->packed && (l->size & (l->size - 1)))) {
		give_up(q, "queue size is not one that was offered");
		return -EINVAL;
	}
	/* 2.7 and 2.8.10.1 for the alignments */
	if (l->desc % 16 || l->driver % (q->packed ? 4 : 2) || l->device % 4) {
		give_up(q, "ring is not aligned");
		return -EINVAL;
	}
	uint64_t driver_len = q->packed ? 4 : 6 + 2 * (uint64_t)l->size;
	uint64_t device_len = q->packed ? 4 : 6 + 8 * (uint64_t)l->size;

	q->desc = memory_at(q->mem, GPA(l->desc), 16 * (uint64_t)l->size);
	q->driver = memory_at(q->mem, GPA(l->driver), driver_len);
	q->device = memory_at(q->mem, GPA(l->device), device_len);
	if (!q->desc || !q->driver || !q->device) {
		give_up(q, "ring is outside memory");
		return -EINVAL;
	}
	q->next_avail = q->next_used = q->unsignalled = 0;
	q->avail_wrap = q->used_wrap = true; /* 2.8.1 */
	q->quiet = false;
	q->broken = NULL;
	q->ready = true;
	return 0;
}

/* Adds one descriptor's range. 2.7.4.2: readable pieces come before writable ones. */
static int add_piece(struct virtq *q, struct virtq_chain *c, uint64_t addr, uint32_t len,
		     bool write)
{
	if (!len)
		return 0;
	if (!write && c->writable)
		return give_up(q, "a readable descriptor after a writable one");
	if (c->readable + c->writable == VIRTQ_IOV_MAX)
		return give_up(q, "a buffer of too many pieces");
	void *p = memory_at(q->mem, GPA(addr), len);

	if (!p)
		return give_up(q, "a descriptor points outside memory");
	c->iov[c->readable + c->writable] = (struct iovec){ p, len };
	if (write) {
		c->writable++;
		c->writable_len += len;
	} else {
		c->readable++;
		c->readable_len += len;
	}
	return 0;
}

/* The table of an indirect descriptor: its entries and their number (2.7.5.3.1, 2.8.7). */
static const void *indirect_table(struct virtq *q, uint64_t addr, uint32_t len, uint16_t flags,
				  uint32_t *n)
{
	const char *why = NULL;

	if (!q->indirect)
		why = "an indirect descriptor that was not negotiated";
	else if (flags & VIRTQ_DESC_F_NEXT)
		why = "an indirect descriptor with a next one";
	else if (!len || len % 16 || len / 16 > VIRTQ_SIZE_MAX)
		why = "an indirect table of a wrong size";
	const void *table = why ? NULL : memory_at(q->mem, GPA(addr), len);

	if (!table) {
		give_up(q, why ? why : "an indirect table outside memory");
		return NULL;
	}
	*n = len / 16;
	return table;
}

static struct virtq_desc copy_desc(const void *table, uint32_t i)
{
	struct virtq_desc d;

	memcpy(&d, (const uint8_t *)table + 16 * (size_t)i, sizeof(d));
	/* The copy is the one that is judged and used. */
	atomic_signal_fence(memory_order_seq_cst);
	return (struct virtq_desc){ le64toh(d.addr), le32toh(d.len), le16toh(d.flags),
				    le16toh(d.next) };
}

/* Follows `next` through one table, at most as many steps as it has entries. */
static int walk_split(struct virtq *q, struct virtq_chain *c, const void *table, uint32_t n,
		      uint16_t head, bool is_indirect)
{
	uint32_t i = head;

	for (uint32_t steps = 0; steps < n; steps++) {
		if (i >= n)
			return give_up(q, "a descriptor number outside the table");
		struct virtq_desc d = copy_desc(table, i);
		int r;

		if (d.flags & VIRTQ_DESC_F_INDIRECT) {
			uint32_t m;

			if (is_indirect)
				return give_up(q, "an indirect table inside another");
			const void *inner = indirect_table(q, d.addr, d.len, d.flags, &m);

			return inner ? walk_split(q, c, inner, m, 0, true) : -EPROTO;
		}
		r = add_piece(q, c, d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE);
		if (r)
			return r;
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			return 0;
		i = d.next;
	}
	return give_up(q, "a descriptor chain that loops");
}

static int pop_split(struct virtq *q, struct virtq_chain *c)
{
	uint16_t idx = load16(avail_idx(q), __ATOMIC_ACQUIRE);

	if (idx == q->next_avail && q->event_idx && !q->quiet) {
		/* 2.7.10: what came while we asked to be notified of it was not */
		atomic_thread_fence(memory_order_seq_cst);
		idx = load16(avail_idx(q), __ATOMIC_ACQUIRE);
	}
	if (idx == q->next_avail)
		return 0;
	if ((uint16_t)(idx - q->next_avail) > q->layout.size)
		return give_up(q, "the available index ran away");
	c->id = load16(avail_entry(q, q->next_avail), __ATOMIC_RELAXED);
	c->slots = 1;
	int r = walk_split(q, c, q->desc, q->layout.size, c->id, false);

	if (r)
		return r;
	q->next_avail++;
	if (q->event_idx && !q->quiet)
		store16(avail_event(q), q->next_avail, __ATOMIC_RELAXED);
	return 1;
}

static bool packed_available(const struct virtq *q, uint16_t flags)
{
	bool avail = flags & VIRTQ_DESC_F_AVAIL, used = flags & VIRTQ_DESC_F_USED;

	return avail == q->avail_wrap && used != q->avail_wrap; /* 2.8.1 */
}

static int walk_packed_indirect(struct virtq *q, struct virtq_chain *c, const struct virtq_desc *d)
{
	uint32_t n;
	const void *table = indirect_table(q, d->addr, d->len, d->flags, &n);

	if (!table)
		return -EPROTO;
	/* 2.8.7: every entry counts, in order; of the flags only WRITE */
	for (uint32_t i = 0; i < n; i++) {
		struct virtq_packed_desc in;

		memcpy(&in, (const uint8_t *)table + 16 * (size_t)i, sizeof(in));
		atomic_signal_fence(memory_order_seq_cst);
		int r = add_piece(q, c, le64toh(in.addr), le32toh(in.len),
				  le16toh(in.flags) & VIRTQ_DESC_F_WRITE);

		if (r)
			return r;
	}
	return 0;
}

static int pop_packed(struct virtq *q, struct virtq_chain *c)
{
	uint16_t at = q->next_avail;
	uint16_t flags = load16(&packed_entry(q, at)->flags, __ATOMIC_ACQUIRE);

	if (!packed_available(q, flags))
		return 0;
	for (c->slots = 1;; c->slots++) {
		struct virtq_packed_desc in;

		memcpy(&in, packed_entry(q, at), sizeof(in));
		atomic_signal_fence(memory_order_seq_cst);
		struct virtq_desc d = { le64toh(in.addr), le32toh(in.len), flags, 0 };
		int r = flags & VIRTQ_DESC_F_INDIRECT
				? walk_packed_indirect(q, c, &d)
				: add_piece(q, c, d.addr, d.len, flags & VIRTQ_DESC_F_WRITE);

		if (r)
			return r;
		c->id = le16toh(in.id); /* 2.8.6: that of the last one counts */
		if (++at == q->layout.size)
			at = 0;
		if (!(flags & VIRTQ_DESC_F_NEXT))
			break;
		if (c->slots == q->layout.size)
			return give_up(q, "a descriptor chain that loops");
		flags = load16(&packed_entry(q, at)->flags, __ATOMIC_RELAXED);
		if (flags & VIRTQ_DESC_F_INDIRECT) /* 2.8.19 */
			return give_up(q, "an indirect descriptor inside a chain");
	}
	if (at <= q->next_avail)
		q->avail_wrap = !q->avail_wrap;
	q->next_avail = at;
	return 1;
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	if (!q->ready)
		return 0;
	if (q->broken)
		return -EPROTO;
	c->readable = c->writable = 0;
	c->readable_len = c->writable_len = 0;
	return q->packed ? pop_packed(q, c) : pop_split(q, c);
}

/* 2.8.22: the first entry's flags come last, since the driver stops at an entry that is not used. */
static void push_packed(struct virtq *q, const struct virtq_done *done, unsigned n)
{
	struct virtq_packed_desc *first = NULL;
	uint16_t first_flags = 0;

	for (unsigned i = 0; i < n; i++) {
		struct virtq_packed_desc *d = packed_entry(q, q->next_used);
		uint16_t flags = q->used_wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
		uint32_t len = htole32(done[i].written);
		uint16_t id = htole16(done[i].id);

		/* The driver made a smaller queue while the device had a chain of the old one. */
		if (done[i].slots > q->layout.size) {
			give_up(q, "a chain comes back that is longer than the queue");
			return;
		}
		memcpy(&d->len, &len, sizeof(len));
		memcpy(&d->id, &id, sizeof(id));
		if (i == 0) {
			first = d;
			first_flags = flags;
		} else {
			store16(&d->flags, flags, __ATOMIC_RELEASE);
		}
		q->next_used = (uint16_t)(q->next_used + done[i].slots);
		if (q->next_used >= q->layout.size) {
			q->next_used = (uint16_t)(q->next_used - q->layout.size);
			q->used_wrap = !q->used_wrap;
		}
		q->unsignalled = (uint16_t)(q->unsignalled + done[i].slots);
	}
	if (first)
		store16(&first->flags, first_flags, __ATOMIC_RELEASE);
}

void virtq_push_all(struct virtq *q, const struct virtq_done *done, unsigned n)
{
	if (!q->ready || q->broken)
		return;
	if (q->packed) {
		push_packed(q, done, n);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		struct virtq_used_elem elem = { htole32(done[i].id), htole32(done[i].written) };

		memcpy(used_entry(q, q->next_used), &elem, sizeof(elem));
		q->next_used++;
		q->unsignalled++;
	}
	store16(used_idx(q), q->next_used, __ATOMIC_RELEASE);
}

void virtq_push(struct virtq *q, const struct virtq_chain *c, uint32_t written)
{
	virtq_push_all(q, &(struct virtq_done){ c->id, c->slots, written }, 1);
}

/* 2.7.10.1: whether `event` lies in the `added` entries that end before `now`. All modulo 2^16. */
static bool passed(uint16_t event, uint16_t now, uint16_t added)
{
	return (uint16_t)(now - event - 1) < added;
}

static bool packed_wants_interrupt(const struct virtq *q, uint16_t added)
{
	const struct virtq_packed_event *ev = q->driver;
	uint16_t flags = load16(&ev->flags, __ATOMIC_RELAXED);

	if (flags != VIRTQ_EVENT_DESC || !q->event_idx)
		return flags != VIRTQ_EVENT_DISABLE;
	uint16_t off_wrap = load16(&ev->off_wrap, __ATOMIC_RELAXED);
	uint16_t event = off_wrap & 0x7fff;

	if ((off_wrap >> 15) != q->used_wrap)
		event = (uint16_t)(event - q->layout.size);
	return passed(event, q->next_used, added);
}

bool virtq_wants_interrupt(struct virtq *q)
{
	uint16_t added = q->unsignalled;

	if (!q->ready || q->broken || !added)
		return false;
	q->unsignalled = 0;
	atomic_thread_fence(memory_order_seq_cst);
	if (q->packed)
		return packed_wants_interrupt(q, added);
	if (q->event_idx)
		return passed(load16(used_event(q), __ATOMIC_RELAXED), q->next_used, added);
	return !(load16(avail_flags(q), __ATOMIC_RELAXED) & VIRTQ_AVAIL_F_NO_INTERRUPT);
}

void virtq_hush(struct virtq *q)
{
	if (!q->ready || q->broken || q->quiet)
		return;
	q->quiet = true;
	if (q->packed)
		store16(&((struct virtq_packed_event *)q->device)->flags, VIRTQ_EVENT_DISABLE,
			__ATOMIC_RELAXED);
	else if (!q->event_idx) /* with event indexes an old one is quiet enough */
		store16(used_flags(q), VIRTQ_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

bool virtq_listen(struct virtq *q)
{
	if (!q->ready || q->broken)
		return false;
	q->quiet = false;
	if (q->packed)
		store16(&((struct virtq_packed_event *)q->device)->flags, VIRTQ_EVENT_ENABLE,
			__ATOMIC_RELAXED);
	else if (q->event_idx)
		store16(avail_event(q), q->next_avail, __ATOMIC_RELAXED);
	else
		store16(used_flags(q), 0, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_seq_cst);
	if (q->packed)
		return packed_available(
			q, load16(&packed_entry(q, q->next_avail)->flags, __ATOMIC_ACQUIRE));
	return load16(avail_idx(q), __ATOMIC_ACQUIRE) != q->next_avail;
}

static size_t copy_pieces(const struct iovec *iov, int n, size_t offset, uint8_t *flat, size_t len,
			  bool to_flat)
{
	size_t done = 0;

	for (int i = 0; i < n && done < len; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		size_t part = MIN(iov[i].iov_len - offset, len - done);
		uint8_t *piece = (uint8_t *)iov[i].iov_base + offset;

		if (to_flat)
			memcpy(flat + done, piece, part);
		else
			memcpy(piece, flat + done, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t virtq_gather(const struct virtq_chain *c, size_t offset, void *to, size_t len)
{
	return copy_pieces(c->iov, c->readable, offset, to, len, true);
}

size_t virtq_scatter(const struct virtq_chain *c, size_t offset, const void *from, size_t len)
{
	/* The flat side is only read. */
	return copy_pieces(c->iov + c->readable, c->writable, offset, (uint8_t *)(uintptr_t)from,
			   len, false);
}

int virtq_slice(const struct iovec *from, int n, uint64_t skip, uint64_t len, struct iovec *to)
{
	int k = 0;

	for (int i = 0; i < n && len; i++) {
		if (skip >= from[i].iov_len) {
			skip -= from[i].iov_len;
			continue;
		}
		uint64_t part = MIN((uint64_t)from[i].iov_len - skip, len);

		to[k++] = (struct iovec){ (uint8_t *)from[i].iov_base + skip, part };
		len -= part;
		skip = 0;
	}
	return k;
}
