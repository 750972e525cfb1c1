/*
 * Lines of a pv guest (wire/line.h): a byte pipe to the host in pages that we grant to it.
 *
 * The kernel's drivers for user space make the pages (gntalloc) and the event channel (evtchn); their numbers go to
 * the host through xenstore. A process of its own moves bytes between the rings and a socket, so that the rest of
 * the agent reads and writes a descriptor like any other.
 *
 * Trust: the host is trusted. Threads: none; one process a line.
 * #syscalls: open ioctl mmap read write poll fork socketpair
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* The kernel's header uses this name without defining it. */
typedef unsigned short domid_t;
#include <xen/evtchn.h>
#include <xen/gntalloc.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "wire/line.h"
#include "wire/xen.h"

struct line {
	struct line_header *h;
	uint8_t *out, *in; /* LINE_BYTES each */
	int events;	   /* /dev/xen/evtchn, bound */
	uint32_t port;
	int sock;
	bool sock_full;
};

/* Grants the pages; the descriptor stays open as long as they are granted. 0 or -errno. */
static int make_pages(struct line *l, uint32_t *ref, struct err *e)
{
	struct {
		struct ioctl_gntalloc_alloc_gref a;
		uint32_t more[LINE_GRANTS - 1];
	} g = { .a = { .domid = 0, .flags = GNTALLOC_FLAG_WRITABLE, .count = LINE_GRANTS } };
	int fd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, &g) < 0)
		return err_sys(e, -errno, "guest: pages for a line");
	uint8_t *p = mmap(NULL, LINE_GRANTS * LINE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			  (off_t)g.a.index);

	if (p == MAP_FAILED)
		return err_sys(e, -errno, "guest: pages for a line");
	const uint32_t *refs = g.a.gref_ids;

	l->h = (struct line_header *)(void *)p;
	l->out = p + LINE_PAGE;
	l->in = l->out + LINE_BYTES;
	for (unsigned i = 0; i < 2 * LINE_PAGES; i++)
		l->h->grant[i] = refs[i + 1];
	l->h->version = LINE_VERSION;
	*ref = refs[0];
	return 0;
}

static int make_port(struct line *l, struct err *e)
{
	struct ioctl_evtchn_bind_unbound_port bind = { .remote_domain = 0 };

	l->events = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int port = l->events < 0 ? -1 : ioctl(l->events, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind);

	if (port <= 0)
		return err_sys(e, -errno, "guest: event channel of a line");
	l->port = (uint32_t)port;
	return 0;
}

/* One xenstore write, and its answer. */
static int store_put(int store, unsigned n, const char *name, uint32_t value, struct err *e)
{
	struct {
		struct xen_store_msg m;
		char text[100];
	} rq = { .m = { .type = XS_WRITE } };
	int path = snprintf(rq.text, sizeof(rq.text), "data/line/%u/%s", n, name) + 1;

	rq.m.len = (uint32_t)(path + snprintf(rq.text + path, sizeof(rq.text) - (size_t)path, "%u",
					      value));
	int r = write_full(store, &rq, sizeof(rq.m) + rq.m.len);

	if (r == 0 && read_full(store, &rq.m, sizeof(rq.m)) != sizeof(rq.m))
		r = -EIO;
	if (r == 0 &&
	    (rq.m.len > sizeof(rq.text) ||
	     read_full(store, rq.text, rq.m.len) != (ssize_t)rq.m.len || rq.m.type == XS_ERROR))
		r = -EIO;
	return r < 0 ? err_sys(e, r, "guest: xenstore 'data/line/%u/%s'", n, name) : 0;
}

static int announce(const struct line *l, unsigned n, uint32_t ref, struct err *e)
{
	cleanup_fd int store = open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC);

	if (store < 0)
		return err_sys(e, -errno, "guest: /dev/xen/xenbus");
	int r = store_put(store, n, "ref", ref, e);

	return r < 0 ? r : store_put(store, n, "port", l->port, e);
}

