/*
 * A guest that abuses every virtio device it finds: the case is named on the command line. It says for each device what
 * became of it, then whether devices still work for a driver that keeps the rules, and "survived".
 *
 * What counts is that the VMM lives, that a broken ring asks for a reset (2.1.2) and works after it, and that a
 * neighbour notices nothing. Nothing here is judged by what a device answers to nonsense.
 */
#include "bare.h"

enum {
	DEVICES_MAX = 24,
	QUEUES_MAX = 8,
	STRIDE = 4096,
	PATIENCE = 100, /* looks at a device until it should have acted */
	MEMORY_END = 64 << 20,
};

#define BASE 0xd0000000ull

static struct device devices[DEVICES_MAX];
static unsigned devices_n;
static struct ring rings[QUEUES_MAX], table_ring;
static uint8_t buffers[QUEUES_MAX][8192] __attribute__((aligned(4096)));
static uint64_t seed = 42;
extern volatile uint32_t interrupts;

static uint32_t dice(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33);
}

static void find_devices(void)
{
	for (unsigned i = 0; i < DEVICES_MAX; i++) {
		struct device d = { .base = BASE + i * STRIDE };

		if (reg_read(&d, VIRTIO_MMIO_MAGIC) != VIRTIO_MMIO_MAGIC_VALUE)
			break;
		d.id = reg_read(&d, VIRTIO_MMIO_DEVICE_ID);
		devices[devices_n++] = d;
	}
}

/* Sets all queues up; how many there are. */
static unsigned begin(const struct device *d, uint64_t features)
{
	unsigned n = 0;

	if (!device_start(d, features))
		return 0;
	while (n < QUEUES_MAX && device_queue(d, n, &rings[n]))
		n++;
	device_go(d);
	return n;
}

static void offer(struct ring *r, uint16_t head)
{
	r->avail[r->avail_idx % RING] = head;
	__atomic_store_n(&r->avail_idx, (uint16_t)(r->avail_idx + 1), __ATOMIC_RELEASE);
}

static void kick(const struct device *d, unsigned queue)
{
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static bool needs_reset(const struct device *d)
{
	return reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET;
}

/* Whether the device gave up on the ring, or used `want` buffers of it first. */
static bool gave_up(const struct device *d, const struct ring *r, uint16_t want)
{
	for (int i = 0; i < PATIENCE; i++) {
		if (needs_reset(d))
			return true;
		if (__atomic_load_n(&r->used_idx, __ATOMIC_ACQUIRE) >= want)
			return false;
	}
	return false;
}

static void report(const struct device *d, const char *what, unsigned broken, unsigned of)
{
	say(what);
	say(": device ");
	say_number(d->id);
	say(" gave up ");
	say_number(broken);
	say(" of ");
	say_number(of);
	say("\n");
}

/* ---- the cases; each is run against one device ---- */

static void bad_descriptors(const struct device *d)
{
	static const struct virtq_desc rows[] = {
		{ 1ull << 63, 16, 0, 0 },
		{ MEMORY_END - 8, 16, VIRTQ_DESC_F_WRITE, 0 },
		{ UINT64_MAX - 7, 16, 0, 0 },
		{ 0, UINT32_MAX, VIRTQ_DESC_F_WRITE, 0 },
		{ BASE, 64, 0, 0 },
		{ 0x1000, 0, 0, 0 },
		{ 0x1000, 16, VIRTQ_DESC_F_NEXT, RING },
		{ 0x1000, 16, VIRTQ_DESC_F_NEXT, 0xffff },
		{ 0x1000, 16, 0xffff, 1 },
	};
	unsigned broken = 0, n = 0, queues = 1;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned q = 0; q < queues; q++, n++) {
			queues = begin(d, 0);
			rings[q].desc[0] = rows[i];
			rings[q].desc[1] = (struct virtq_desc){ 0x1000, 16, 0, 0 };
			offer(&rings[q], 0);
			kick(d, q);
			broken += gave_up(d, &rings[q], 1);
		}
	}
	for (unsigned q = 0; q < queues; q++, n++) { /* a head beyond the table */
		begin(d, 0);
		offer(&rings[q], 0x7fff);
		kick(d, q);
		broken += gave_up(d, &rings[q], 1);
	}
	report(d, "bad-descriptors", broken, n);
}

