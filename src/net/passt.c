/*
 * The port to passt.
 *
 * passt reads and writes Ethernet frames on a stream socket, each behind its length in four bytes, big-endian
 * (the form that QEMU's "stream" back ends use). It has no place for a virtio header: no offloads, the header is
 * dropped on the way out and empty on the way in.
 *
 * What comes in is read in large pieces into a buffer and taken out frame by frame; of a frame that the socket
 * takes only in part, the rest is kept and goes first.
 *
 * Trust: passt terminates what strangers send; a length that no frame has ends the link. Threads: the device's.
 * #syscalls(net): recvfrom sendmsg
 */
#include "net/passt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/util.h"

enum {
	HEADER = sizeof(struct virtio_net_hdr),
	PREFIX = 4,
	IN_SIZE = 4 * NET_FRAME_MAX,
	IOV_MAX_ = 160
};

struct passt {
	struct net_port port;
	bool dead;
	size_t in_at, in_n; /* of `in`: what is not taken yet */
	size_t out_at, out_n;
	uint8_t in[IN_SIZE];
	uint8_t out[PREFIX + NET_FRAME_MAX];
};

static struct passt *passt_of(struct net_port *p)
{
	return container_of(p, struct passt, port);
}

static int lost(struct passt *p)
{
	p->dead = true;
	p->port.pending = false;
	return -EPIPE;
}

/* What is left of a frame. 0 when it is through. */
static int flush(struct passt *p)
{
	while (p->out_n) {
		struct iovec v = { p->out + p->out_at, p->out_n };
		struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
		ssize_t n = sendmsg(p->port.fd[0], &m, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -EAGAIN : lost(p);
		p->out_at += (size_t)n;
		p->out_n -= (size_t)n;
	}
	p->port.pending = false;
	return 0;
}

/* Keeps the bytes of `iov` from `skip` on. They fit: the whole frame was measured. */
static void keep(struct passt *p, const struct iovec *iov, int n, size_t skip)
{
	p->out_at = p->out_n = 0;
	for (int i = 0; i < n; i++) {
		size_t cut = MIN(skip, iov[i].iov_len), len = iov[i].iov_len - cut;

		skip -= cut;
		len = MIN(len, sizeof(p->out) - p->out_n);
		memcpy(p->out + p->out_n, (const uint8_t *)iov[i].iov_base + cut, len);
		p->out_n += len;
	}
	p->port.pending = p->out_n != 0;
}

static int passt_send(struct net_port *port, unsigned queue, const struct iovec *iov, int n)
{
	struct passt *p = passt_of(port);
	struct iovec v[IOV_MAX_];
	size_t skip = HEADER, len = 0;
	int k = 1, r;

	(void)queue;
	if (p->dead)
		return -EPIPE;
	r = flush(p);
	if (r || !n)
		return r;
	for (int i = 0; i < n; i++) {
		size_t cut = MIN(skip, iov[i].iov_len);

		skip -= cut;
		if (iov[i].iov_len == cut)
			continue;
		if (k == IOV_MAX_)
			return -EMSGSIZE;
		v[k++] = (struct iovec){ (uint8_t *)iov[i].iov_base + cut, iov[i].iov_len - cut };
		len += iov[i].iov_len - cut;
	}
	if (!len || len > NET_FRAME_MAX)
		return -EMSGSIZE;
	uint32_t prefix = htonl((uint32_t)len);

	v[0] = (struct iovec){ &prefix, PREFIX };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t)k };
	ssize_t sent = sendmsg(port->fd[0], &m, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : lost(p);
	if ((size_t)sent < PREFIX + len)
		keep(p, v, k, (size_t)sent);
	return 0;
}

/* One more reading. False when nothing came. */
static bool fill(struct passt *p, int *r)
{
	if (p->in_at) {
		memmove(p->in, p->in + p->in_at, p->in_n);
		p->in_at = 0;
	}
	ssize_t n = recv(p->port.fd[0], p->in + p->in_n, sizeof(p->in) - p->in_n, MSG_DONTWAIT);

	if (n > 0) {
		p->in_n += (size_t)n;
		return true;
	}
	*r = n < 0 && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : lost(p);
	return false;
}

/* The length of the frame at the front, 0 when it is not whole yet, -EPIPE when there is none such. */
static ssize_t front(struct passt *p)
{
	uint32_t prefix;

	if (p->in_n < PREFIX)
		return 0;
	memcpy(&prefix, p->in + p->in_at, PREFIX);
	prefix = ntohl(prefix);
	if (!prefix || prefix > NET_FRAME_MAX)
		return lost(p);
	return p->in_n - PREFIX < prefix ? 0 : (ssize_t)prefix;
}

static size_t put(const struct iovec *iov, int n, size_t *done, const uint8_t *from, size_t len)
{
	size_t at = 0, copied = 0;

	for (int i = 0; i < n && copied < len; at += iov[i++].iov_len) {
		if (*done >= at + iov[i].iov_len)
			continue;
		size_t in = *done - at, part = MIN(iov[i].iov_len - in, len - copied);

		memcpy((uint8_t *)iov[i].iov_base + in, from + copied, part);
		copied += part;
		*done += part;
	}
	return copied;
}

static ssize_t passt_receive(struct net_port *port, unsigned queue, const struct iovec *iov, int n)
{
	static const uint8_t empty[HEADER];
	struct passt *p = passt_of(port);
	size_t done = 0;
	ssize_t len;
	int r = 0;

	(void)queue;
	if (p->dead)
		return -EPIPE;
	while ((len = front(p)) == 0)
		if (!fill(p, &r))
			return r;
	if (len < 0)
		return len;
	put(iov, n, &done, empty, HEADER);
	put(iov, n, &done, p->in + p->in_at + PREFIX, (size_t)len);
	p->in_at += PREFIX + (size_t)len;
	p->in_n -= PREFIX + (size_t)len;
	return (ssize_t)done;
}

static int passt_accept(struct net_port *p, unsigned can)
{
	(void)p;
	(void)can;
	return 0;
}

static void passt_free(struct net_port *p)
{
	close_fd(&p->fd[0]);
	free(passt_of(p));
}

struct net_port *passt_port_new(int fd)
{
	static const struct net_port_ops ops = {
		.name = "passt",
		.send = passt_send,
		.receive = passt_receive,
		.accept = passt_accept,
		.use = passt_accept,
		.free = passt_free,
	};
	struct passt *p = calloc(1, sizeof(*p));

	if (!p) {
		close_fd(&fd);
		return NULL;
	}
	p->port = (struct net_port){ .ops = &ops, .queues = 1, .fd = { fd } };
	return &p->port;
}
