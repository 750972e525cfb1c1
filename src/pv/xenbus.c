/*
 * xenbus: the guest's xenstore connection and the states of its devices.
 *
 * Tour stop 15: how a driver finds its device. For each device the host writes two directories, the front end's
 * and the back end's, each with the other's path and a state. The guest's driver grants a ring page, takes an
 * event channel, writes both numbers and sets its state to Initialised; the host connects the back end and says
 * Connected. All of it goes through one shared page of two byte rings.
 *
 * Trust: ring indices, lengths and every message are the guest's. A message longer than the protocol allows, or
 * indices that are more than a ring apart, end the connection with a reason; replies that the guest does not
 * fetch stop its requests. Threads: the device loop's; pv_event_sent vCPUs'.
 * #syscalls(main): read write
 * #syscalls(vcpu): write
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "pv/blkring.h"
#include "pv/domain.h"

#define GUEST	    "/local/domain/1"
#define HOST	    "/local/domain/0"
#define RING	    1024u
#define BACKLOG	    (64u << 10) /* unfetched replies that stop requests */
#define BACKLOG_MAX (1u << 20)	/* more cannot arise from what was let in */

#define ROUNDS_MAX 64 /* of both rings in one go: then others have their turn */

#define RECHECK_NS     1000000ull
#define RECHECK_MAX_NS 1000000000ull

#define XVD_MAJOR_BASE (202u << 8)
#define XVD_MINORS     16u

static __attribute__((format(printf, 3, 4))) void put(struct pv_domain *d, const char *value,
						      const char *fmt, ...)
{
	char path[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	store_write(d->store, path, value, &d->store_out);
}

static void put_u64(struct pv_domain *d, uint64_t value, const char *dir, const char *name)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	put(d, text, "%s/%s", dir, name);
}

/* A number below `limit` that the guest wrote; 0 when it is none. */
static uint32_t get(struct pv_domain *d, const char *dir, const char *name, uint32_t limit)
{
	char path[160];
	uint64_t v;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	const char *text = store_read(d->store, path);

	return text && !str_to_u64(text, &v) && v < limit ? (uint32_t)v : 0;
}

/* Both directories of a device, and their common part. */
static void add_device(struct pv_domain *d, const char *kind, unsigned id, char *front, char *back,
		       size_t size)
{
	snprintf(front, size, GUEST "/device/%s/%u", kind, id);
	snprintf(back, size, HOST "/backend/%s/1/%u", kind, id);
	put(d, front, "%s/frontend", back);
	put(d, "1", "%s/frontend-id", back);
	put(d, "1", "%s/online", back);
	put_u64(d, XENBUS_INIT_WAIT, back, "state");
	put(d, back, "%s/backend", front);
	put(d, "0", "%s/backend-id", front);
	put_u64(d, XENBUS_INITIALISING, front, "state");
}

/* xvda.. by name, else by position. */
static unsigned disk_id(const struct pv_domain *d, unsigned index)
{
	const char *name = d->config.disk[index].name;
	unsigned at = index;

	if (name && !strncmp(name, "xvd", 3) && name[3] >= 'a' && name[3] <= 'p' && !name[4])
		at = (unsigned)(name[3] - 'a');
	return XVD_MAJOR_BASE + at * XVD_MINORS;
}

static void add_disk(struct pv_domain *d, unsigned index)
{
	const struct block *b = d->config.disk[index].block;
	char front[80], back[80];
	unsigned id = disk_id(d, index);

	add_device(d, "vbd", id, front, back, sizeof(front));
	put_u64(d, id, front, "virtual-device");
	put(d, "disk", "%s/device-type", front);
	put_u64(d, b->size / BLOCK_SECTOR, back, "sectors");
	put_u64(d, BLOCK_SECTOR, back, "sector-size");
	put_u64(d, b->read_only ? 4 : 0, back, "info");
	put(d, b->read_only ? "r" : "w", "%s/mode", back);
	put(d, "1", "%s/feature-flush-cache", back);
	put(d, "1", "%s/feature-persistent", back);
	put_u64(d, BLKRING_SEGMENTS_MAX, back, "feature-max-indirect-segments");
	if (b->can_discard && !b->read_only) {
		put(d, "1", "%s/feature-discard", back);
		put(d, "4096", "%s/discard-granularity", back);
		put(d, "0", "%s/discard-alignment", back);
	}
}

static void set_back_state(struct pv_domain *d, const char *kind, unsigned id, unsigned state)
{
	char back[80];

	snprintf(back, sizeof(back), HOST "/backend/%s/1/%u", kind, id);
	put_u64(d, state, back, "state");
}