static void loops(const struct device *d)
{
	unsigned broken = 0, n = 0, queues = 1;

	for (unsigned kind = 0; kind < 3; kind++) {
		for (unsigned q = 0; q < queues; q++, n++) {
			queues = begin(d, 1ull << VIRTIO_F_INDIRECT_DESC);
			struct virtq_desc *t = kind == 2 ? table_ring.desc : rings[q].desc;

			for (uint16_t i = 0; i < RING; i++)
				t[i] = (struct virtq_desc){ (uint64_t)buffers[q], 8,
							    VIRTQ_DESC_F_NEXT,
							    kind ? (uint16_t)((i + 1) % RING) : i };
			if (kind == 2)
				rings[q].desc[0] = (struct virtq_desc){ (uint64_t)t, RING * 16,
									VIRTQ_DESC_F_INDIRECT, 0 };
			offer(&rings[q], 0);
			kick(d, q);
			broken += gave_up(d, &rings[q], 1);
		}
	}
	report(d, "loops", broken, n);
}

static void bad_indirect(const struct device *d)
{
	const struct virtq_desc rows[] = {
		{ (uint64_t)table_ring.desc, 15, VIRTQ_DESC_F_INDIRECT, 0 },
		{ (uint64_t)table_ring.desc, 0, VIRTQ_DESC_F_INDIRECT, 0 },
		{ (uint64_t)table_ring.desc, UINT32_MAX & ~15u, VIRTQ_DESC_F_INDIRECT, 0 },
		{ MEMORY_END - 16, 32, VIRTQ_DESC_F_INDIRECT, 0 },
		{ UINT64_MAX - 31, 32, VIRTQ_DESC_F_INDIRECT, 0 },
		{ (uint64_t)table_ring.desc, 16, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_NEXT, 1 },
		{ (uint64_t)table_ring.desc, 32, VIRTQ_DESC_F_INDIRECT, 0 }, /* nested */
	};
	unsigned broken = 0, n = 0, queues = 1;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned q = 0; q < queues; q++, n++) {
			queues = begin(d, 1ull << VIRTIO_F_INDIRECT_DESC);
			table_ring.desc[0] = rows[6];
			rings[q].desc[0] = rows[i];
			rings[q].desc[1] = rows[0];
			offer(&rings[q], 0);
			kick(d, q);
			broken += gave_up(d, &rings[q], 1);
		}
	}
	report(d, "bad-indirect", broken, n);
}

/* Queue 0's areas where no memory is, or where they do not fit, or crooked. */
static void rings_outside(const struct device *d)
{
	static const uint64_t rows[][3] = {
		{ 1ull << 40, 0x10000, 0x20000 },     { 0x10000, 1ull << 40, 0x20000 },
		{ 0x10000, 0x20000, 1ull << 40 },     { MEMORY_END - 16, 0x10000, 0x20000 },
		{ 0x10000, 0x20000, MEMORY_END - 8 }, { UINT64_MAX - 15, 0x10000, 0x20000 },
		{ BASE, 0x10000, 0x20000 },	      { 0x10008, 0x20000, 0x30000 },
		{ 0x10000, 0x20001, 0x30000 },	      { 0x10000, 0x20000, 0x30002 },
	};
	static const uint32_t sizes[] = { 128, 0, 3, 0xffffffff, 65536 };
	unsigned refused = 0, n = 0;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned s = 0; s < (i ? 1 : 5); s++, n++) {
			device_start(d, 0);
			reg_write(d, VIRTIO_MMIO_QUEUE_SEL, 0);
			reg_write(d, VIRTIO_MMIO_QUEUE_NUM, sizes[s]);
			for (uint32_t a = 0; a < 3; a++) {
				uint32_t at = VIRTIO_MMIO_QUEUE_DESC_LOW + 16 * a;
				uint64_t v = s ? 0x10000 * (a + 1) : rows[i][a];

				reg_write(d, at, (uint32_t)v);
				reg_write(d, at + 4, (uint32_t)(v >> 32));
			}
			reg_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
			refused += !reg_read(d, VIRTIO_MMIO_QUEUE_READY);
			device_go(d);
			kick(d, 0);
		}
	}
	report(d, "rings-outside", refused, n);
}

