/* The block protocol's ring: requests of a hostile driver against a disk. No thread and no event of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "storage/block.h"
#include "wire/xen.h"

#define BLKRING_SLOTS	     32u
#define BLKRING_SEGMENTS_MAX 256u /* of an indirect request */

struct blkring {
	struct block *block;
	/* The page behind a grant reference, NULL when it may not be used so. */
	void *(*page)(void *arg, uint32_t ref, bool write);
	/* The guest wants to hear of answers. */
	void (*notify)(void *arg);
	void *arg;
	struct xen_ring_head *head; /* in guest memory */
	union xen_blk_slot *slots;
	uint32_t req_cons, rsp_prod, rsp_shown; /* ours; those in `head` are never read back */
	uint64_t requests, segments, refused;
	struct iovec iov[BLKRING_SEGMENTS_MAX];
	struct xen_blk_segment seg[BLKRING_SEGMENTS_MAX];
};

/* Begins with the ring in `page`, a whole page of guest memory. */
void blkring_start(struct blkring *b, void *page);

/* Serves requests until there is none, then asks to be notified. False: the ring's indices make no sense and it
 * must not be served again. `stop`, when it becomes true, ends it early. */
bool blkring_drain(struct blkring *b, const _Atomic bool *stop);
