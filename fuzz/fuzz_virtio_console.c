/* virtio-console with two ports, in front of streams that take little and give little. */
#include <errno.h>

#include "fuzz_virtio.h"
#include "virtio/console.h"

static unsigned turns;

static ssize_t read_(struct stream *s, const struct iovec *iov, int n)
{
	(void)s;
	if (!n || !iov[0].iov_len || turns++ % 3)
		return -EAGAIN;
	memset(iov[0].iov_base, 'x', iov[0].iov_len);
	return (ssize_t)iov[0].iov_len;
}

static ssize_t write_(struct stream *s, const struct iovec *iov, int n)
{
	volatile uint8_t sum = 0;
	size_t done = 0;

	(void)s;
	if (turns++ % 4 == 3)
		return -EAGAIN;
	for (int i = 0; i < n && done < 100; i++)
		for (size_t k = 0; k < iov[i].iov_len && done < 100; k++, done++)
			sum += ((const uint8_t *)iov[i].iov_base)[k];
	return (ssize_t)done;
}

static struct stream streams[2];

static void turn(struct virtio_device *d)
{
	(void)d;
	for (int i = 0; i < 2; i++)
		if (streams[i].ready && turns % 5 == 0)
			streams[i].ready(streams[i].ready_arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct stream_ops ops = { read_, write_ };
	struct memory *mem = fuzz_memory();

	turns = 0;
	for (int i = 0; i < 2; i++)
		streams[i] = (struct stream){ .ops = &ops };
	const struct virtio_console_port ports[] = { { "console", true, &streams[0] },
						     { "agent", false, &streams[1] } };
	struct virtio_device *d = virtio_console_new(mem, ports, 2, 80, 24);

	FUZZ_CHECK(d);
	fuzz_virtio(d, mem, data, size, turn);
	return 0;
}
