/* virtio-rng. */
#include "fuzz_virtio.h"
#include "virtio/entropy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory *mem = fuzz_memory();
	struct virtio_device *d = virtio_entropy_new(mem);

	FUZZ_CHECK(d);
	fuzz_virtio(d, mem, data, size, NULL);
	return 0;
}
