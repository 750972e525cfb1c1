/* io_uring by its system calls: one ring for one descriptor. */
#pragma once

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uring {
	int fd;	     /* -1: none */
	void *rings; /* both queues, in one mapping */
	size_t rings_size;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned *sq_head, *sq_tail, *cq_head, *cq_tail, *cq_flags;
	unsigned sq_mask, cq_mask, entries;
	unsigned queued;    /* since the last uring_enter */
	unsigned under_way; /* never more than the completion queue has room for */
};

/* `entries` is a power of two. `file` becomes the ring's only file, number 0; `eventfd` is signalled by requests that
 * complete after uring_enter returned: take the others at once. From here on the ring takes only the `ops` (IORING_OP_*), only for that file,
 * and no further registration. 0, or -errno where the kernel has no io_uring or does not allow it. */
int uring_init(struct uring *u, unsigned entries, int file, int eventfd, const uint8_t *ops,
	       size_t n);
void uring_fini(struct uring *u);

/* A cleared entry to fill, or NULL when one of the queues is full: then uring_enter, or uring_take, first. */
struct io_uring_sqe *uring_next(struct uring *u);
/* Hands what was filled to the kernel. 0 or -errno; -EBUSY when completions must be taken first. */
int uring_enter(struct uring *u);
/* Whether the kernel has not taken all yet. */
bool uring_pending(const struct uring *u);
/* Takes one completion: true. */
bool uring_take(struct uring *u, uint64_t *user_data, int *result);