static uint32_t load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* Up to two pieces: from `index`, `n` bytes of a ring. */
static int pieces(uint8_t *ring, uint32_t index, uint32_t n, struct iovec v[2])
{
	uint32_t at = index % LINE_BYTES, first = MIN(n, LINE_BYTES - at);

	v[0] = (struct iovec){ ring + at, first };
	v[1] = (struct iovec){ ring, n - first };
	return n > first ? 2 : 1;
}

static uint32_t room(const struct line *l)
{
	return LINE_BYTES - (l->h->out.prod - load(&l->h->out.cons));
}

static uint32_t waiting(const struct line *l)
{
	return load(&l->h->in.prod) - l->h->in.cons;
}

/* Socket to host. True when bytes moved. */
static bool move_out(struct line *l)
{
	uint32_t n = room(l);
	struct iovec v[2];
	ssize_t r = n ? readv(l->sock, v, pieces(l->out, l->h->out.prod, n, v)) : -1;

	if (r == 0)
		_exit(0);
	if (r > 0)
		__atomic_store_n(&l->h->out.prod, l->h->out.prod + (uint32_t)r, __ATOMIC_RELEASE);
	return r > 0;
}

/* Host to socket. */
static bool move_in(struct line *l)
{
	uint32_t n = waiting(l);
	struct iovec v[2];
	ssize_t r = n ? writev(l->sock, v, pieces(l->in, l->h->in.cons, n, v)) : 0;

	l->sock_full = r < 0 && errno == EAGAIN;
	if (r < 0 && !l->sock_full && errno != EINTR)
		_exit(0);
	if (r > 0)
		__atomic_store_n(&l->h->in.cons, l->h->in.cons + (uint32_t)r, __ATOMIC_RELEASE);
	return r > 0;
}

static void tell_host(struct line *l)
{
	struct ioctl_evtchn_notify notify = { .port = l->port };

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&l->h->host_waits, 0, __ATOMIC_SEQ_CST))
		ioctl(l->events, IOCTL_EVTCHN_NOTIFY, &notify);
}

static void sleep_until_event(struct line *l, bool was_full)
{
	struct pollfd fds[2] = {
		{ .fd = l->sock,
		  .events = (short)((was_full ? 0 : POLLIN) | (l->sock_full ? POLLOUT : 0)) },
		{ .fd = l->events, .events = POLLIN },
	};
	uint32_t port;

	__atomic_store_n(&l->h->guest_waits, 1, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if ((waiting(l) && !l->sock_full) || (was_full && room(l)))
		return;
	if (poll(fds, 2, -1) > 0 && fds[1].revents &&
	    read(l->events, &port, sizeof(port)) == sizeof(port) &&
	    write(l->events, &port, sizeof(port)) < 0) /* unmasks it */
		_exit(1);
}

static void __attribute__((noreturn)) line_run(struct line *l)
{
	prctl(PR_SET_NAME, "warren-line");
	for (;;) {
		bool was_full = !room(l);
		bool moved = move_out(l);

		moved |= move_in(l);
		if (moved)
			tell_host(l);
		else
			sleep_until_event(l, was_full);
	}
}

int line_open(unsigned n, struct err *e)
{
	struct line l = { .events = -1 };
	uint32_t ref = 0;
	int sock[2];
	int r = make_pages(&l, &ref, e);

	if (r == 0)
		r = make_port(&l, e);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sock) < 0)
		return err_sys(e, -errno, "guest: socket of a line");
	l.sock = sock[1];
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(e, -errno, "guest: fork");
	if (pid == 0) {
		close(sock[0]);
		line_run(&l);
	}
	close(sock[1]);
	close(l.events);
	r = announce(&l, n, ref, e);
	if (r < 0) {
		close(sock[0]);
		return r;
	}
	return sock[0];
}
