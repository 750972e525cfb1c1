/* A hostile driver: the input is the ring's memory, rewritten from the input between pops. */
#include "fuzz.h"
#include "virtio/queue.h"

enum { MEMORY = 2 << 20, RING = 0x4000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct memory mem;
	static struct virtq q;
	static struct virtq_chain c;
	uint64_t features = 0;
	struct err e = ERR_INIT;

	if (!mem.base)
		FUZZ_CHECK(memory_init(&mem, MEMORY, false, &e) == 0);
	if (size < 8)
		return 0;
	if (data[0] & 1)
		features |= 1ull << VIRTIO_F_RING_PACKED;
	if (data[0] & 2)
		features |= 1ull << VIRTIO_F_EVENT_IDX;
	if (data[0] & 4)
		features |= 1ull << VIRTIO_F_INDIRECT_DESC;
	memset(mem.base, 0, RING);
	virtq_init(&q, &mem, VIRTQ_MAX);
	q.layout = (struct virtq_layout){ (uint16_t)(data[1] | data[2] << 8), 0x0, 0x1000, 0x2000 };
	if (data[0] & 8) /* also the wild layouts */
		q.layout.desc = (uint64_t)data[3] << 16 | data[4] << 4;
	data += 8;
	size -= 8;
	if (virtq_start(&q, features)) {
		FUZZ_CHECK(q.broken);
		return 0;
	}
	while (size) {
		size_t step = size < RING ? size : RING;

		memcpy(mem.base, data, step);
		data += step;
		size -= step;
		for (int i = 0; i < 300; i++) {
			int r = virtq_pop(&q, &c);

			if (r < 0)
				FUZZ_CHECK(q.broken);
			if (r <= 0)
				break;
			FUZZ_CHECK(c.readable >= 0 && c.writable >= 0);
			FUZZ_CHECK(c.readable + c.writable <= VIRTQ_IOV_MAX);
			uint64_t sum = 0;

			for (int k = 0; k < c.readable + c.writable; k++) {
				uint8_t *p = c.iov[k].iov_base;

				FUZZ_CHECK(p >= mem.base && c.iov[k].iov_len <= mem.size);
				FUZZ_CHECK((size_t)(p - mem.base) <= mem.size - c.iov[k].iov_len);
				sum += c.iov[k].iov_len;
			}
			FUZZ_CHECK(sum == c.readable_len + c.writable_len);
			virtq_push(&q, &c, 0);
			virtq_wants_interrupt(&q);
		}
		virtq_hush(&q);
		virtq_listen(&q);
	}
	return 0;
}
