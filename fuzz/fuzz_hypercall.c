/*
 * The shim's hypercalls, traps and emulation, run in a process: any calls with any arguments by a guest whose
 * memory is any bytes. What must not change behind the guest's RAM does not change, and nothing else is touched.
 *
 * The shim's sources are built with other addresses for its three windows, which are here views of one memory file,
 * and with the few instructions that only a guest can execute replaced.
 */
#include <setjmp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../guest/shim/shim.h"
#include "fuzz.h"

#define RAM	    (2ull << 20)
#define TOTAL	    (RAM + HV_M2P + (2ull << 20))
#define GUEST_BYTES 16384u

uint64_t hosted_gs, hosted_fs;
const struct {
	uint64_t at, mend;
} fixups_start[1], fixups_end[1];
const struct shim_header shim_header;
static jmp_buf on_broken;
static uint8_t guest[GUEST_BYTES]; /* what the guest's pointers may name */
static uint8_t *memory;

enum leave shim_trap(struct vcpu *v, struct regs *r);
enum leave shim_syscall(struct vcpu *v, struct regs *r);
size_t copy_bytes(void *to, const void *from, size_t n);

size_t copy_bytes(void *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return 0;
}

bool hosted_range(uint64_t address, size_t n)
{
	uint64_t start = (uint64_t)(uintptr_t)guest;

	return address >= start && address - start <= GUEST_BYTES &&
	       n <= GUEST_BYTES - (address - start);
}

void hosted_broken(void)
{
	longjmp(on_broken, 1);
}

static void no_cr3(void)
{
}

static void *view(uint64_t at, int fd, uint64_t offset, uint64_t size)
{
	void *p = mmap((void *)(uintptr_t)at, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED_NOREPLACE, fd, (off_t)offset);

	FUZZ_CHECK(p == (void *)(uintptr_t)at);
	return p;
}

static void set_up(void)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)TOTAL) == 0);
	memory = view(PV_LINEAR, fd, 0, TOTAL);
	view(PV_HV, fd, RAM, HV_M2P);
	view(PV_M2P, fd, RAM + HV_M2P, TOTAL - RAM - HV_M2P);
}

/* The pages that only the VMM and the shim's own code may change. */
static uint64_t sum_of_protected(void)
{
	static const struct {
		uint64_t at, size;
	} range[] = {
		{ AREA_STUBS, AREA_GATE }, /* stubs, descriptor tables */
		{ AREA_ENTRY, 0x2000 },	       { HV_SHIM, HV_SHIM_SIZE },
		{ HV_SHARED, 0x2000 }, /* all of struct pv_shared but the doorbells */
		{ HV_TABLES, HV_TABLES_SIZE },
	};
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++) {
		const uint64_t *p = (const uint64_t *)(const void *)(memory + RAM + range[i].at);

		for (uint64_t n = 0; n < range[i].size / 8; n += 7)
			sum = sum * 31 + p[n];
	}
	return sum;
}

static struct vcpu *start(void)
{
	struct vcpu *v = (struct vcpu *)(uintptr_t)(PV_HV + AREA_VCPU);
	struct pv_shared *s = shared();

	memset(memory, 0, RAM);
	memset(memory + RAM + AREA_SHARED, 0, PV_AREA_SIZE - AREA_SHARED);
	memset(memory + RAM + PV_AREA_SIZE, 0, PV_AREA_SIZE);
	memset(memory + RAM + HV_SHARED, 0, HV_TABLES - HV_SHARED);
	*s = (struct pv_shared){ .hv_gpa = RAM,
				 .ram_pages = RAM / PAGE_BYTES,
				 .total_pages = TOTAL / PAGE_BYTES,
				 .l4_kernel = RAM | 7,
				 .l4_user = RAM | 7,
				 .l4_linear = RAM | 7,
				 .l4_m2p = RAM | 7,
				 .merged = 1,
				 .vcpus = 2 };
	v->page = (struct pv_vcpu_page *)(uintptr_t)(PV_HV + AREA_SHARED);
	v->gate = (struct pv_gate *)(uintptr_t)(PV_HV + AREA_GATE);
	v->hw = (const uint64_t *)(uintptr_t)(PV_HV + AREA_HW_TOP);
	v->traps = (struct trap *)(uintptr_t)(PV_HV + AREA_TRAP_TABLE);
	v->gate_cr3 = no_cr3;
	v->info = &shared_info()->vcpu[0];
	v->kernel_cr3 = 0x1000;
	event_init();
	return v;
}

struct input {
	const uint8_t *p;
	size_t n;
};

static uint64_t take(struct input *in, size_t bytes)
{
	uint64_t x = 0;

	for (size_t i = 0; i < bytes && in->n; i++, in->p++, in->n--)
		x |= (uint64_t)*in->p << 8 * i;
	return x;
}

/* An argument as a kernel makes them: numbers, pointers to its memory, addresses and frames of its RAM. */
static uint64_t argument(struct input *in)
{
	switch (take(in, 1) % 8) {
	case 0:
		return 0;
	case 1:
		return take(in, 1);
	case 2:
		return take(in, 8);
	case 3:
		return (uint64_t)(uintptr_t)guest + take(in, 2) % GUEST_BYTES;
	case 4:
		return take(in, 3) % RAM & ~7ull;
	case 5:
		return ~0ull - take(in, 1);
	case 6:
		return RAM + (take(in, 3) & ~7ull);
	default:
		return XEN_DOMID_SELF;
	}
}

static void one_call(struct vcpu *v, struct input *in)
{
	struct regs *r = (struct regs *)(uintptr_t)(PV_HV + AREA_STACK_TOP - REGS_SIZE);
	uint8_t kind = (uint8_t)take(in, 1);

	*r = (struct regs){ .rip = (uint64_t)(uintptr_t)guest + take(in, 2) % GUEST_BYTES,
			    .rsp = (uint64_t)(uintptr_t)guest + take(in, 2) % GUEST_BYTES };
	if (kind < 192) {
		r->rax = kind & 63;
		r->rdi = argument(in);
		r->rsi = argument(in);
		r->rdx = argument(in);
		r->r10 = argument(in);
		r->r8 = argument(in);
		shim_syscall(v, r);
		return;
	}
	uint64_t *top = (uint64_t *)(uintptr_t)(PV_HV + AREA_HW_TOP);

	r->vector = kind % GATE_FRAMES;
	r->rdx = argument(in);
	r->rcx = argument(in);
	top[-1] = SS_RING3;
	top[-2] = r->rsp;
	top[-3] = take(in, 4);
	top[-4] = CS_RING3;
	top[-5] = r->rip;
	top[-6] = take(in, 2);
	shim_trap(v, r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!memory)
		set_up();
	struct vcpu *v = start();
	struct input in = { data, size / 2 };

	/* The second half is the guest's memory. */
	for (size_t i = 0; i < GUEST_BYTES; i++)
		guest[i] = size / 2 ? data[size / 2 + i % (size - size / 2)] : 0;
	for (size_t i = 0; i < RAM / 8 && size >= 16; i += 511)
		memcpy(memory + i * 8, data + size / 2 + i % (size - size / 2 - 7), 8);
	uint64_t before = sum_of_protected();

	for (unsigned calls = 0; in.n && calls < 200; calls++) {
		if (setjmp(on_broken))
			break;
		one_call(v, &in);
	}
	FUZZ_CHECK(sum_of_protected() == before);
	return 0;
}