static void runaway_index(const struct device *d)
{
	static const uint16_t jumps[] = { 1000, 0x8000, 0xffff, RING + 1 };
	unsigned broken = 0, n = 0, queues = 1;

	for (unsigned i = 0; i < 4; i++) {
		for (unsigned q = 0; q < queues; q++, n++) {
			queues = begin(d, i % 2 ? 1ull << VIRTIO_F_EVENT_IDX : 0);
			rings[q].used_event = 0x7fff;
			__atomic_store_n(&rings[q].avail_idx, jumps[i], __ATOMIC_RELEASE);
			kick(d, q);
			broken += gave_up(d, &rings[q], 1);
		}
	}
	report(d, "runaway-index", broken, n);
}

/* Packed rings full of whatever lies there. */
static void packed_garbage(const struct device *d)
{
	unsigned broken = 0, n = 0, queues = 1;

	for (unsigned i = 0; i < 8; i++) {
		for (unsigned q = 0; q < queues; q++, n++) {
			queues = begin(d, 1ull << VIRTIO_F_RING_PACKED |
						  1ull << VIRTIO_F_INDIRECT_DESC |
						  1ull << VIRTIO_F_EVENT_IDX);
			struct virtq_packed_desc *p = (void *)rings[q].desc;

			for (unsigned k = 0; k < RING; k++)
				p[k] = (struct virtq_packed_desc){
					i % 2 ? dice() : (uint64_t)buffers[q], dice() % 9000,
					(uint16_t)dice(),
					(uint16_t)((dice() & ~VIRTQ_DESC_F_USED) |
						   VIRTQ_DESC_F_AVAIL | (i < 4 ? 0 : 1))
				};
			kick(d, q);
			broken += gave_up(d, &rings[q], 0xffff);
		}
	}
	report(d, "packed-garbage", broken, n);
}

/* Well-formed buffers of random bytes, in all queues. */
static void garbage(const struct device *d)
{
	unsigned queues = begin(d, 1ull << VIRTIO_F_EVENT_IDX), resets = 0;

	for (unsigned i = 0; i < 300; i++) {
		unsigned q = dice() % queues;
		struct ring *r = &rings[q];
		uint16_t at = (uint16_t)(2 * (i % (RING / 2)));
		uint32_t *words = (uint32_t *)buffers[q];

		for (unsigned k = 0; k < 32; k++)
			words[k] = dice() % 3 ? dice() % 32 : dice() << 1;
		r->desc[at] = (struct virtq_desc){ (uint64_t)buffers[q], dice() % 200 + 1,
						   VIRTQ_DESC_F_NEXT, (uint16_t)(at + 1) };
		r->desc[at + 1] = (struct virtq_desc){ (uint64_t)buffers[q] + 4096,
						       dice() % 4096 + 1, VIRTQ_DESC_F_WRITE, 0 };
		if (d->id == VIRTIO_ID_FS && dice() % 2) /* a header that holds */
			words[0] = r->desc[at].len;
		offer(r, dice() % 4 ? at : (uint16_t)(at + 1));
		kick(d, q);
		if (i % 8 == 7 && needs_reset(d)) {
			queues = begin(d, 1ull << VIRTIO_F_EVENT_IDX);
			resets++;
		}
	}
	report(d, "garbage", resets, 300);
}

static void access(uint64_t at, unsigned width, bool write)
{
	volatile void *p = (volatile void *)at;
	uint64_t v = (uint64_t)dice() << 32 | dice();

	switch (width | (write ? 16u : 0u)) {
	case 1:
		(void)*(volatile uint8_t *)p;
		break;
	case 2:
		(void)*(volatile uint16_t *)p;
		break;
	case 4:
		(void)*(volatile uint32_t *)p;
		break;
	case 8:
		(void)*(volatile uint64_t *)p;
		break;
	case 17:
		*(volatile uint8_t *)p = (uint8_t)v;
		break;
	case 18:
		*(volatile uint16_t *)p = (uint16_t)v;
		break;
	case 20:
		*(volatile uint32_t *)p = (uint32_t)v;
		break;
	default:
		*(volatile uint64_t *)p = v;
	}
}

static void wild_mmio(const struct device *d)
{
	static const uint64_t nowhere[] = { BASE + (1 << 20), 0xfed00000, 0xb0000000, BASE - 4 };
	unsigned n = 0;

	for (uint64_t at = 0; at < 0x120; at += 3, n++)
		access(d->base + at, 1u << dice() % 4, dice() % 2);
	for (unsigned i = 0; i < 300; i++, n++)
		access(d->base + dice() % (STRIDE - 8), 1u << dice() % 4, dice() % 2);
	for (unsigned i = 0; i < 4; i++, n++)
		access(nowhere[i], 4, i % 2);
	report(d, "wild-mmio", 0, n);
}

