/*
 * The hostile guest's driver of its first disk, whose sectors must each begin with their own number (32 bits) and be
 * SECTORS many.
 */
#include <stdbool.h>

#include "hostile.h"

#define DIR	"/local/domain/1/device/vbd/51712/"
#define SECTORS 256u
#define SLOTS	32u

enum { REF_RING = 8, REF_DATA, REF_READ_ONLY, REF_BEYOND, REF_SEGMENTS, REF_NONE = 500 };

static uint8_t ring_page[4096] __attribute__((aligned(4096)));
static uint8_t data[4096] __attribute__((aligned(4096)));
static uint8_t segments[4096] __attribute__((aligned(4096)));
static uint32_t port, produced;

static void grant(unsigned ref, uint64_t frame, uint16_t flags)
{
	volatile struct xen_grant_entry *g = (struct xen_grant_entry *)(PV_HV + HV_GRANTS) + ref;

	g->domid = 0;
	g->frame = (uint32_t)frame;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	g->flags = flags;
}

static uint64_t frame_of(const void *p)
{
	return ((uint64_t)p - BASE) >> 12;
}

static struct xen_ring_head *head(void)
{
	return (struct xen_ring_head *)ring_page;
}

/* Sleeps a little, at most: time goes on with each call. */
static void nap(void)
{
	static uint64_t until;
	static uint32_t never = 7;
	struct xen_sched_poll p = { .ports = (uint64_t)&never, .nr_ports = 1 };

	p.timeout = until += 1000000;
	hypercall(XEN_SCHED_OP, SCHEDOP_POLL, (uint64_t)&p, 0, 0, 0);
}

static void store_write(const char *name, unsigned value)
{
	struct xen_store_ring *r = (struct xen_store_ring *)(BASE + (si->store_mfn << 12));
	char b[80] = DIR, digits[12];
	unsigned n = sizeof(DIR) - 1, k = 0;

	while (*name)
		b[n++] = *name++;
	b[n++] = 0;
	do
		digits[k++] = (char)('0' + value % 10);
	while (value /= 10);
	while (k)
		b[n++] = digits[--k];
	put_message(r, XS_WRITE, b, n, n);
	for (unsigned i = 0;
	     i < 5000 && __atomic_load_n(&r->req_cons, __ATOMIC_SEQ_CST) != r->req_prod; i++)
		nap();
	r->rsp_cons = r->rsp_prod;
}

static void connect(bool granted)
{
	struct xen_evtchn_alloc_unbound u = { .dom = XEN_DOMID_SELF };

	hypercall(XEN_EVENT_CHANNEL_OP, EVTCHNOP_ALLOC_UNBOUND, (uint64_t)&u, 0, 0, 0);
	port = u.port;
	if (granted)
		grant(REF_RING, frame_of(ring_page), XEN_GTF_PERMIT_ACCESS);
	grant(REF_DATA, frame_of(data), XEN_GTF_PERMIT_ACCESS);
	grant(REF_READ_ONLY, frame_of(data), XEN_GTF_PERMIT_ACCESS | XEN_GTF_READONLY);
	grant(REF_BEYOND, 0xfffffff0, XEN_GTF_PERMIT_ACCESS);
	grant(REF_SEGMENTS, frame_of(segments), XEN_GTF_PERMIT_ACCESS);
	store_write("ring-ref", REF_RING);
	store_write("event-channel", port);
	store_write("state", XENBUS_INITIALISED);
}

static struct xen_blk_response *response(uint32_t number)
{
	union xen_blk_slot *slots = (union xen_blk_slot *)(ring_page +
							   sizeof(struct xen_ring_head));

	return &slots[number % SLOTS].response;
}

static void push(const union xen_blk_slot *q)
{
	union xen_blk_slot *slots = (union xen_blk_slot *)(ring_page +
							   sizeof(struct xen_ring_head));

	slots[produced++ % SLOTS] = *q;
	__atomic_store_n(&head()->req_prod, produced, __ATOMIC_SEQ_CST);
}

/* The status of the newest request; 99: there was no answer. */
static long answer(void)
{
	send(port);
	for (unsigned i = 0; i < 5000; i++) {
		if (__atomic_load_n(&head()->rsp_prod, __ATOMIC_SEQ_CST) == produced)
			return response(produced - 1)->status;
		nap();
	}
	return 99;
}

static union xen_blk_slot transfer(unsigned op, uint64_t sector, uint32_t ref, unsigned first,
				   unsigned last)
{
	union xen_blk_slot q = { .rw = { .op = (uint8_t)op, .segments = 1, .sector = sector } };

	q.rw.seg[0] = (struct xen_blk_segment){ ref, (uint8_t)first, (uint8_t)last, 0 };
	return q;
}

static union xen_blk_slot indirect(unsigned op, unsigned n, uint32_t ref)
{
	union xen_blk_slot q = { .indirect = { .op = XEN_BLK_INDIRECT,
					       .indirect_op = (uint8_t)op,
					       .segments = (uint16_t)n } };

	for (unsigned i = 0; i < XEN_BLK_INDIRECT_PAGES; i++)
		q.indirect.gref[i] = ref;
	return q;
}

static union xen_blk_slot discard(uint64_t sector, uint64_t sectors)
{
	return (union xen_blk_slot){
		.discard = { .op = XEN_BLK_DISCARD, .sector = sector, .sectors = sectors }
	};
}

