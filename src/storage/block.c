/*
 * The common part of all disks: every request is judged here (range, alignment, read-only) before a
 * back end sees it, so that neither a device nor a guest can make a back end touch what is outside
 * the disk.
 *
 * Synchronous back ends fill readv/writev/flush and complete inside block_submit. An asynchronous
 * one provides submit and reap and an eventfd that the owner's loop watches; the helpers below wait
 * on it.
 *
 * Trust: offsets and lengths come from guests. Threads: one at a time for each disk.
 * #syscalls(disk,start): poll
 */
#include "storage/block.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/util.h"

/* Writes of zeroes for back ends without a better way go out in pieces of this. */
#define ZERO_PIECE (64u << 10)

static int range_check(const struct block *b, uint64_t offset, uint64_t len)
{
	if (offset % BLOCK_SECTOR || len % BLOCK_SECTOR)
		return -EINVAL;
	if (offset > b->size || len > b->size - offset)
		return -EINVAL;
	return 0;
}

/* The bytes of an iovec; -EINVAL on overflow or more than what one request may carry. */
static int64_t iov_total(const struct iovec *iov, int n)
{
	uint64_t sum = 0;

	if (n < 0)
		return -EINVAL;
	for (int i = 0; i < n; i++) {
		if (__builtin_add_overflow(sum, iov[i].iov_len, &sum) || sum > INT32_MAX)
			return -EINVAL;
	}
	return (int64_t)sum;
}

static int zero_by_writes(struct block *b, uint64_t offset, uint64_t len)
{
	static const char zeroes[ZERO_PIECE];

	while (len) {
		size_t n = (size_t)MIN(len, (uint64_t)ZERO_PIECE);
		struct iovec iov = { (void *)(uintptr_t)zeroes, n };
		int r = b->ops->writev(b, offset, &iov, 1, n);

		if (r < 0)
			return r;
		offset += n;
		len -= n;
	}
	return 0;
}

static int io_zero(struct block *b, const struct block_io *io)
{
	int r = -EOPNOTSUPP;

	if (b->ops->zero)
		r = b->ops->zero(b, io->offset, io->len, io->unmap);
	return r == -EOPNOTSUPP ? zero_by_writes(b, io->offset, io->len) : r;
}

static int io_check(const struct block *b, struct block_io *io)
{
	if (io->op == BLOCK_FLUSH)
		return 0;
	if (io->op == BLOCK_READ || io->op == BLOCK_WRITE) {
		int64_t total = iov_total(io->iov, io->iov_n);

		if (total < 0)
			return (int)total;
		io->len = (uint64_t)total;
	}
	int r = range_check(b, io->offset, io->len);

	if (r < 0)
		return r;
	return b->read_only && io->op != BLOCK_READ ? -EROFS : 0;
}

static int io_run(struct block *b, const struct block_io *io)
{
	if (io->op != BLOCK_FLUSH && io->len == 0)
		return 0;
	switch (io->op) {
	case BLOCK_READ:
		return b->ops->readv(b, io->offset, io->iov, io->iov_n, (size_t)io->len);
	case BLOCK_WRITE:
		return b->ops->writev(b, io->offset, io->iov, io->iov_n, (size_t)io->len);
	case BLOCK_FLUSH:
		return b->read_only ? 0 : b->ops->flush(b);
	case BLOCK_DISCARD:
		return b->ops->discard ? b->ops->discard(b, io->offset, io->len) : 0;
	case BLOCK_ZERO:
		return io_zero(b, io);
	}
	return -EINVAL;
}

void block_submit(struct block *b, struct block_io *io)
{
	io->result = io_check(b, io);
	if (io->result == 0 && b->ops->submit && (io->len || io->op == BLOCK_FLUSH)) {
		b->ops->submit(b, io);
		return;
	}
	if (io->result == 0)
		io->result = io_run(b, io);
	io->done(io);
}

void block_kick(struct block *b)
{
	if (b->ops->kick)
		b->ops->kick(b);
}

void block_rush(struct block *b)
{
	if (b->ops->rush)
		b->ops->rush(b);
}

void block_reap(struct block *b)
{
	if (b->ops->reap)
		b->ops->reap(b);
}

struct waiter {
	struct block_io io;
	bool finished;
};

static void waiter_done(struct block_io *io)
{
	container_of(io, struct waiter, io)->finished = true;
}

static int io_wait(struct block *b, struct waiter *w)
{
	w->io.done = waiter_done;
	block_submit(b, &w->io);
	block_kick(b);
	while (!w->finished) {
		struct pollfd p = { .fd = b->event_fd, .events = POLLIN };

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
		block_reap(b);
	}
	return w->io.result;
}

int block_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
	struct waiter w = { .io = { .op = BLOCK_READ, .offset = offset, .iov = iov, .iov_n = n } };

	return io_wait(b, &w);
}

int block_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
	struct waiter w = { .io = { .op = BLOCK_WRITE, .offset = offset, .iov = iov, .iov_n = n } };

	return io_wait(b, &w);
}

int block_read(struct block *b, uint64_t offset, void *p, size_t len)
{
	struct iovec iov = { p, len };

	return block_readv(b, offset, &iov, 1);
}

int block_write(struct block *b, uint64_t offset, const void *p, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)p, len };

	return block_writev(b, offset, &iov, 1);
}

int block_flush(struct block *b)
{
	struct waiter w = { .io = { .op = BLOCK_FLUSH } };

	return io_wait(b, &w);
}

int block_discard(struct block *b, uint64_t offset, uint64_t len)
{
	struct waiter w = { .io = { .op = BLOCK_DISCARD, .offset = offset, .len = len } };

	return io_wait(b, &w);
}

int block_zero(struct block *b, uint64_t offset, uint64_t len, bool unmap)
{
	struct waiter w = {
		.io = { .op = BLOCK_ZERO, .offset = offset, .len = len, .unmap = unmap }
	};

	return io_wait(b, &w);
}

void block_free(struct block *b)
{
	if (b)
		b->ops->free(b);
}