static void config_abuse(const struct device *d)
{
	unsigned n = 0;

	for (unsigned pass = 0; pass < 2; pass++) { /* before and after it is set up */
		for (unsigned at = 0; at < 80; at += 1 + dice() % 3, n++)
			access(d->base + VIRTIO_MMIO_CONFIG + at, 1u << dice() % 4,
			       dice() % 4 != 0);
		access(d->base + STRIDE - 1, 1, true);
		access(d->base + STRIDE - 8, 8, false);
		begin(d, 1ull << dice() % 30);
	}
	report(d, "config-abuse", 0, n);
}

/* Features that nobody offered, and the status register's bits in any order. */
static void bad_handshakes(const struct device *d)
{
	unsigned refused = 0;

	for (unsigned i = 0; i < 64; i++) {
		reg_write(d, VIRTIO_MMIO_STATUS, dice() % 4 ? dice() % 16 : 0);
		reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, dice() % 4);
		reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES, dice());
		reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_FEATURES_OK);
		refused += !(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_FEATURES_OK);
		reg_write(d, VIRTIO_MMIO_STATUS, dice() % 256);
		kick(d, dice() % 4);
	}
	report(d, "bad-handshakes", refused, 64);
}

/* Resets in the middle of requests. */
static void reset_storm(const struct device *d)
{
	for (unsigned i = 0; i < 100; i++) {
		unsigned queues = begin(d, 0);

		for (unsigned q = 0; q < queues; q++) {
			for (uint16_t k = 0; k < 16; k++) {
				rings[q].desc[k] = (struct virtq_desc){ (uint64_t)buffers[q], 4096,
									q % 2 ? 0
									      : VIRTQ_DESC_F_WRITE,
									0 };
				offer(&rings[q], k);
			}
			kick(d, q);
		}
		reg_write(d, VIRTIO_MMIO_STATUS, 0);
	}
	report(d, "reset-storm", 0, 100);
}

/* Doorbells as fast as they go, of queues that exist and of others; every buffer that comes back interrupts. */
static void storms(const struct device *d)
{
	unsigned queues = begin(d, 0);

	for (unsigned i = 0; i < 3000; i++) {
		unsigned q = i % (queues + 1);

		if (q < queues && i % 64 < queues) {
			rings[q].desc[0] = (struct virtq_desc){ (uint64_t)buffers[q], 64,
								VIRTQ_DESC_F_WRITE, 0 };
			offer(&rings[q], 0);
		}
		kick(d, q < queues ? q : i);
	}
	report(d, "storms", 0, 3000);
}

/* Frames whose headers lie, frames of any length, and commands that nobody knows; only a network device has them. */
static void frames(const struct device *d)
{
	static const struct virtio_net_hdr lies[] = {
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 0, 0xffff, 0xffff, 0 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 0, 60, 3, 0 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 0, 34, 16, 0 },
		{ 0, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1, 34, 16, 0 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV6, 0xffff, 1, 34, 16, 0 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1, 34, 16, 0 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, 0xff, 0, 1, 0, 0, 0xffff },
	};
	static const uint32_t sizes[] = { 12, 13, 26, 12 + 64, 12 + 1514, 8192, 60000, 4 << 20 };
	unsigned n = 0, broken = 0;

	if (d->id != VIRTIO_ID_NET)
		return;
	begin(d, UINT64_C(0xffffff));
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++, n++) {
			struct ring *r = &rings[1];
			uint16_t used = r->used_idx;

			*(struct virtio_net_hdr *)buffers[1] = lies[i];
			r->desc[0] = (struct virtq_desc){ (uint64_t)buffers[1], sizes[k], 0, 0 };
			offer(r, 0);
			kick(d, 1);
			broken += gave_up(d, r, (uint16_t)(used + 1));
		}
	for (unsigned i = 0; i < 200; i++, n++) {
		struct ring *r = &rings[2];

		for (unsigned k = 0; k < 16; k++)
			buffers[2][k] = (uint8_t)(dice() % 6);
		r->desc[0] = (struct virtq_desc){ (uint64_t)buffers[2], dice() % 16 + 1,
						  VIRTQ_DESC_F_NEXT, 1 };
		r->desc[1] = (struct virtq_desc){ (uint64_t)buffers[2] + 64, 1, VIRTQ_DESC_F_WRITE,
						  0 };
		offer(r, 0);
		kick(d, 2);
	}
	broken += needs_reset(d);
	report(d, "frames", broken, n);
}

