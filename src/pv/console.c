/*
 * Consoles: byte pipes between the guest and two descriptors.
 *
 * Tour stop 14: a ring. Guest and host share a page with two small circular buffers; each side owns one index of
 * each and tells the other with an event. Console 0 is the kernel's from its first line; the others are found by
 * the guest's driver through xenstore and become /dev/hvc1 and so on. Flow control is natural: what the reader of
 * `out` does not take stays in the ring and the guest waits; `in` is read only while the ring has room.
 *
 * Trust: indices are the guest's and are read once; a difference larger than the buffer is a broken ring, and the
 * console is cut off with a reason. Threads: the device loop's; pv_console_write also vCPUs'. #syscalls: read write
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "pv/domain.h"

#define IN_SIZE	 1024u
#define OUT_SIZE 2048u

static struct xen_console_ring *ring_of(struct pv_console *c)
{
	return c->ring.v ? memory_at(&c->d->mem, c->ring, sizeof(struct xen_console_ring)) : NULL;
}

static const struct pv_console_config *config_of(const struct pv_console *c)
{
	return &c->d->config.console[c->index];
}

static void cut_off(struct pv_console *c, const char *why)
{
	c->broken = why;
	pv_complain(c->d, "console %u was cut off: %s", c->index, why);
	loop_unwatch(&c->d->loop, &c->in);
	loop_unwatch(&c->d->loop, &c->out);
	loop_unwatch(&c->d->loop, &c->ring_event);
}

static void watch(struct pv_console *c, struct loop_fd *s, bool *watched, bool want,
		  uint32_t events)
{
	if (want == *watched || s->fd < 0)
		return;
	if (!want)
		loop_unwatch(&c->d->loop, s);
	else if (loop_watch(&c->d->loop, s, events) < 0)
		return;
	*watched = want;
}

/* Guest to host. True when something was taken. */
static bool move_out(struct pv_console *c, struct xen_console_ring *r)
{
	uint32_t prod = __atomic_load_n(&r->out_prod, __ATOMIC_ACQUIRE);
	uint32_t cons = __atomic_load_n(&r->out_cons, __ATOMIC_RELAXED);
	char b[OUT_SIZE];
	bool moved = false, full = false;

	if (prod - cons > OUT_SIZE) {
		cut_off(c, "its output indices are more than a ring apart");
		return false;
	}
	while (prod != cons && !full) {
		uint32_t n = MIN(prod - cons, OUT_SIZE - cons % OUT_SIZE);
		ssize_t w = n;

		memcpy(b, r->out + cons % OUT_SIZE, n);
		if (config_of(c)->out >= 0)
			w = write(config_of(c)->out, b, n);
		if (w < 0 && errno == EINTR)
			continue;
		full = w < 0 && errno == EAGAIN;
		if (w < 0 && !full)
			w = n; /* nobody reads any more: drop it */
		if (w > 0) {
			cons += (uint32_t)w;
			moved = true;
			__atomic_store_n(&r->out_cons, cons, __ATOMIC_RELEASE);
		}
	}
	watch(c, &c->out, &c->out_watched, full, EPOLLOUT);
	return moved;
}

/* Host to guest: one read when `readable`, else only whether to wait for bytes. True when some were given. */
static bool move_in(struct pv_console *c, struct xen_console_ring *r, bool readable)
{
	uint32_t cons = __atomic_load_n(&r->in_cons, __ATOMIC_ACQUIRE);
	uint32_t prod = __atomic_load_n(&r->in_prod, __ATOMIC_RELAXED);
	char b[IN_SIZE];

	if (prod - cons > IN_SIZE) {
		cut_off(c, "its input indices are more than a ring apart");
		return false;
	}
	uint32_t n = MIN(IN_SIZE - (prod - cons), IN_SIZE - prod % IN_SIZE);

	watch(c, &c->in, &c->in_watched, n > 0 && !c->in_ended, EPOLLIN);
	if (!n || !readable || c->in_ended)
		return false;
	ssize_t got = read(config_of(c)->in, b, n);

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (got <= 0) {
		c->in_ended = true;
		watch(c, &c->in, &c->in_watched, false, 0);
		return false;
	}
	memcpy(r->in + prod % IN_SIZE, b, (size_t)got);
	__atomic_store_n(&r->in_prod, prod + (uint32_t)got, __ATOMIC_RELEASE);
	return true;
}

static void move_both(struct pv_console *c, bool readable)
{
	struct xen_console_ring *r = ring_of(c);

	if (!r || c->broken)
		return;
	bool moved = move_out(c, r);

	if (!c->broken)
		moved |= move_in(c, r, readable);
	if (moved)
		pv_event_raise(c->d, c->port);
}

static void on_in(struct loop_fd *s, uint32_t events)
{
	(void)events;
	move_both(container_of(s, struct pv_console, in), true);
}

static void on_out(struct loop_fd *s, uint32_t events)
{
	(void)events;
	move_both(container_of(s, struct pv_console, out), false);
}

static void on_ring(struct loop_fd *s, uint32_t events)
{
	struct pv_console *c = container_of(s, struct pv_console, ring_event);
	uint64_t n;

	(void)events;
	if (read(s->fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
		return;
	move_both(c, false);
}

void pv_console_connect(struct pv_console *c, gpa_t ring, uint32_t port)
{
	c->ring = ring;
	c->port = port;
	if (c->bell.fd < 0) {
		pv_bell_open(c->d, &c->bell, port);
		c->ring_event = (struct loop_fd){ .fd = c->bell.fd, .fn = on_ring };
		if (c->bell.fd >= 0)
			loop_watch(&c->d->loop, &c->ring_event, EPOLLIN);
	}
	c->in = (struct loop_fd){ .fd = config_of(c)->in, .fn = on_in };
	c->out = (struct loop_fd){ .fd = config_of(c)->out, .fn = on_out };
	c->in_ended = config_of(c)->in < 0;
	watch(c, &c->in, &c->in_watched, !c->in_ended, EPOLLIN);
	move_both(c, false);
}

int pv_console_init(struct pv_domain *d, unsigned index, struct err *e)
{
	struct pv_console *c = &d->console[index];

	(void)e;
	*c = (struct pv_console){ .d = d,
				  .index = index,
				  .bell = { .index = -1, .fd = -1 },
				  .in.fd = -1,
				  .out.fd = -1,
				  .ring_event.fd = -1 };
	if (index == 0)
		pv_console_connect(c, d->console_ring, PV_PORT_CONSOLE);
	return 0;
}

void pv_console_fini(struct pv_console *c)
{
	loop_unwatch(&c->d->loop, &c->in);
	loop_unwatch(&c->d->loop, &c->out);
	loop_unwatch(&c->d->loop, &c->ring_event);
	pv_bell_close(c->d, &c->bell);
}

void pv_console_write(struct pv_domain *d, const char *text, size_t n)
{
	char b[sizeof(((struct pv_vcpu_page *)NULL)->text)];

	n = MIN(n, sizeof(b));
	memcpy(b, text, n);
	if (d->config.console[0].out >= 0 && write(d->config.console[0].out, b, n) < 0) {
		/* Early messages of a kernel whose console nobody reads. */
	}
}

void pv_console_drain(struct pv_console *c)
{
	struct xen_console_ring *r = ring_of(c);

	if (r && !c->broken)
		move_out(c, r);
}
