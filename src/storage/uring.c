/*
 * Raw disks over io_uring: the requests of a batch are handed to the kernel by one system call and run side by side;
 * those that the page cache answers are complete when it returns.
 *
 * A transfer that the kernel cuts short is continued, as preadv would be; what lies beyond the end of the file reads as
 * zeroes. Discards and zeroes are fallocate; on block devices, which have ioctls for that, they are done at once by the
 * synchronous back end, which also steps in where there is no io_uring at all.
 *
 * Trust: offsets were judged in block.c. Threads: one at a time.
 * #syscalls(disk,block): read
 * #syscalls(start): eventfd2 fstat close
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/uring.h"
#include "storage/block.h"
#include "storage/iov_int.h"

enum { ENTRIES = 64 };

struct ring_disk {
	struct block base;
	struct block *raw; /* owns the file */
	struct uring ring;
	bool is_device;
	bool busy;	       /* completions are being taken */
	struct block_io *wait; /* found no room: first */
	struct block_io **wait_end;
};

static struct ring_disk *disk_of(struct block *b)
{
	return container_of(b, struct ring_disk, base);
}

static void fill_transfer(struct io_uring_sqe *sqe, struct block_io *io)
{
	sqe->opcode = io->op == BLOCK_READ ? IORING_OP_READV : IORING_OP_WRITEV;
	sqe->off = io->offset + io->moved;
	if (!io->moved) {
		sqe->addr = (uintptr_t)io->iov;
		sqe->len = (uint32_t)io->iov_n;
		return;
	}
	/* Cut short: the rest of the piece that it stopped in, then one piece at a time. */
	uint64_t skip = io->moved;
	int i = 0;

	while (skip >= io->iov[i].iov_len)
		skip -= io->iov[i++].iov_len;
	io->rest = (struct iovec){ (uint8_t *)io->iov[i].iov_base + skip,
				   io->iov[i].iov_len - skip };
	sqe->addr = (uintptr_t)&io->rest;
	sqe->len = 1;
}

static void fill(struct io_uring_sqe *sqe, struct block_io *io)
{
	sqe->fd = 0; /* the ring's one file */
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = (uintptr_t)io;
	if (io->op == BLOCK_READ || io->op == BLOCK_WRITE) {
		fill_transfer(sqe, io);
	} else if (io->op == BLOCK_FLUSH) {
		sqe->opcode = IORING_OP_FSYNC;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
	} else {
		bool punch = io->op == BLOCK_DISCARD || io->unmap;

		sqe->opcode = IORING_OP_FALLOCATE;
		sqe->off = io->offset;
		sqe->addr = io->len; /* fallocate's length */
		sqe->len = FALLOC_FL_KEEP_SIZE |
			   (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	}
}

static void put_off(struct ring_disk *d, struct block_io *io)
{
	io->next = NULL;
	*d->wait_end = io;
	d->wait_end = &io->next;
}

static void start(struct ring_disk *d, struct block_io *io)
{
	struct io_uring_sqe *sqe = d->wait ? NULL : uring_next(&d->ring);

	if (sqe)
		fill(sqe, io);
	else
		put_off(d, io);
}

/* File systems without holes, and kernels without the operation, are dealt with as by the synchronous back end. */
static void fall_back(struct ring_disk *d, struct block_io *io)
{
	io->result = io->op == BLOCK_DISCARD ? block_discard(d->raw, io->offset, io->len)
		     : io->op == BLOCK_ZERO  ? block_zero(d->raw, io->offset, io->len, io->unmap)
					     : block_flush(d->raw);
}

/* True when the request is over. */
static bool advance(struct ring_disk *d, struct block_io *io, int result)
{
	io->result = MIN(result, 0);
	if (result == -EINTR || result == -EAGAIN) {
		start(d, io);
		return false;
	}
	if (io->op != BLOCK_READ && io->op != BLOCK_WRITE) {
		if (result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL)
			fall_back(d, io);
		return true;
	}
	if (result < 0)
		return true;
	if (result == 0 && io->op == BLOCK_READ) {
		iov_zero(io->iov, io->iov_n, io->moved, io->len - io->moved);
		return true;
	}
	if (result == 0)
		io->result = -EIO;
	io->moved += (uint64_t)result;
	if (result == 0 || io->moved >= io->len)
		return true;
	start(d, io);
	return false;
}

static void take_waiting(struct ring_disk *d)
{
	while (d->wait) {
		struct io_uring_sqe *sqe = uring_next(&d->ring);
		struct block_io *io = d->wait;

		if (!sqe)
			return;
		d->wait = io->next;
		if (!d->wait)
			d->wait_end = &d->wait;
		fill(sqe, io);
	}
}

/* Whether any was there. */
static bool take_completed(struct ring_disk *d)
{
	uint64_t data;
	int result;
	bool any = false;

	d->busy = true; /* `done` may submit, and kick: that is for the caller's next round */
	while (uring_take(&d->ring, &data, &result)) {
		struct block_io *io = (struct block_io *)(uintptr_t)data;

		any = true;
		if (advance(d, io, result))
			io->done(io);
	}
	d->busy = false;
	return any;
}

static void disk_kick(struct block *b)
{
	struct ring_disk *d = disk_of(b);

	if (d->busy)
		return;
	do {
		take_waiting(d);
		/* -EBUSY: too much is under way, and what completes comes back here. */
		if (uring_pending(&d->ring))
			uring_enter(&d->ring);
	} while (take_completed(d) && (d->wait || uring_pending(&d->ring)));
}

static void disk_reap(struct block *b)
{
	uint64_t count;

	/* Nothing in it: somebody looked before us. */
	if (read(b->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	take_completed(disk_of(b));
	disk_kick(b);
}

static void disk_submit(struct block *b, struct block_io *io)
{
	struct ring_disk *d = disk_of(b);

	io->moved = 0;
	if (d->is_device && (io->op == BLOCK_DISCARD || io->op == BLOCK_ZERO)) {
		fall_back(d, io);
		io->done(io);
		return;
	}
	start(d, io);
}

static void disk_free(struct block *b)
{
	struct ring_disk *d = disk_of(b);

	uring_fini(&d->ring);
	close_fd(&b->event_fd);
	block_free(d->raw);
	free(d);
}

static const struct block_ops ops = {
	.name = "raw (io_uring)",
	.submit = disk_submit,
	.kick = disk_kick,
	.reap = disk_reap,
	.free = disk_free,
};

struct block *block_uring_new(int fd, bool read_only, struct err *e)
{
	static const uint8_t used[] = { IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
					IORING_OP_FALLOCATE };
	struct block *raw = block_raw_new(fd, read_only, e);
	struct stat st;

	if (!raw || fstat(fd, &st) < 0)
		return raw;
	struct ring_disk *d = calloc(1, sizeof(*d));
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (!d || event < 0 ||
	    uring_init(&d->ring, ENTRIES, fd, event, used, ARRAY_SIZE(used)) < 0) {
		close_fd(&event);
		free(d);
		return raw;
	}
	d->base = *raw;
	d->base.ops = &ops;
	d->base.event_fd = event;
	d->raw = raw;
	d->is_device = S_ISBLK(st.st_mode);
	d->wait_end = &d->wait;
	return &d->base;
}