static void disk_changed(struct pv_domain *d, unsigned index, const char *front)
{
	unsigned id = disk_id(d, index);

	switch (get(d, front, "state", 16)) {
	case XENBUS_INITIALISED:
	case XENBUS_CONNECTED:
		if (pv_blk_connect(d->blk[index], get(d, front, "ring-ref", UINT32_MAX),
				   get(d, front, "event-channel", XEN_PORTS)) == 0)
			set_back_state(d, "vbd", id, XENBUS_CONNECTED);
		break;
	case XENBUS_CLOSING:
		set_back_state(d, "vbd", id, XENBUS_CLOSING);
		break;
	case XENBUS_CLOSED:
		pv_blk_disconnect(d->blk[index]);
		set_back_state(d, "vbd", id, XENBUS_CLOSED);
		break;
	case XENBUS_INITIALISING:
		set_back_state(d, "vbd", id, XENBUS_INIT_WAIT);
		break;
	}
}

static void console_changed(struct pv_domain *d, unsigned index, const char *front)
{
	struct pv_console *c = &d->console[index];
	gpa_t ring;

	if (get(d, front, "state", 16) != XENBUS_INITIALISED || c->connected)
		return;
	uint32_t port = get(d, front, "port", XEN_PORTS);

	if (!port || pv_grant_gpa(d, get(d, front, "ring-ref", UINT32_MAX), true, &ring)) {
		pv_complain(d, "console %u: its ring is not granted", index);
		return;
	}
	pv_console_connect(c, ring, port);
	set_back_state(d, "console", index, XENBUS_CONNECTED);
}

/* The agent wrote the port of a line, and its grant before. */
static void line_changed(struct pv_domain *d, unsigned index)
{
	struct pv_console *c = &d->console[index];
	char dir[80];
	gpa_t header;

	if (c->connected)
		return;
	snprintf(dir, sizeof(dir), GUEST "/data/line/%u", index);
	uint32_t port = get(d, dir, "port", XEN_PORTS);

	if (!port || pv_grant_gpa(d, get(d, dir, "ref", UINT32_MAX), true, &header) ||
	    pv_line_connect(c, header, port))
		pv_complain(d, "line %u: its pages are not granted", index);
}

/* The guest changed `path`: only states of its devices matter here. */
static void changed(void *arg, const char *path)
{
	struct pv_domain *d = arg;
	char front[80];

	for (unsigned i = 0; i < d->config.disks; i++) {
		snprintf(front, sizeof(front), GUEST "/device/vbd/%u", disk_id(d, i));
		const char *rest = str_after(path, front);

		if (d->blk[i] && rest && streq(rest, "/state"))
			disk_changed(d, i, front);
	}
	for (unsigned i = 1; i < d->config.consoles; i++) {
		bool line = d->config.console[i].line;

		snprintf(front, sizeof(front),
			 line ? GUEST "/data/line/%u" : GUEST "/device/console/%u", i);
		const char *rest = str_after(path, front);

		if (rest && line && streq(rest, "/port"))
			line_changed(d, i);
		else if (rest && !line && streq(rest, "/state"))
			console_changed(d, i, front);
	}
}

static void cut_off(struct pv_domain *d, const char *why)
{
	pv_complain(d, "xenstore was cut off: %s", why);
	loop_disarm(&d->store_recheck);
	loop_unwatch(&d->loop, &d->store_event);
	d->store_ring = GPA(0);
}

/* The guest looks at our index after it has moved its own, and notifies us only if the ring was empty or full. So
 * ours must be seen before we look at the guest's again. */
