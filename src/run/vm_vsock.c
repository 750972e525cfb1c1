/*
 * The host's side of a vm's socket device: connections are pairs of descriptors that the monitor made (guest_vsock.c),
 * for reading and for writing the same socket.
 *
 * Trust: ports are the guest's and only named to the monitor. Threads: the device loop's, under the device's lock
 * where it calls. #syscalls(main): shutdown close
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "run/vm_int.h"

static struct vm_stream *stream_of(struct stream *s)
{
	return container_of(s, struct vm_stream, stream);
}

static void vsock_connect(void *arg, uint32_t id, uint32_t port)
{
	struct vm *v = arg;

	v->config.vsock_wanted(id, port, v->config.arg);
}

/* As much as a host's program has to wait for before it may speak. */
static void vsock_opened(void *arg, uint32_t id, struct stream *s, uint32_t host_port)
{
	char line[32];

	(void)arg, (void)id;
	snprintf(line, sizeof(line), "OK %u\n", host_port);
	struct iovec iov = { line, strlen(line) };

	/* Nothing was written to it yet: it fits, or nobody reads. */
	if (s->ops->write(s, &iov, 1) < 0)
		return;
}

static void vsock_ended(void *arg, struct stream *s)
{
	(void)arg;
	shutdown(stream_of(s)->out.fd, SHUT_WR);
}

static void vsock_closed(void *arg, struct stream *s)
{
	struct vm_stream *p = stream_of(s);

	(void)arg;
	vm_stream_fini(p);
	free(p);
}

static const struct virtio_vsock_host host = {
	.connect = vsock_connect,
	.opened = vsock_opened,
	.ended = vsock_ended,
	.closed = vsock_closed,
};

int vm_add_vsock(struct vm *v, struct err *e)
{
	if (!v->config.vsock_wanted)
		return 0;
	v->vsock = virtio_vsock_new(&v->mem, VM_VSOCK_CID, &host, v);
	return vm_add_device(v, v->vsock, e);
}

static struct vm_stream *stream_new(struct vm *v, int fds[2])
{
	struct vm_stream *p = fds[0] >= 0 && fds[1] >= 0 ? malloc(sizeof(*p)) : NULL;

	if (!p) {
		close_fd(&fds[0]);
		close_fd(&fds[1]);
		return NULL;
	}
	vm_stream_init(v, p, fds[0], fds[1]);
	return p;
}

void vm_vsock_answer(struct vm *v, uint32_t id, int in, int out)
{
	struct vm_stream *p = stream_new(v, (int[2]){ in, out });

	if (!virtio_vsock_answer(v->vsock, id, p ? &p->stream : NULL) && p)
		vsock_closed(v, &p->stream);
}

void vm_vsock_open(struct vm *v, uint32_t port, int in, int out)
{
	struct vm_stream *p = stream_new(v, (int[2]){ in, out });

	if (p && virtio_vsock_connect(v->vsock, port, &p->stream))
		vsock_closed(v, &p->stream);
}
