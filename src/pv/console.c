/*
 * Consoles: byte pipes between the guest and two descriptors.
 *
 * Tour stop 14: a ring. Guest and host share a page with two small circular buffers; each side owns one index of
 * each and tells the other with an event. Console 0 is the kernel's from its first line; the others are found by
 * the guest's driver through xenstore and become /dev/hvc1 and so on. Flow control is natural: what the reader of
 * `out` does not take stays in the ring and the guest waits; `in` is read only while the ring has room.
 *
 * A line (wire/line.h) is the same with larger rings in pages that the agent grants: a console device moves 16 bytes
 * an event, a line 64 KB.
 *
 * Trust: indices are the guest's and are read once; a difference larger than the buffer is a broken ring, and the
 * console is cut off with a reason. Threads: the device loop's; pv_console_write also others'.
 * #syscalls(main): read write
 * #syscalls(vcpu,disk): write
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "pv/domain.h"

#define IN_SIZE	 1024u
#define OUT_SIZE 2048u

#define ROUNDS_MAX 64

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

/* The bytes at `index`, as far as they lie together. */
static uint8_t *span(const struct pv_ring *r, uint32_t index, uint32_t *n)
{
	uint32_t at = index & (r->size - 1), within = at & (r->piece - 1);

	*n = MIN(*n, r->piece - within);
	return r->at[at / r->piece] + within;
}

/* Guest to host. True when something was taken. */
static bool move_out(struct pv_console *c)
{
	const struct pv_ring *r = &c->from;
	uint32_t prod = __atomic_load_n(r->prod, __ATOMIC_ACQUIRE);
	uint32_t cons = __atomic_load_n(r->cons, __ATOMIC_RELAXED);
	bool moved = false, full = false;

	if (prod - cons > r->size) {
		cut_off(c, "its output indices are more than a ring apart");
		return false;
	}
	while (prod != cons && !full) {
		uint32_t n = prod - cons;
		const uint8_t *p = span(r, cons, &n);
		ssize_t w = config_of(c)->out >= 0 ? write(config_of(c)->out, p, n) : n;

		if (w < 0 && errno == EINTR)
			continue;
		full = w < 0 && errno == EAGAIN;
		if (w < 0 && !full)
			w = n; /* nobody reads any more: drop it */
		if (w > 0) {
			cons += (uint32_t)w;
			moved = true;
			__atomic_store_n(r->cons, cons, __ATOMIC_RELEASE);
		}
	}
	watch(c, &c->out, &c->out_watched, full, EPOLLOUT);
	return moved;
}

/* Host to guest: reads when `readable`, else only whether to wait for bytes. True when some were given. */
static bool move_in(struct pv_console *c, bool readable)
{
	const struct pv_ring *r = &c->to;
	uint32_t cons = __atomic_load_n(r->cons, __ATOMIC_ACQUIRE);
	uint32_t prod = __atomic_load_n(r->prod, __ATOMIC_RELAXED);

	if (prod - cons > r->size) {
		cut_off(c, "its input indices are more than a ring apart");
		return false;
	}
	uint32_t n = r->size - (prod - cons);

	watch(c, &c->in, &c->in_watched, n > 0 && !c->in_ended, EPOLLIN);
	if (!n || !readable || c->in_ended)
		return false;
	uint8_t *p = span(r, prod, &n);
	ssize_t got = read(config_of(c)->in, p, n);

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (got <= 0) {
		c->in_ended = true;
		watch(c, &c->in, &c->in_watched, false, 0);
		return false;
	}
	__atomic_store_n(r->prod, prod + (uint32_t)got, __ATOMIC_RELEASE);
	return true;
}

/* Whether the guest is to be told; a line says so itself. */
static bool guest_waits(struct pv_console *c)
{
	if (!c->guest_waits)
		return true;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_exchange_n(c->guest_waits, 0, __ATOMIC_SEQ_CST);
}

/* A line's guest sends an event only when we said that we wait. Says so, and looks once more: true when there is
 * something to do after all. */
static bool line_wait(struct pv_console *c)
{
	const struct pv_ring *from = &c->from, *to = &c->to;

	if (!c->host_waits)
		return false;
	__atomic_store_n(c->host_waits, 1, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!c->out_watched && __atomic_load_n(from->prod, __ATOMIC_RELAXED) !=
				       __atomic_load_n(from->cons, __ATOMIC_RELAXED))
		return true;
	return !c->in_watched && !c->in_ended &&
	       __atomic_load_n(to->prod, __ATOMIC_RELAXED) -
			       __atomic_load_n(to->cons, __ATOMIC_RELAXED) <
		       to->size;
}

static void move_both(struct pv_console *c, bool readable)
{
	bool moved = false, again = true;
	uint64_t one = 1;
	int rounds = 0;

	while (again && c->connected && !c->broken && rounds++ < ROUNDS_MAX) {
		again = move_out(c);
		if (!c->broken && move_in(c, readable))
			again = true;
		moved |= again;
		if (!c->host_waits) { /* a console's events come by themselves */
			again = false;
		} else if (!again && !c->broken) {
			again = line_wait(c);
		}
	}
	if (moved && guest_waits(c))
		pv_event_raise(c->d, c->port);
	/* A guest that never stops is one of several things to do. */
	if (again && !c->broken && c->bell.fd >= 0 && write(c->bell.fd, &one, sizeof(one)) < 0)
		return; /* full: it is readable already */
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

/* The rings are known: from now on bytes move. */
static void connected(struct pv_console *c, uint32_t port)
{
	c->connected = true;
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

void pv_console_connect(struct pv_console *c, gpa_t ring, uint32_t port)
{
	struct xen_console_ring *r = memory_at(&c->d->mem, ring, sizeof(*r));

	if (!r)
		return;
	c->from = (struct pv_ring){
		&r->out_prod, &r->out_cons, OUT_SIZE, OUT_SIZE, { (uint8_t *)r->out }
	};
	c->to = (struct pv_ring){
		&r->in_prod, &r->in_cons, IN_SIZE, IN_SIZE, { (uint8_t *)r->in }
	};
	connected(c, port);
}

int pv_line_connect(struct pv_console *c, gpa_t header, uint32_t port)
{
	struct line_header *h = memory_at(&c->d->mem, header, sizeof(*h));

	if (!h || __atomic_load_n(&h->version, __ATOMIC_ACQUIRE) != LINE_VERSION)
		return -EACCES;
	c->from = (struct pv_ring){ &h->out.prod, &h->out.cons, LINE_BYTES, LINE_PAGE, { NULL } };
	c->to = (struct pv_ring){ &h->in.prod, &h->in.cons, LINE_BYTES, LINE_PAGE, { NULL } };
	for (unsigned i = 0; i < 2 * LINE_PAGES; i++) {
		uint8_t *page = pv_grant_page(c->d, __atomic_load_n(&h->grant[i], __ATOMIC_RELAXED),
					      true);

		if (!page)
			return -EACCES;
		*(i < LINE_PAGES ? &c->from.at[i] : &c->to.at[i - LINE_PAGES]) = page;
	}
	c->guest_waits = &h->guest_waits;
	c->host_waits = &h->host_waits;
	connected(c, port);
	return 0;
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
	if (c->connected && !c->broken)
		move_out(c);
}
