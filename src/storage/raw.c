/*
 * Raw disks: a regular file or a block device, byte for byte. The kernel's page cache is the cache;
 * a flush is fdatasync. A file whose length is not a whole number of sectors loses its tail, as in
 * Xen and QEMU. Discards punch holes and are forgotten where the file system has none.
 *
 * Trust: offsets were judged in block.c. Threads: any number at once, there is no state.
 * #syscalls: preadv pwritev fdatasync fallocate ioctl
 * #syscalls(start): fstat close
 * #ioctls(disk,block): BLKDISCARD BLKZEROOUT
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "storage/block.h"
#include "storage/iov_int.h"

struct raw {
	struct block base;
	int fd;
	bool is_device;
};

static struct raw *raw_of(struct block *b)
{
	return container_of(b, struct raw, base);
}

static int raw_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n, size_t len)
{
	return iov_pread(raw_of(b)->fd, offset, iov, n, len);
}

static int raw_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n, size_t len)
{
	return iov_pwrite(raw_of(b)->fd, offset, iov, n, len);
}

static int raw_flush(struct block *b)
{
	return fdatasync(raw_of(b)->fd) < 0 ? -errno : 0;
}

static int device_range(struct raw *r, unsigned long request, uint64_t offset, uint64_t len)
{
	uint64_t range[2] = { offset, len };

	return ioctl(r->fd, request, range) < 0 ? -errno : 0;
}

static int raw_discard(struct block *b, uint64_t offset, uint64_t len)
{
	struct raw *r = raw_of(b);
	int rc;

	if (r->is_device)
		rc = device_range(r, BLKDISCARD, offset, len);
	else
		rc = fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			       (off_t)len) < 0
			     ? -errno
			     : 0;
	return rc == -EOPNOTSUPP || rc == -ENOSYS ? 0 : rc;
}

static int raw_zero(struct block *b, uint64_t offset, uint64_t len, bool unmap)
{
	struct raw *r = raw_of(b);
	int mode = unmap ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
			 : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

	if (r->is_device)
		return device_range(r, BLKZEROOUT, offset, len);
	return fallocate(r->fd, mode, (off_t)offset, (off_t)len) < 0 ? -errno : 0;
}

static void raw_free(struct block *b)
{
	struct raw *r = raw_of(b);

	close(r->fd);
	free(r);
}

static const struct block_ops raw_ops = {
	.name = "raw",
	.readv = raw_readv,
	.writev = raw_writev,
	.flush = raw_flush,
	.discard = raw_discard,
	.zero = raw_zero,
	.free = raw_free,
};

struct block *block_raw_new(int fd_in, bool read_only, struct err *e)
{
	cleanup_fd int fd = fd_in;
	struct stat st;
	uint64_t size = 0;

	if (fstat(fd, &st) < 0) {
		err_sys(e, -errno, "disk: fstat");
		return NULL;
	}
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, &size) < 0) {
			err_sys(e, -errno, "disk: size of the device");
			return NULL;
		}
	} else if (S_ISREG(st.st_mode)) {
		size = (uint64_t)st.st_size;
	} else {
		err_set(e, -EINVAL, "disk: neither a regular file nor a block device");
		return NULL;
	}
	struct raw *r = calloc(1, sizeof(*r));

	if (!r) {
		err_sys(e, -ENOMEM, "disk");
		return NULL;
	}
	r->base = (struct block){
		.ops = &raw_ops,
		.size = size - size % BLOCK_SECTOR,
		.read_only = read_only,
		.can_discard = !read_only,
		.event_fd = -1,
	};
	r->is_device = S_ISBLK(st.st_mode);
	r->fd = steal_fd(&fd);
	return &r->base;
}
