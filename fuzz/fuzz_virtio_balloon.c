/* virtio-balloon. */
#include "fuzz_virtio.h"
#include "virtio/balloon.h"

static void turn(struct virtio_device *d)
{
	struct virtio_balloon_figures f;
	static unsigned turns;

	if (turns++ % 8 == 0)
		virtio_balloon_figures(d, &f);
	if (turns % 32 == 0)
		virtio_balloon_set(d, turns << 12);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory *mem = fuzz_memory();
	struct virtio_device *d = virtio_balloon_new(mem);

	FUZZ_CHECK(d);
	fuzz_virtio(d, mem, data, size, turn);
	return 0;
}
