/*
 * io_uring without a library.
 *
 * The ring is born disabled, gets its one file, its eventfd and its restrictions, and is enabled: whoever takes the
 * process over later finds a ring that can do to one file what the process could do anyway.
 *
 * Trust: the kernel writes the completion queue. Threads: one at a time.
 * #syscalls(disk,block): io_uring_enter
 * #syscalls(start): io_uring_setup io_uring_register mmap munmap close
 */
#include "os/uring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"

enum { OPS_MAX = 8 };

static int enroll(int fd, unsigned what, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, fd, what, arg, n) < 0 ? -errno : 0;
}

static int restrict_to(int fd, const uint8_t *ops, size_t n)
{
	struct io_uring_restriction r[OPS_MAX + 2] = { 0 };

	for (size_t i = 0; i < n; i++)
		r[i] = (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_SQE_OP,
						      .sqe_op = ops[i] };
	r[n] = (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
					      .sqe_flags = IOSQE_FIXED_FILE };
	r[n + 1] = (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_REGISTER_OP,
						  .register_op = IORING_REGISTER_ENABLE_RINGS };
	return enroll(fd, IORING_REGISTER_RESTRICTIONS, r, (unsigned)n + 2);
}

static int map_rings(struct uring *u, const struct io_uring_params *p)
{
	const size_t sq = p->sq_off.array + p->sq_entries * sizeof(unsigned);
	const size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	const size_t sqes = p->sq_entries * sizeof(struct io_uring_sqe);

	u->rings_size = MAX(sq, cq);
	uint8_t *ring = mmap(NULL, u->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			     u->fd, IORING_OFF_SQ_RING);

	if (ring == MAP_FAILED)
		return -errno;
	u->rings = ring;
	u->sqes = mmap(NULL, sqes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd,
		       IORING_OFF_SQES);
	if (u->sqes == MAP_FAILED) {
		u->sqes = NULL;
		return -errno;
	}
	u->entries = p->sq_entries;
	u->sq_head = (unsigned *)(void *)(ring + p->sq_off.head);
	u->sq_tail = (unsigned *)(void *)(ring + p->sq_off.tail);
	u->cq_head = (unsigned *)(void *)(ring + p->cq_off.head);
	u->cq_tail = (unsigned *)(void *)(ring + p->cq_off.tail);
	u->cq_flags = (unsigned *)(void *)(ring + p->cq_off.flags);
	u->sq_mask = p->sq_entries - 1;
	u->cq_mask = p->cq_entries - 1;
	u->cqes = (struct io_uring_cqe *)(void *)(ring + p->cq_off.cqes);
	unsigned *array = (unsigned *)(void *)(ring + p->sq_off.array);

	for (unsigned i = 0; i < p->sq_entries; i++)
		array[i] = i;
	return 0;
}

int uring_init(struct uring *u, unsigned entries, int file, int eventfd, const uint8_t *ops,
	       size_t n)
{
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED };

	*u = (struct uring){ .fd = -1 };
	if (n > OPS_MAX)
		return -EINVAL;
	u->fd = (int)syscall(SYS_io_uring_setup, entries, &p);
	if (u->fd < 0) {
		u->fd = -1;
		return -errno;
	}
	/* 5.4 and later map both queues at once. */
	int r = p.features & IORING_FEAT_SINGLE_MMAP ? map_rings(u, &p) : -ENOSYS;

	if (!r)
		r = enroll(u->fd, IORING_REGISTER_FILES, &file, 1);
	if (!r)
		r = enroll(u->fd, IORING_REGISTER_EVENTFD, &eventfd, 1);
	if (!r)
		r = restrict_to(u->fd, ops, n);
	if (!r)
		r = enroll(u->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (r)
		uring_fini(u);
	return r;
}

void uring_fini(struct uring *u)
{
	if (u->sqes)
		munmap(u->sqes, u->entries * sizeof(*u->sqes));
	if (u->rings)
		munmap(u->rings, u->rings_size);
	close_fd(&u->fd);
	*u = (struct uring){ .fd = -1 };
}

struct io_uring_sqe *uring_next(struct uring *u)
{
	/* `sq_tail` is ours; the kernel moves the head as it takes entries. */
	unsigned tail = *u->sq_tail + u->queued;

	if (u->under_way > u->cq_mask ||
	    tail - __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE) >= u->entries)
		return NULL;
	struct io_uring_sqe *sqe = &u->sqes[tail & u->sq_mask];

	memset(sqe, 0, sizeof(*sqe));
	u->queued++;
	u->under_way++;
	return sqe;
}

bool uring_pending(const struct uring *u)
{
	return u->queued || *u->sq_tail != __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE);
}

static int submit(struct uring *u)
{
	for (;;) {
		/* What an interrupted call left is submitted by the next. */
		unsigned n = *u->sq_tail - __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE);

		if (!n)
			return 0;
		if (syscall(SYS_io_uring_enter, u->fd, n, 0, 0, NULL, 0) < 0 && errno != EINTR)
			return errno == EAGAIN ? -EBUSY : -errno;
	}
}

int uring_enter(struct uring *u)
{
	__atomic_store_n(u->sq_tail, *u->sq_tail + u->queued, __ATOMIC_RELEASE);
	u->queued = 0;
	__atomic_store_n(u->cq_flags, IORING_CQ_EVENTFD_DISABLED, __ATOMIC_RELAXED);
	int r = submit(u);

	/* The kernel adds a completion, then looks at the flag; we do it the other way round. */
	__atomic_store_n(u->cq_flags, 0, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return r;
}

bool uring_take(struct uring *u, uint64_t *user_data, int *result)
{
	unsigned head = *u->cq_head;

	if (head == __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	const struct io_uring_cqe *cqe = &u->cqes[head & u->cq_mask];

	*user_data = cqe->user_data;
	*result = cqe->res;
	__atomic_store_n(u->cq_head, head + 1, __ATOMIC_RELEASE);
	u->under_way--;
	return true;
}
