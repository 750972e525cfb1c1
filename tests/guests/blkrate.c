/*
 * Reads from a block device as fast as it goes, with a fixed number of requests in flight, and says when it begins and
 * ends: who loads it measures the time between. The same program runs in Warren and in QEMU; for bench/.
 *
 * Arguments: mmio= stride= (where to look for the device) requests= depth= bytes= sectors= tell= (requests between two
 * signs of life)
 */
#include "bare.h"

enum { DEPTH_MAX = 32, BYTES_MAX = 64 << 10 };

static struct ring ring;
static struct virtio_blk_req header[DEPTH_MAX];
static volatile uint8_t status[DEPTH_MAX];
static uint8_t data[DEPTH_MAX][BYTES_MAX] __attribute__((aligned(4096)));

static struct device find_block(uint64_t base, uint64_t stride)
{
	struct device d = { .base = base };

	for (int i = 0; i < 24; i++, d.base += stride)
		if (reg_read(&d, VIRTIO_MMIO_MAGIC) == VIRTIO_MMIO_MAGIC_VALUE &&
		    reg_read(&d, VIRTIO_MMIO_DEVICE_ID) == VIRTIO_ID_BLOCK) {
			d.id = VIRTIO_ID_BLOCK;
			break;
		}
	return d;
}

static void prepare(uint32_t depth, uint32_t bytes)
{
	for (uint16_t i = 0; i < depth; i++) {
		struct virtq_desc *p = &ring.desc[3 * i];

		p[0] = (struct virtq_desc){ (uint64_t)&header[i], sizeof(header[i]),
					    VIRTQ_DESC_F_NEXT, (uint16_t)(3 * i + 1) };
		p[1] = (struct virtq_desc){ (uint64_t)data[i], bytes,
					    VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE,
					    (uint16_t)(3 * i + 2) };
		p[2] = (struct virtq_desc){ (uint64_t)&status[i], 1, VIRTQ_DESC_F_WRITE, 0 };
	}
}

static void offer(uint16_t slot, uint64_t sector, uint32_t size)
{
	header[slot] = (struct virtio_blk_req){ .type = VIRTIO_BLK_T_IN, .sector = sector };
	status[slot] = 0xff;
	ring.avail[ring.avail_idx % size] = (uint16_t)(3 * slot);
	__atomic_store_n(&ring.avail_idx, (uint16_t)(ring.avail_idx + 1), __ATOMIC_RELEASE);
}

static void kick(const struct device *d)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(ring.used_flags & VIRTQ_USED_F_NO_NOTIFY))
		reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

/* False when a request failed. */
static bool run(const struct device *d, uint64_t requests, uint32_t depth, uint64_t sectors,
		uint32_t bytes, uint32_t size, uint64_t tell)
{
	uint64_t sent = 0, done = 0, told = 0, seed = 1;
	uint16_t seen = 0;

	for (; sent < depth; sent++)
		offer((uint16_t)sent, 0, size);
	kick(d);
	while (done < requests) {
		uint16_t now = __atomic_load_n(&ring.used_idx, __ATOMIC_ACQUIRE);
		bool more = false;

		for (; seen != now; seen++, done++) {
			uint16_t slot = (uint16_t)(ring.used[seen % size].id / 3);

			if (status[slot] != VIRTIO_BLK_S_OK)
				return false;
			if (sent == requests)
				continue;
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			offer(slot, (seed >> 33) % (sectors / (bytes / 512)) * (bytes / 512), size);
			sent++;
			more = true;
		}
		if (done / tell != told) {
			told = done / tell;
			say("going\n");
		}
		if (more)
			kick(d);
		else
			__asm__ volatile("pause");
	}
	return true;
}

void main(char *arguments)
{
	struct device d = find_block(argument(arguments, "mmio=", 0xd0000000),
				     argument(arguments, "stride=", 4096));
	uint32_t depth = (uint32_t)argument(arguments, "depth=", DEPTH_MAX);
	uint32_t bytes = (uint32_t)argument(arguments, "bytes=", 4096);
	uint64_t requests = argument(arguments, "requests=", 10000);

	if (!d.id || depth > DEPTH_MAX || bytes > BYTES_MAX || !device_start(&d, 0)) {
		say("no block device\n");
		return;
	}
	uint32_t size = device_queue(&d, 0, &ring);

	device_go(&d);
	ring.avail_flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
	prepare(depth, bytes);
	say("begin\n");
	bool ok = run(&d, requests, depth, argument(arguments, "sectors=", 65536), bytes, size,
		      argument(arguments, "tell=", 8192));

	say(ok ? "end\n" : "a request failed\n");
}