static void publish(uint32_t *index, uint32_t value)
{
	__atomic_store_n(index, value, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* As much as the ring has room for. True when bytes moved; false also when the ring is broken. */
static bool move_replies(struct pv_domain *d, struct xen_store_ring *r)
{
	uint32_t prod = __atomic_load_n(&r->rsp_prod, __ATOMIC_RELAXED);
	uint32_t cons = __atomic_load_n(&r->rsp_cons, __ATOMIC_ACQUIRE);
	bool moved = false;

	if (prod - cons > RING) {
		cut_off(d, "its reply indices are more than a ring apart");
		return false;
	}
	while (d->store_out.len && prod - cons < RING) {
		uint32_t n = MIN(RING - (prod - cons), RING - prod % RING);

		n = MIN(n, (uint32_t)d->store_out.len);
		memcpy(r->rsp + prod % RING, d->store_out.data, n);
		buf_consume(&d->store_out, n);
		prod += n;
		moved = true;
	}
	publish(&r->rsp_prod, prod);
	return moved;
}

static bool move_requests(struct pv_domain *d, struct xen_store_ring *r)
{
	uint32_t prod = __atomic_load_n(&r->req_prod, __ATOMIC_ACQUIRE);
	uint32_t cons = __atomic_load_n(&r->req_cons, __ATOMIC_RELAXED);
	bool moved = false;

	if (prod - cons > RING) {
		cut_off(d, "its request indices are more than a ring apart");
		return false;
	}
	while (prod != cons && d->store_in.len < d->store_in.max) {
		uint32_t n = MIN(prod - cons, RING - cons % RING);

		n = MIN(n, (uint32_t)(d->store_in.max - d->store_in.len));
		if (buf_add(&d->store_in, r->req + cons % RING, n))
			break;
		cons += n;
		moved = true;
	}
	publish(&r->req_cons, cons);
	return moved;
}

/* Whole messages that have arrived. */
static void serve(struct pv_domain *d)
{
	struct xen_store_msg m;

	while (d->store_ring.v && d->store_in.len >= sizeof(m) && d->store_out.len < BACKLOG) {
		memcpy(&m, d->store_in.data, sizeof(m));
		if (m.len > XEN_STORE_PAYLOAD_MAX) {
			cut_off(d, "a message longer than the protocol allows");
			return;
		}
		if (d->store_in.len < sizeof(m) + m.len)
			return;
		store_request(d->store, &m, (const uint8_t *)d->store_in.data + sizeof(m),
			      &d->store_out);
		buf_consume(&d->store_in, sizeof(m) + m.len);
	}
}

static void exchange(struct pv_domain *d)
{
	bool moved = false, any = false;
	uint64_t one = 1;
	int rounds = 0;

	do {
		struct xen_store_ring *r = d->store_ring.v
						   ? memory_at(&d->mem, d->store_ring, sizeof(*r))
						   : NULL;

		if (!r)
			break;
		moved = d->store_out.len < BACKLOG && move_requests(d, r);
		if (d->store_ring.v)
			serve(d);
		if (d->store_ring.v)
			moved |= move_replies(d, r);
		any |= moved;
	} while (moved && ++rounds < ROUNDS_MAX);
	if (any) {
		pv_event_raise(d, PV_PORT_STORE);
		d->store_recheck_ns = RECHECK_NS;
	}
	/* Linux decides whether to notify us before its own index is sure to be seen, so that a message which
	 * crosses our look may come without an event: look again a little later, and while half a message
	 * waits, at growing distances. */
	if (d->store_ring.v && (any || (d->store_in.len && d->store_recheck_ns < RECHECK_MAX_NS))) {
		loop_arm(&d->loop, &d->store_recheck, d->store_recheck_ns);
		d->store_recheck_ns *= 2;
	}
	/* A guest that feeds us as fast as we eat comes again after the others. */
	if (d->store_ring.v && moved && write(d->store_bell.fd, &one, sizeof(one)) < 0)
		return; /* full: it is readable already */
}

static void on_recheck(struct loop_timer *t)
{
	exchange(container_of(t, struct pv_domain, store_recheck));
}

static void on_store(struct loop_fd *s, uint32_t events)
{
	uint64_t n;

	(void)events;
	if (read(s->fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
		return;
	exchange(container_of(s, struct pv_domain, store_event));
}

void pv_event_sent(struct pv_domain *d, uint32_t port)
{
	uint64_t one = 1;
	int fd = -1;

	/* Only when doorbells ran out: hand it to the thread that the doorbell would have woken. */
	if (port == PV_PORT_STORE)
		fd = d->store_bell.fd;
	for (unsigned i = 0; i < d->config.consoles && fd < 0; i++)
		if (d->console[i].port == port)
			fd = d->console[i].bell.fd;
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0) {
		/* Full: it is readable already. */
	}
}

int pv_ask_shutdown(struct pv_domain *d, const char *how)
{
	int r = store_write(d->store, GUEST "/control/shutdown", how, &d->store_out);

	if (!r)
		exchange(d);
	return r;
}

int pv_xenbus_init(struct pv_domain *d, struct err *e)
{
	char front[80], back[80];

	buf_init(&d->store_in, sizeof(struct xen_store_msg) + XEN_STORE_PAYLOAD_MAX);
	buf_init(&d->store_out, BACKLOG_MAX);
	d->store = store_new(GUEST, changed, d);
	if (!d->store)
		return err_set(e, -ENOMEM, "xenstore: out of memory");
	put(d, "1", GUEST "/domid");
	put(d, "guest", GUEST "/name");
	put(d, "", GUEST "/control/shutdown");
	put_u64(d, d->ram / 1024, GUEST, "memory/target");
	for (unsigned i = 0; i < d->config.disks; i++)
		add_disk(d, i);
	for (unsigned i = 1; i < d->config.consoles; i++)
		if (!d->config.console[i].line)
			add_device(d, "console", i, front, back, sizeof(front));
	put(d, "", GUEST "/data");
	d->store_recheck.fn = on_recheck;
	pv_bell_open(d, &d->store_bell, PV_PORT_STORE);
	if (d->store_bell.fd < 0)
		return err_sys(e, -errno, "xenstore: eventfd");
	d->store_event = (struct loop_fd){ .fd = d->store_bell.fd, .fn = on_store };
	int r = loop_watch(&d->loop, &d->store_event, EPOLLIN);

	return r ? err_sys(e, r, "xenstore: the event loop") : 0;
}

void pv_xenbus_fini(struct pv_domain *d)
{
	if (!d->store)
		return;
	loop_unwatch(&d->loop, &d->store_event);
	loop_disarm(&d->store_recheck);
	pv_bell_close(d, &d->store_bell);
	store_free(d->store);
	buf_fini(&d->store_in);
	buf_fini(&d->store_out);
	d->store = NULL;
}
