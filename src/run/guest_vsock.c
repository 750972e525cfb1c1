/*
 * A guest's sockets in the file system of the host: the same protocol as Firecracker's.
 *
 *	vsock.sock		a program of the host connects, writes "CONNECT PORT\n", and when the guest has accepted
 *				reads "OK N\n"; from then on the bytes are the guest's
 *	vsock.sock_PORT		a program of the host listens; it gets what the guest connects to (cid 2, PORT)
 *
 * The monitor makes the connections, since the VMM can open nothing, and hands them to it; their bytes never pass
 * here.
 *
 * Trust: callers are programs of the instance's owner; the one line is parsed strictly. Ports that the guest names
 * become a number in a file's name, nothing else. Threads: none.
 * #syscalls: accept4 recvfrom sendmsg socket connect bind listen close
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "os/sock.h"
#include "run/guest_int.h"

enum { CALLERS_MAX = 32, CALL_MAX = 32 };

struct caller {
	struct list link;
	struct monitor *m;
	struct loop_fd sock;
	char line[CALL_MAX];
	size_t n;
};

static void caller_free(struct caller *c)
{
	loop_unwatch(&c->m->loop, &c->sock);
	close_fd(&c->sock.fd);
	list_del(&c->link);
	free(c);
}

/* `fd` (or none) becomes the VMM's, as two descriptors: one to wait for bytes on, one to wait for room. */
static void order(struct monitor *m, enum guest_order_kind kind, uint32_t value, int fd)
{
	struct guest_order o = { .kind = kind, .value = value };
	const int fds[2] = { fd, fd };

	/* A VMM that takes no orders is told of by its own end; the caller sees its connection closed. */
	if (sock_send(m->vmm_control.fd, &o, sizeof(o), fds, fd >= 0 ? 2 : 0,
		      MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

/* True when the line is whole: `*port` is what it asks for. -EPROTO when it is none. */
static int parse(struct caller *c, uint32_t *port)
{
	uint64_t n;

	if (!c->n || c->line[c->n - 1] != '\n')
		return c->n == sizeof(c->line) ? -EPROTO : 0;
	c->line[c->n - 1] = '\0';
	const char *number = str_after(c->line, "CONNECT ");

	if (!number || str_to_u64(number, &n) || n > UINT32_MAX)
		return -EPROTO;
	*port = (uint32_t)n;
	return 1;
}

/* A byte at a time: what is behind the line is the guest's. */
static void caller_ready(struct loop_fd *w, uint32_t events)
{
	struct caller *c = container_of(w, struct caller, sock);
	uint32_t port;
	int r = 0;

	(void)events;
	while (r == 0) {
		ssize_t n = recv(w->fd, c->line + c->n, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0)
			r = -EPIPE;
		else
			c->n++;
		if (!r)
			r = parse(c, &port);
	}
	loop_unwatch(&c->m->loop, w);
	if (r > 0)
		order(c->m, GUEST_ORDER_VSOCK_OPEN, port, w->fd);
	caller_free(c);
}

static void caller_came(struct loop_fd *w, uint32_t events)
{
	struct monitor *m = container_of(w, struct monitor, vsock);
	cleanup_fd int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned n = 0;

	(void)events;
	if (fd < 0)
		return;
	/* Who says nothing makes room for who comes. */
	list_for_each (pos, &m->callers)
		n++;
	if (n >= CALLERS_MAX)
		caller_free(list_item(m->callers.next, struct caller, link));
	struct caller *c = calloc(1, sizeof(*c));

	if (!c)
		return;
	c->m = m;
	c->sock = (struct loop_fd){ .fd = steal_fd(&fd), .fn = caller_ready };
	list_add(&m->callers, &c->link);
	if (loop_watch(&m->loop, &c->sock, EPOLLIN) < 0)
		caller_free(c);
}

void guest_vsock_wish(struct monitor *m, const struct guest_vsock_wish *w)
{
	char name[40];

	snprintf(name, sizeof(name), GUEST_VSOCK "_%u", w->port);
	cleanup_fd int fd = sock_stream_connect_at(m->dir, name);

	order(m, GUEST_ORDER_VSOCK_ANSWER, w->id, fd);
}

int guest_vsock_listen(struct monitor *m, struct err *e)
{
	if (!m->args->machine->vsock)
		return 0;
	int fd = sock_stream_listen_at(m->dir, GUEST_VSOCK);

	if (fd < 0)
		return err_sys(e, fd, "monitor: " GUEST_VSOCK);
	m->vsock = (struct loop_fd){ .fd = fd, .fn = caller_came };
	int r = loop_watch(&m->loop, &m->vsock, EPOLLIN);

	return r < 0 ? err_sys(e, r, "monitor: event loop") : 0;
}

void guest_vsock_fini(struct monitor *m)
{
	if (m->vsock.fd < 0)
		return;
	close_fd(&m->vsock.fd);
	unlinkat(m->dir, GUEST_VSOCK, 0);
}
