/* virtio-fs, in front of a server whose replies are the input's last bytes, in any rhythm. */
#include <errno.h>

#include "base/util.h"
#include "fuzz_virtio.h"
#include "virtio/fs.h"

static struct stream server;
static const uint8_t *say;
static size_t say_n;
static unsigned turns;

static ssize_t read_(struct stream *s, const struct iovec *iov, int n)
{
	size_t done = 0;

	(void)s;
	if (turns++ % 3 == 2)
		return -EAGAIN;
	for (int i = 0; i < n && say_n; i++) {
		size_t part = MIN(iov[i].iov_len, say_n);

		memcpy(iov[i].iov_base, say, part);
		say += part;
		say_n -= part;
		done += part;
	}
	return done ? (ssize_t)done : -EAGAIN;
}

static ssize_t write_(struct stream *s, const struct iovec *iov, int n)
{
	volatile uint8_t sum = 0;
	size_t done = 0, most = turns++ % 4 ? 1 << 20 : 50;

	(void)s;
	if (turns % 7 == 6)
		return -EAGAIN;
	for (int i = 0; i < n && done < most; i++)
		for (size_t k = 0; k < iov[i].iov_len && done < most; k++, done++)
			sum += ((const uint8_t *)iov[i].iov_base)[k];
	return (ssize_t)done;
}

static void turn(struct virtio_device *d)
{
	(void)d;
	if (turns++ % 2)
		server.ready(server.ready_arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct stream_ops ops = { read_, write_ };
	struct memory *mem = fuzz_memory();
	size_t replies = size ? MIN((size_t)data[size - 1], size - 1) : 0;

	turns = 0;
	say = data + size - 1 - replies;
	say_n = replies;
	server = (struct stream){ .ops = &ops };
	struct virtio_device *d = virtio_fs_new(mem, "share0", &server);

	FUZZ_CHECK(d);
	fuzz_virtio(d, mem, data, size - replies, turn);
	return 0;
}
