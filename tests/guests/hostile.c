/*
 * A guest kernel that breaks one rule, named on its command line.
 *
 * Each case either is stopped by the hypervisor (the test looks for the written reason) or is told no and says so
 * on the console before it powers off. The word "survived" must not be printed by a case that should be stopped.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hostile.h"

void hostile(struct xen_start_info *info);
void trapped(void);
void on_trap(void);
#define BAD 0x0000123456789000ull /* nothing is mapped there */

struct xen_start_info *si;

void *memset(void *p, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)p)[i] = (char)c;
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

void say(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	hypercall(XEN_CONSOLE_IO, 0, n, (uint64_t)text, 0, 0);
	hypercall(XEN_CONSOLE_IO, 0, 1, (uint64_t) "\n", 0, 0);
}

void say_number(const char *what, long v)
{
	char b[64];
	unsigned n = 0, digits = 0;
	char d[24];
	unsigned long u = v < 0 ? -(unsigned long)v : (unsigned long)v;

	while (*what)
		b[n++] = *what++;
	if (v < 0)
		b[n++] = '-';
	do
		d[digits++] = (char)('0' + u % 10);
	while (u /= 10);
	while (digits)
		b[n++] = d[--digits];
	b[n] = '\0';
	say(b);
}

static void shut_down(uint32_t reason)
{
	hypercall(XEN_SCHED_OP, SCHEDOP_SHUTDOWN, (uint64_t)&reason, 0, 0, 0);
}

void trapped(void)
{
	say("trapped");
	shut_down(XEN_SHUTDOWN_POWEROFF);
}

static uint64_t *boot_l4(void)
{
	return (uint64_t *)si->pt_base;
}

/* The L1 entry of an address that the builder mapped. */
static uint64_t *entry_of(uint64_t va)
{
	uint64_t *t = boot_l4();

	for (int shift = 39; shift > 12; shift -= 9)
		t = (uint64_t *)(BASE + (t[va >> shift & 511] & 0x000ffffffffff000ull));
	return &t[va >> 12 & 511];
}

static void handle_all_traps(void)
{
	static struct xen_trap_info t[22];

	for (unsigned i = 0; i < 20; i++)
		t[i] = (struct xen_trap_info){ .vector = (uint8_t)i, .address = (uint64_t)on_trap };
	hypercall(XEN_SET_TRAP_TABLE, (uint64_t)t, 0, 0, 0, 0);
}

/* Leaves the guest with an arbitrary word, as the shim does. */
static void raw_service(uint32_t op)
{
	*(volatile uint32_t *)(PV_HV + HV_MMIO) = op;
}

void send(uint32_t port)
{
	hypercall(XEN_EVENT_CHANNEL_OP, EVTCHNOP_SEND, (uint64_t)&port, 0, 0, 0);
}

static void no_handler(void)
{
	__asm__ volatile("ud2");
}

static void bad_iret(void)
{
	__asm__ volatile("mov %0, %%rsp; mov $23, %%eax; syscall" ::"r"(BAD) : "rax");
}

static void bad_stack(void)
{
	handle_all_traps();
	__asm__ volatile("mov %0, %%rsp; ud2" ::"r"(BAD));
}

static void no_syscall(void)
{
	/* To user mode, then a system call that nobody registered for. */
	static uint64_t frame[9];
	static const uint8_t code[] = { 0x0f, 0x05, 0xf4 };

	frame[4] = (uint64_t)code;
	frame[5] = 0xe033;
	frame[6] = 0x202;
	frame[7] = (uint64_t)&frame[9];
	frame[8] = 0xe02b;
	__asm__ volatile("mov %0, %%rsp; mov $23, %%eax; syscall" ::"r"(frame) : "rax");
}

static void triple_fault(void)
{
	boot_l4()[PV_SLOT_HV] = 0;
	__asm__ volatile("mov %%cr0, %%rax" ::: "rax");
}

static void wild_mmio(void)
{
	struct xen_mmuext_op op = { .cmd = XEN_INVLPG_LOCAL, .arg1 = (uint64_t)si };

	*entry_of((uint64_t)si) = 0x7000000000ull | 0x67;
	hypercall(XEN_MMUEXT_OP, (uint64_t)&op, 1, 0, XEN_DOMID_SELF, 0);
	*(volatile uint32_t *)si = 1;
	say("survived");
}

static void bad_service(void)
{
	raw_service(12345);
}

static void bad_vcpu_info(void)
{
	/* The page that shim and VMM share says where vcpu_info is. */
	*(volatile uint64_t *)(PV_HV + AREA_SHARED + 6 * 8) = ~0ull - 8;
	raw_service(3);
	send(si->console_evtchn);
	settle();
	say("survived");
}

