/* The block ring: any bytes in the ring and in the pages that it names. No transfer leaves the granted pages. */
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "pv/blkring.h"

#define PAGES 8u
#define DISK  (256u * BLOCK_SECTOR)

static uint8_t *memory;
static struct block *disk;

static void *page_of(void *arg, uint32_t ref, bool write)
{
	(void)arg;
	return ref < PAGES && !(write && ref == 1) ? memory + ref * 4096u : NULL;
}

static void notify(void *arg)
{
	(void)arg;
}

static void set_up(void)
{
	struct err e = ERR_INIT;
	int fd = memfd_create("disk", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, DISK) == 0);
	disk = block_raw_new(fd, false, &e);
	memory = mmap(NULL, (PAGES + 1) * 4096u, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FUZZ_CHECK(disk && memory != MAP_FAILED);
	FUZZ_CHECK(mprotect(memory + PAGES * 4096u, 4096, PROT_NONE) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct blkring ring;
	_Atomic bool stop = false;

	if (!memory)
		set_up();
	if (size > PAGES * 4096u)
		size = PAGES * 4096u;
	memset(memory, 0, PAGES * 4096u);
	if (size)
		memcpy(memory, data, size);
	ring = (struct blkring){ .block = disk, .page = page_of, .notify = notify };
	blkring_start(&ring, memory);
	/* A read may put new requests into the ring: the stop flag bounds the work as a disconnect would. */
	for (unsigned i = 0; i < 4 && blkring_drain(&ring, &stop); i++)
		atomic_store(&stop, true);
	FUZZ_CHECK(ring.refused <= ring.requests);
	return 0;
}