/* ---- the interrupt controllers, for storms that arrive ---- */

static void ioapic_write(uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)0xfec00000 = reg;
	*(volatile uint32_t *)0xfec00010 = value;
}

static void take_interrupts(void)
{
	*(volatile uint32_t *)0xfee000f0 = 0x1ff; /* the local one on, spurious vector 255 */
	*(volatile uint32_t *)0xfee00350 = 0x10000;
	for (uint32_t pin = 0; pin < 24; pin++) {
		ioapic_write(0x10 + 2 * pin, 0x40 + pin);
		ioapic_write(0x11 + 2 * pin, 0);
	}
}

/* ---- afterwards ---- */

static bool sends(const struct device *d)
{
	struct ring *r = &rings[1];

	r->desc[0] = (struct virtq_desc){ (uint64_t)buffers[1], 12 + 64, 0, 0 };
	for (int i = 0; i < 12 + 64; i++)
		buffers[1][i] = 0;
	offer(r, 0);
	kick(d, 1);
	for (int i = 0; i < 20 * PATIENCE && !__atomic_load_n(&r->used_idx, __ATOMIC_ACQUIRE); i++)
		(void)needs_reset(d);
	return r->used_idx == 1 && !needs_reset(d);
}

/* Whether the device still works for a driver that keeps the rules. */
static bool is_well(const struct device *d)
{
	static struct virtio_blk_req read;
	static volatile uint8_t status;
	struct ring *r = &rings[0];

	if (!begin(d, 0) || needs_reset(d))
		return false;
	if (d->id == VIRTIO_ID_NET)
		return sends(d);
	if (d->id != VIRTIO_ID_BLOCK && d->id != VIRTIO_ID_ENTROPY)
		return true;
	status = 0xff;
	r->desc[0] = (struct virtq_desc){ (uint64_t)&read, 16, VIRTQ_DESC_F_NEXT, 1 };
	r->desc[1] = (struct virtq_desc){ (uint64_t)buffers[0], 512,
					  VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 2 };
	r->desc[2] = (struct virtq_desc){ (uint64_t)&status, 1, VIRTQ_DESC_F_WRITE, 0 };
	offer(r, d->id == VIRTIO_ID_BLOCK ? 0 : 2);
	kick(d, 0);
	for (int i = 0; i < 20 * PATIENCE && !__atomic_load_n(&r->used_idx, __ATOMIC_ACQUIRE); i++)
		(void)needs_reset(d);
	return r->used_idx == 1 && (d->id != VIRTIO_ID_BLOCK || status == VIRTIO_BLK_S_OK);
}

static const struct {
	const char *name;
	void (*run)(const struct device *d);
} cases[] = {
	{ "bad-descriptors", bad_descriptors },
	{ "loops", loops },
	{ "bad-indirect", bad_indirect },
	{ "rings-outside", rings_outside },
	{ "runaway-index", runaway_index },
	{ "packed-garbage", packed_garbage },
	{ "garbage", garbage },
	{ "wild-mmio", wild_mmio },
	{ "config-abuse", config_abuse },
	{ "bad-handshakes", bad_handshakes },
	{ "reset-storm", reset_storm },
	{ "storms", storms },
	{ "frames", frames },
};

void main(char *arguments)
{
	bool well = true;

	find_devices();
	if (has_word(arguments, "interrupts"))
		take_interrupts();
	if (has_word(arguments, "triple-fault"))
		bare(BARE_TRIPLE_FAULT, 0, 0);
	if (has_word(arguments, "wild-ports"))
		for (uint32_t i = 0; i < 0x1000; i++)
			if (i < 0x600 || i > 0x602) /* the power button works */
				bare(BARE_PORT, dice() | 1, i);
	say("begin\n");
	for (;;) {
		for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			for (unsigned k = 0; k < devices_n && has_word(arguments, cases[i].name);
			     k++)
				cases[i].run(&devices[k]);
		if (!has_word(arguments, "for-ever"))
			break;
	}
	for (unsigned k = 0; k < devices_n; k++) {
		if (is_well(&devices[k]))
			continue;
		say("NOT WELL: device ");
		say_number(devices[k].id);
		say("\n");
		well = false;
	}
	say("interrupts ");
	say_number(interrupts);
	say(well ? "\nsurvived\n" : "\n");
}