static bool reads_well(uint64_t sector)
{
	union xen_blk_slot q = transfer(XEN_BLK_READ, sector, REF_DATA, 0, 0);
	uint32_t found;

	push(&q);
	if (answer() != 0)
		return false;
	memcpy(&found, data, sizeof(found));
	return found == sector;
}

static union xen_blk_slot counted(union xen_blk_slot q, unsigned n)
{
	q.rw.segments = (uint8_t)n;
	return q;
}

void blk_requests(void)
{
	const struct {
		const char *what;
		union xen_blk_slot q;
	} bad[] = {
		{ "unknown operation: ", transfer(99, 0, REF_DATA, 0, 7) },
		{ "no segment: ", counted(transfer(XEN_BLK_WRITE, 0, REF_DATA, 0, 7), 0) },
		{ "too many segments: ", counted(transfer(XEN_BLK_WRITE, 0, REF_DATA, 0, 7), 12) },
		{ "grant beyond the table: ", transfer(XEN_BLK_WRITE, 0, ~0u, 0, 7) },
		{ "no grant: ", transfer(XEN_BLK_WRITE, 0, REF_NONE, 0, 7) },
		{ "grant of no memory: ", transfer(XEN_BLK_READ, 0, REF_BEYOND, 0, 7) },
		{ "read into a read-only grant: ", transfer(XEN_BLK_READ, 0, REF_READ_ONLY, 0, 7) },
		{ "end before the start: ", transfer(XEN_BLK_WRITE, 0, REF_DATA, 5, 4) },
		{ "beyond the page: ", transfer(XEN_BLK_READ, 0, REF_DATA, 0, 8) },
		{ "far beyond the page: ", transfer(XEN_BLK_READ, 0, REF_DATA, 0, 255) },
		{ "sector that wraps: ", transfer(XEN_BLK_WRITE, ~0ull, REF_DATA, 0, 7) },
		{ "sector times 512 wraps: ", transfer(XEN_BLK_WRITE, 1ull << 55, REF_DATA, 0, 7) },
		{ "first sector behind the end: ",
		  transfer(XEN_BLK_WRITE, SECTORS, REF_DATA, 0, 0) },
		{ "across the end: ", transfer(XEN_BLK_WRITE, SECTORS - 1, REF_DATA, 0, 1) },
		{ "indirect, none: ", indirect(XEN_BLK_WRITE, 0, REF_SEGMENTS) },
		{ "indirect, one too many: ", indirect(XEN_BLK_WRITE, 257, REF_SEGMENTS) },
		{ "indirect, very many: ", indirect(XEN_BLK_WRITE, 65535, REF_SEGMENTS) },
		{ "indirect, no grant: ", indirect(XEN_BLK_WRITE, 8, REF_NONE) },
		{ "indirect, bad segments: ", indirect(XEN_BLK_WRITE, 256, REF_SEGMENTS) },
		{ "indirect in indirect: ", indirect(XEN_BLK_INDIRECT, 1, REF_SEGMENTS) },
		{ "indirect flush: ", indirect(XEN_BLK_FLUSH, 1, REF_SEGMENTS) },
		{ "discard that wraps: ", discard(~0ull, 2) },
		{ "discard beyond the end: ", discard(SECTORS - 1, 2) },
		{ "discard of all there could be: ", discard(0, ~0ull) },
	};

	memset(segments, 0xff, sizeof(segments));
	memset(data, 0xee, sizeof(data));
	connect(true);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		push(&bad[i].q);
		say_number(bad[i].what, answer());
	}
	say(reads_well(0) && reads_well(SECTORS - 1) ? "survived" : "reads went wrong");
}

void blk_ungranted(void)
{
	connect(false);
	settle();
	say("survived");
}

void blk_indices(void)
{
	connect(true);
	head()->req_prod = produced + SLOTS + 1;
	send(port);
	settle();
	say(head()->rsp_prod == 0 ? "survived" : "answered");
}

/* A ring that is always full of nonsense, under changing indices and contents. */
void blk_flood(void)
{
	union xen_blk_slot q = transfer(XEN_BLK_READ, 0, REF_DATA, 0, 7);

	connect(true);
	for (unsigned i = 0; i < 20000; i++) {
		q.rw.op = (uint8_t)(i * 7);
		q.rw.segments = (uint8_t)(i >> 3);
		q.rw.sector = (uint64_t)i << (i & 63);
		q.rw.seg[0].gref = i & 1 ? REF_READ_ONLY : i;
		/* Nothing of it may write to the disk. */
		if (q.rw.op == XEN_BLK_WRITE || q.rw.op == XEN_BLK_DISCARD ||
		    q.rw.op == XEN_BLK_FLUSH)
			q.rw.op = 77;
		push(&q);
		if (i % SLOTS == SLOTS - 1 && answer() == 99)
			say("no answer");
	}
	say(answer() != 99 && reads_well(3) ? "survived" : "reads went wrong");
}

/* An honest driver, to run beside the others. */
void blk_reader(void)
{
	unsigned wrong = 0;

	connect(true);
	say("reading");
	for (unsigned i = 0; i < 4000; i++)
		wrong += !reads_well(i * 37 % SECTORS);
	say_number("wrong: ", wrong);
	say("survived");
}
