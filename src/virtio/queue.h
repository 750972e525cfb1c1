/* Virtqueues, device side: split and packed rings behind one interface (virtio 1.2, 2.6-2.8). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "machine/memory.h"
#include "wire/virtio.h"

enum {
	VIRTQ_MAX = 256,     /* the largest ring that Warren's devices offer */
	VIRTQ_IOV_MAX = 130, /* pieces of one buffer: 128 segments, a header and a status */
};

/* How the driver laid the ring out. Set by the transport while the queue is not ready. */
struct virtq_layout {
	uint16_t size;
	uint64_t desc, driver, device; /* guest-physical; 2.6: the three areas */
};

struct virtq {
	const struct memory *mem;
	uint16_t max; /* largest size offered; 0: no such queue */
	struct virtq_layout layout;
	bool ready;
	const char *broken; /* why the device gave up on the ring; NULL: it did not */

	bool packed, event_idx, indirect; /* negotiated */
	void *desc, *driver, *device;	  /* through the door, whole areas */

	uint16_t next_avail, next_used; /* split: free running; packed: slots */
	bool avail_wrap, used_wrap;	/* packed */
	uint16_t unsignalled;		/* used entries since the driver was last interrupted */
	bool quiet;			/* the driver was asked not to notify */
};

/* One buffer: the readable pieces, then the writable ones. */
struct virtq_chain {
	uint16_t id;	/* goes back with virtq_push */
	uint16_t slots; /* of the ring */
	int readable, writable;
	uint64_t readable_len, writable_len;
	struct iovec iov[VIRTQ_IOV_MAX];
};

static inline struct iovec *virtq_writable(struct virtq_chain *c)
{
	return c->iov + c->readable;
}

void virtq_init(struct virtq *q, const struct memory *mem, uint16_t max);
/* Back to the state after virtq_init. */
void virtq_reset(struct virtq *q);

/* Checks the layout (size a power of two for split rings, alignments, areas inside memory) and takes the
 * ring into use. `features` are the negotiated bits. 0, or -EINVAL with `broken` set. */
int virtq_start(struct virtq *q, uint64_t features);

/* Takes the next buffer: 1, or 0 when there is none. -EPROTO when the driver broke a rule: `broken` says
 * which, and the ring is dead until reset. The pieces stay valid as long as memory does; the guest may
 * change their content at any time. */
int virtq_pop(struct virtq *q, struct virtq_chain *c);

/* Gives a buffer back, `written` bytes of its writable part filled. Any order. */
void virtq_push(struct virtq *q, const struct virtq_chain *c, uint32_t written);

/* A buffer on its way back, remembered by less than its chain. */
struct virtq_done {
	uint16_t id, slots;
	uint32_t written;
};

/* Gives several buffers back at once, in this order: the driver sees all of them or none. */
void virtq_push_all(struct virtq *q, const struct virtq_done *done, unsigned n);

/* Whether the driver wants an interrupt for what was pushed since the last time it was asked. */
bool virtq_wants_interrupt(struct virtq *q);

/* Asks the driver not to notify, or to do so again. After asking for notifications the ring must be
 * looked at once more: true when something came in between. */
void virtq_hush(struct virtq *q);
bool virtq_listen(struct virtq *q);

/* Copies between the pieces and a flat buffer, from `offset` in the readable (writable) part. Returns the
 * bytes copied, fewer at the end. */
size_t virtq_gather(const struct virtq_chain *c, size_t offset, void *to, size_t len);
size_t virtq_scatter(const struct virtq_chain *c, size_t offset, const void *from, size_t len);
/* The bytes [skip, skip + len) of `n` pieces as pieces in `to`, which has room for `n`. Returns their number. */
int virtq_slice(const struct iovec *from, int n, uint64_t skip, uint64_t len, struct iovec *to);
