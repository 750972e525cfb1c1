/* qcow2 images: opened for writing, then read and written by what the end of the input says. Whatever the
 * tables claim, a write that succeeded reads back. */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "os/file.h"
#include "storage/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t in[1024], out[1024];
	int fd = memfd_create("image", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && write_full(fd, data, size) == 0);
	struct block *b = block_qcow2_new(fd, false, NULL, NULL);

	if (!b)
		return 0;
	for (size_t i = 0; i < 16 && i < size; i++) {
		uint64_t at = (uint64_t)data[size - 1 - i] * 512 * (i + 1);

		memset(in, data[i], sizeof(in));
		if (block_write(b, at, in, sizeof(in)) != 0)
			continue;
		FUZZ_CHECK(block_read(b, at, out, sizeof(out)) == 0);
		FUZZ_CHECK(memcmp(in, out, sizeof(in)) == 0);
		if (data[i] & 1)
			block_flush(b);
	}
	for (uint64_t at = 0; at + sizeof(out) <= b->size && at < 1 << 20; at += 40960)
		block_read(b, at, out, sizeof(out));
	block_free(b);
	return 0;
}