static void bad_pointers(void)
{
	long worst = 0;

	/* Not those that end the guest or wait. */
	for (long n = 0; n < XEN_HYPERCALLS; n++) {
		if (n == XEN_IRET || n == XEN_SCHED_OP || n == XEN_SCHED_OP_COMPAT ||
		    n == XEN_STACK_SWITCH || n == XEN_SET_CALLBACKS || n == XEN_SET_TIMER_OP)
			continue;
		for (uint64_t sub = 0; sub < 24; sub++) {
			long r = hypercall(n, sub, BAD, BAD, BAD, BAD);

			r = hypercall(n, BAD, sub, 0, 0, 0);
			r = hypercall(n, sub, PV_HV + HV_SHARED, 1, 0, 0);
			r = hypercall(n, sub, ~0ull - 4, 1, 0, 0);
			if (r < worst)
				worst = r;
		}
	}
	say_number("refused down to ", worst);
	say("survived");
}

static void bad_frames(void)
{
	struct xen_mmu_update u = { .ptr = 0x7ffffff000ull, .val = 0 };
	struct xen_mmuext_op op = { .cmd = XEN_NEW_BASEPTR, .arg1 = ~0ull >> 12 };
	uint64_t hv = (si->nr_pages << 12) + HV_SHIM;

	say_number("update of no table: ",
		   hypercall(XEN_MMU_UPDATE, (uint64_t)&u, 1, 0, XEN_DOMID_SELF, 0));
	u.ptr = hv;
	say_number("update of the shim: ",
		   hypercall(XEN_MMU_UPDATE, (uint64_t)&u, 1, 0, XEN_DOMID_SELF, 0));
	u.ptr = (uint64_t)entry_of((uint64_t)si) - BASE;
	u.val = hv | 0x67;
	say_number("map of the shim: ",
		   hypercall(XEN_MMU_UPDATE, (uint64_t)&u, 1, 0, XEN_DOMID_SELF, 0));
	u.val = PV_MMIO_GPA | 0x67;
	say_number("map of nothing: ",
		   hypercall(XEN_MMU_UPDATE, (uint64_t)&u, 1, 0, XEN_DOMID_SELF, 0));
	say_number("base of nothing: ",
		   hypercall(XEN_MMUEXT_OP, (uint64_t)&op, 1, 0, XEN_DOMID_SELF, 0));
	op.cmd = XEN_PIN_L4;
	say_number("pin of nothing: ",
		   hypercall(XEN_MMUEXT_OP, (uint64_t)&op, 1, 0, XEN_DOMID_SELF, 0));
	op.cmd = XEN_COPY_PAGE;
	say_number("copy of nothing: ",
		   hypercall(XEN_MMUEXT_OP, (uint64_t)&op, 1, 0, XEN_DOMID_SELF, 0));
	say("survived");
}

static void bad_ports(void)
{
	for (uint32_t p = 4090; p < 5000; p++)
		send(p);
	send(~0u);
	uint64_t masks[2] = { ~0ull, ~0ull };
	struct xen_evtchn_bind_virq v = { .virq = ~0u, .vcpu = ~0u };

	say_number("bind: ",
		   hypercall(XEN_EVENT_CHANNEL_OP, EVTCHNOP_BIND_VIRQ, (uint64_t)&v, 0, 0, 0));
	say_number("unmask: ",
		   hypercall(XEN_EVENT_CHANNEL_OP, EVTCHNOP_UNMASK, (uint64_t)masks, 0, 0, 0));
	for (unsigned i = 0; i < 5000; i++) {
		struct xen_evtchn_alloc_unbound u = { 0 };

		if (hypercall(XEN_EVENT_CHANNEL_OP, EVTCHNOP_ALLOC_UNBOUND, (uint64_t)&u, 0, 0, 0) <
		    0) {
			say_number("ports: ", i);
			break;
		}
	}
	say("survived");
}

/* What the VMM does about a ring happens on its own time: give it some. */
void settle(void)
{
	for (unsigned i = 0; i < 300; i++)
		hypercall(XEN_CONSOLE_IO, 0, 0, 0, 0, 0);
	struct xen_sched_poll p = { .timeout = 0 };
	static uint32_t port = 7;

	for (unsigned i = 0; i < 20; i++) {
		p.ports = (uint64_t)&port;
		p.nr_ports = 1;
		p.timeout = (uint64_t)(i + 1) * 20000000ull;
		hypercall(XEN_SCHED_OP, SCHEDOP_POLL, (uint64_t)&p, 0, 0, 0);
	}
}

static void bad_console(void)
{
	struct xen_console_ring *r = (struct xen_console_ring *)(BASE + (si->console_mfn << 12));

	r->out_prod = r->out_cons + 5000;
	send(si->console_evtchn);
	settle();
	say("survived");
}

