/* virtio-vsock, with a host that accepts some connections, refuses others, and calls the guest itself. */
#include <errno.h>

#include "base/util.h"
#include "fuzz_virtio.h"
#include "virtio/vsock.h"

enum { ENDS = 8 };

static struct end {
	struct stream stream;
	bool used;
} ends[ENDS];
static uint32_t asked[ENDS];
static unsigned asked_n, turns;

static ssize_t read_(struct stream *s, const struct iovec *iov, int n)
{
	(void)s;
	if (!n || !iov[0].iov_len || turns++ % 3)
		return turns % 11 ? -EAGAIN : 0;
	memset(iov[0].iov_base, 'x', iov[0].iov_len);
	return (ssize_t)iov[0].iov_len;
}

static ssize_t write_(struct stream *s, const struct iovec *iov, int n)
{
	volatile uint8_t sum = 0;
	size_t done = 0;

	(void)s;
	if (turns++ % 4 == 3)
		return turns % 8 ? -EAGAIN : -EPIPE;
	for (int i = 0; i < n && done < 100; i++)
		for (size_t k = 0; k < iov[i].iov_len && done < 100; k++, done++)
			sum += ((const uint8_t *)iov[i].iov_base)[k];
	return (ssize_t)done;
}

static void connect_(void *arg, uint32_t id, uint32_t port)
{
	(void)arg, (void)port;
	if (asked_n < ENDS)
		asked[asked_n++] = id;
}

static void opened(void *arg, uint32_t id, struct stream *s, uint32_t port)
{
	(void)arg, (void)id, (void)port;
	FUZZ_CHECK(container_of(s, struct end, stream)->used);
}

static void ended(void *arg, struct stream *s)
{
	(void)arg;
	FUZZ_CHECK(container_of(s, struct end, stream)->used);
}

static void closed(void *arg, struct stream *s)
{
	struct end *e = container_of(s, struct end, stream);

	(void)arg;
	FUZZ_CHECK(e->used); /* once */
	e->used = false;
}

static struct end *take(void)
{
	static const struct stream_ops ops = { read_, write_ };

	for (int i = 0; i < ENDS; i++) {
		if (ends[i].used)
			continue;
		ends[i] = (struct end){ .stream.ops = &ops, .used = true };
		return &ends[i];
	}
	return NULL;
}

static void turn(struct virtio_device *d)
{
	struct end *e;

	turns++;
	while (asked_n) {
		uint32_t id = asked[--asked_n];

		e = turns++ % 4 ? take() : NULL;
		if (!virtio_vsock_answer(d, id, e ? &e->stream : NULL) && e)
			e->used = false;
	}
	if (turns % 16 == 0 && (e = take()) && virtio_vsock_connect(d, 1, &e->stream))
		e->used = false;
	e = &ends[turns % ENDS];
	if (e->used && e->stream.ready)
		e->stream.ready(e->stream.ready_arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct virtio_vsock_host host = { connect_, opened, ended, closed };
	struct memory *mem = fuzz_memory();

	turns = asked_n = 0;
	memset(ends, 0, sizeof(ends));
	struct virtio_device *d = virtio_vsock_new(mem, 3, &host, NULL);

	FUZZ_CHECK(d);
	fuzz_virtio(d, mem, data, size, turn);
	for (int i = 0; i < ENDS; i++)
		FUZZ_CHECK(!ends[i].used);
	return 0;
}
