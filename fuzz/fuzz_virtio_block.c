/* virtio-blk in front of a small disk in memory. */
#include <errno.h>

#include "base/util.h"
#include "fuzz_virtio.h"
#include "virtio/block.h"

enum { DISK = 64 * 512 };

struct disk {
	struct block base;
	uint8_t data[DISK];
};

static int move(struct block *b, uint64_t offset, const struct iovec *iov, int n, bool out)
{
	struct disk *d = container_of(b, struct disk, base);

	for (int i = 0; i < n; i++) {
		FUZZ_CHECK(offset <= DISK && iov[i].iov_len <= DISK - offset);
		if (out)
			memcpy(d->data + offset, iov[i].iov_base, iov[i].iov_len);
		else
			memcpy(iov[i].iov_base, d->data + offset, iov[i].iov_len);
		offset += iov[i].iov_len;
	}
	return 0;
}

static int readv_(struct block *b, uint64_t offset, const struct iovec *iov, int n, size_t len)
{
	(void)len;
	return move(b, offset, iov, n, false);
}

static int writev_(struct block *b, uint64_t offset, const struct iovec *iov, int n, size_t len)
{
	(void)len;
	return move(b, offset, iov, n, true);
}

static int flush_(struct block *b)
{
	(void)b;
	return 0;
}

static int discard_(struct block *b, uint64_t offset, uint64_t len)
{
	(void)b;
	FUZZ_CHECK(offset <= DISK && len <= DISK - offset);
	return 0;
}

static int zero_(struct block *b, uint64_t offset, uint64_t len, bool unmap)
{
	(void)unmap;
	FUZZ_CHECK(offset <= DISK && len <= DISK - offset);
	memset(container_of(b, struct disk, base)->data + offset, 0, len);
	return 0;
}

static void free_(struct block *b)
{
	free(container_of(b, struct disk, base));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct block_ops ops = { .name = "memory",
					      .readv = readv_,
					      .writev = writev_,
					      .flush = flush_,
					      .discard = discard_,
					      .zero = zero_,
					      .free = free_ };
	struct memory *mem = fuzz_memory();
	struct disk *disk = calloc(1, sizeof(*disk));

	FUZZ_CHECK(disk);
	disk->base = (struct block){
		.ops = &ops, .size = DISK, .can_discard = true, .event_fd = -1
	};
	if (size)
		disk->base.read_only = data[0] & 0x80;
	struct virtio_device *d = virtio_block_new(mem, &disk->base, "serial", 2);

	FUZZ_CHECK(d);
	fuzz_virtio(d, mem, data, size, virtio_block_reap);
	return 0;
}