static void bad_store(void)
{
	struct xen_store_ring *r = (struct xen_store_ring *)(BASE + (si->store_mfn << 12));

	r->req_prod = r->req_cons + 4097;
	send(si->store_evtchn);
	settle();
	say("survived");
}

void put_message(struct xen_store_ring *r, uint32_t type, const void *p, uint32_t len,
		 uint32_t claim)
{
	struct xen_store_msg m = { .type = type, .req_id = 1, .len = claim };
	uint8_t *b = (uint8_t *)&m;
	uint32_t at = r->req_prod;

	for (unsigned i = 0; i < sizeof(m); i++)
		r->req[at++ & 1023] = b[i];
	for (unsigned i = 0; i < len; i++)
		r->req[at++ & 1023] = ((const uint8_t *)p)[i];
	__atomic_store_n(&r->req_prod, at, __ATOMIC_SEQ_CST);
	send(si->store_evtchn);
}

static void long_message(void)
{
	struct xen_store_ring *r = (struct xen_store_ring *)(BASE + (si->store_mfn << 12));

	put_message(r, XS_WRITE, "x", 2, 0x7fffffff);
	settle();
	say("survived");
}

/* Requests whose answers nobody fetches: the host must stop reading, not grow. */
static void store_flood(void)
{
	struct xen_store_ring *r = (struct xen_store_ring *)(BASE + (si->store_mfn << 12));
	unsigned sent = 0;

	for (unsigned tries = 0; tries < 200000; tries++)
		if (r->req_prod - __atomic_load_n(&r->req_cons, __ATOMIC_SEQ_CST) < 900) {
			put_message(r, XS_DIRECTORY, "/local/domain/1", 16, 16);
			sent++;
		} else if (sent > 200) {
			break;
		}
	say(sent < 100000 ? "survived" : "never stopped");
}

/* The same, but fetching the answers: the host is never done, and must do other things all the same. */
static void store_feed(void)
{
	struct xen_store_ring *r = (struct xen_store_ring *)(BASE + (si->store_mfn << 12));

	say("feeding");
	for (;;) {
		r->rsp_cons = __atomic_load_n(&r->rsp_prod, __ATOMIC_SEQ_CST);
		if (r->req_prod - __atomic_load_n(&r->req_cons, __ATOMIC_SEQ_CST) < 900)
			put_message(r, XS_DIRECTORY, "/local/domain/1", 16, 16);
	}
}

static void spin(void)
{
	say("spinning");
	for (;;)
		__asm__ volatile("pause");
}

static void flood(void)
{
	say("flooding");
	for (;;) {
		send(si->console_evtchn);
		hypercall(XEN_SET_TIMER_OP, 1, 0, 0, 0, 0);
	}
}

static void timers(void)
{
	static const uint64_t when[] = { 0, 1, ~0ull, ~0ull >> 1, 1ull << 63, 12345 };

	for (unsigned i = 0; i < sizeof(when) / sizeof(when[0]); i++)
		hypercall(XEN_SET_TIMER_OP, when[i], 0, 0, 0, 0);
	say("survived");
}

static void crash(void)
{
	shut_down(XEN_SHUTDOWN_CRASH);
}

static void hello(void)
{
	say("survived");
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "hello", hello },
	{ "no-handler", no_handler },
	{ "bad-iret", bad_iret },
	{ "bad-stack", bad_stack },
	{ "no-syscall", no_syscall },
	{ "triple-fault", triple_fault },
	{ "wild-mmio", wild_mmio },
	{ "bad-service", bad_service },
	{ "bad-vcpu-info", bad_vcpu_info },
	{ "bad-pointers", bad_pointers },
	{ "bad-frames", bad_frames },
	{ "bad-ports", bad_ports },
	{ "bad-console", bad_console },
	{ "bad-store", bad_store },
	{ "long-message", long_message },
	{ "store-flood", store_flood },
	{ "spin", spin },
	{ "flood", flood },
	{ "timers", timers },
	{ "crash", crash },
	{ "store-feed", store_feed },
	{ "blk-ungranted", blk_ungranted },
	{ "blk-requests", blk_requests },
	{ "blk-indices", blk_indices },
	{ "blk-flood", blk_flood },
	{ "blk-reader", blk_reader },
};

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

void hostile(struct xen_start_info *info)
{
	si = info;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (same(cases[i].name, (const char *)info->cmd_line)) {
			cases[i].run();
			shut_down(XEN_SHUTDOWN_POWEROFF);
		}
	say("no such case");
	shut_down(XEN_SHUTDOWN_CRASH);
}
