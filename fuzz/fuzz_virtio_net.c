/* virtio-net with two pairs of queues, in front of a port that is now full, now empty, now gone. */
#include <errno.h>

#include "fuzz_virtio.h"
#include "virtio/net.h"

static unsigned turns;
static bool in[2], out[2];

static int send_(struct net_port *p, unsigned queue, const struct iovec *iov, int n)
{
	volatile uint8_t sum = 0;
	struct virtio_net_hdr h;
	size_t len = 0;

	(void)p;
	FUZZ_CHECK(queue < 2);
	if (turns++ % 5 == 4)
		return -EAGAIN;
	for (int i = 0; i < n; i++) {
		len += iov[i].iov_len;
		sum += ((const uint8_t *)iov[i].iov_base)[iov[i].iov_len - 1];
	}
	if (!n)
		return 0;
	/* What the device promises its port. */
	FUZZ_CHECK(iov[0].iov_len == sizeof(h) && len > sizeof(h) &&
		   len <= sizeof(h) + NET_FRAME_MAX);
	memcpy(&h, iov[0].iov_base, sizeof(h));
	len -= sizeof(h);
	FUZZ_CHECK(!(h.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM));
	FUZZ_CHECK(!h.flags || (size_t)h.csum_start + h.csum_offset + 2 <= len);
	FUZZ_CHECK(!h.gso_type || (h.gso_size && h.flags && h.hdr_len <= len));
	return 0;
}

static ssize_t receive_(struct net_port *p, unsigned queue, const struct iovec *iov, int n)
{
	static const size_t sizes[] = { 12, 60, 1526, 9000, 65565 };
	size_t want = sizes[turns % 5], done = 0;

	(void)p;
	FUZZ_CHECK(queue < 2);
	if (turns++ % 7 >= 4)
		return turns % 97 == 96 ? -EIO : -EAGAIN;
	for (int i = 0; i < n && done < want; i++) {
		size_t part = iov[i].iov_len < want - done ? iov[i].iov_len : want - done;

		memset(iov[i].iov_base, 0xa5, part);
		done += part;
	}
	return (ssize_t)done;
}

static int set(struct net_port *p, unsigned v)
{
	(void)p;
	FUZZ_CHECK(v <= 15);
	return 0;
}

static void free_(struct net_port *p)
{
	(void)p;
}

static void watch(void *arg, unsigned queue, bool i, bool o)
{
	(void)arg;
	FUZZ_CHECK(queue < 2);
	in[queue] = i;
	out[queue] = o;
}

static void again(void *arg, unsigned virtqueue)
{
	(void)arg;
	FUZZ_CHECK(virtqueue < 4);
}

static void turn(struct virtio_device *d)
{
	for (unsigned i = 0; i < 2; i++)
		if (in[i] || out[i])
			virtio_net_ready(d, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct net_port_ops ops = { "fuzz", send_, receive_, set, set, free_ };
	struct net_port port = { .ops = &ops, .offloads = true, .queues = 2 };
	struct memory *mem = fuzz_memory();

	turns = 0;
	in[0] = in[1] = out[0] = out[1] = false;
	struct virtio_device *d = virtio_net_new(
		mem, &port,
		&(struct virtio_net_settings){ .mac = { 2 }, .watch = watch, .again = again });

	FUZZ_CHECK(d);
	fuzz_virtio(d, mem, data, size, turn);
	return 0;
}
