/*
 * Sends frames through a network device as fast as it goes, and says when it begins and ends: who loads it measures the
 * time between. The same program runs in Warren and in QEMU; for bench/.
 *
 * Arguments: mmio= stride= (where to look for the device) frames= bytes=
 */
#include "bare.h"

enum { BYTES_MAX = 1514, QUEUE_TX = 1 };

static struct ring ring, rx;
static struct {
	struct virtio_net_hdr header;
	uint8_t frame[BYTES_MAX];
} slot[RING] __attribute__((aligned(4096)));

static struct device find_net(uint64_t base, uint64_t stride)
{
	struct device d = { .base = base };

	for (int i = 0; i < 24; i++, d.base += stride)
		if (reg_read(&d, VIRTIO_MMIO_MAGIC) == VIRTIO_MMIO_MAGIC_VALUE &&
		    reg_read(&d, VIRTIO_MMIO_DEVICE_ID) == VIRTIO_ID_NET) {
			d.id = VIRTIO_ID_NET;
			break;
		}
	return d;
}

/* An Ethernet broadcast of a type that nobody listens to. */
static void prepare(uint32_t bytes)
{
	for (unsigned i = 0; i < RING; i++) {
		uint8_t *f = slot[i].frame;

		for (int k = 0; k < 6; k++) {
			f[k] = 0xff;
			f[6 + k] = (uint8_t)(2 + k);
		}
		f[12] = 0x88;
		f[13] = 0xb5;
		ring.desc[i] = (struct virtq_desc){ (uint64_t)&slot[i],
						    sizeof(slot[i].header) + bytes, 0, 0 };
	}
}

static void offer(uint16_t head, uint32_t size)
{
	ring.avail[ring.avail_idx % size] = head;
	__atomic_store_n(&ring.avail_idx, (uint16_t)(ring.avail_idx + 1), __ATOMIC_RELEASE);
}

static void kick(const struct device *d)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(ring.used_flags & VIRTQ_USED_F_NO_NOTIFY))
		reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, QUEUE_TX);
}

static void run(const struct device *d, uint64_t frames, uint32_t size)
{
	uint64_t sent = 0, done = 0;
	uint16_t seen = 0;

	for (; sent < size && sent < frames; sent++)
		offer((uint16_t)sent, size);
	kick(d);
	while (done < frames) {
		uint16_t now = __atomic_load_n(&ring.used_idx, __ATOMIC_ACQUIRE);
		bool more = false;

		for (; seen != now; seen++, done++) {
			if (sent == frames)
				continue;
			offer((uint16_t)ring.used[seen % size].id, size);
			sent++;
			more = true;
		}
		if (more)
			kick(d);
		else
			__asm__ volatile("pause");
	}
}

void main(char *arguments)
{
	struct device d = find_net(argument(arguments, "mmio=", 0xd0000000),
				   argument(arguments, "stride=", 4096));
	uint32_t bytes = (uint32_t)argument(arguments, "bytes=", 64);

	if (!d.id || bytes > BYTES_MAX || !device_start(&d, 0)) {
		say("no network device\n");
		return;
	}
	device_queue(&d, 0, &rx);
	uint32_t size = device_queue(&d, QUEUE_TX, &ring);

	device_go(&d);
	ring.avail_flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
	prepare(bytes);
	say("begin\n");
	run(&d, argument(arguments, "frames=", 100000), size);
	say("end\n");
}
