/*
 * Which of two CPU situations holds.
 *
 * On ordinary KVM a guest's SYSCALL in ring 3 enters ring 0 at LSTAR. On hosts whose KVM runs guests
 * deprivileged (no VT-x or AMD-V), it goes on at LSTAR in ring 3, and ring 0 code is interpreted by the host.
 * A PV guest runs in both, but its hypervisor shim must live in the ring that SYSCALL reaches. So we ask: a VM of
 * sixteen pages executes SYSCALL in ring 3; LSTAR points at an instruction that writes to an address with no
 * memory; at that exit the privilege level of CS tells. A second run counts down a register in ring 0 and takes
 * the time.
 *
 * Trust: the guest is ours, yet nothing it leaves behind is used but a selector. Threads: any.
 * #syscalls: ioctl mmap munmap close clock_gettime
 */
#include "machine/probe.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "machine/memory.h"
#include "machine/vcpu.h"
#include "os/loop.h"

#define BASE	  0xffff808000000000ull /* upper half, L4 slot 257: where the shim will live */
#define MMIO_GPA  0x40000000ull		/* no memory there */
#define MMIO_PAGE 9u			/* its page in the window at BASE */

enum { PAGE_L4 = 1, PAGE_L3, PAGE_L2, PAGE_L1, PAGE_GDT, PAGE_STACK, PAGE_CODE = 8 };
enum { OFF_SYSCALL = 0x000, OFF_TARGET = 0x010, OFF_LOOP = 0x020 };

struct probe {
	struct machine machine;
	struct memory memory;
	struct vcpu vcpu;
};

static void probe_fini(struct probe *p)
{
	vcpu_fini(&p->vcpu);
	machine_fini(&p->machine);
	memory_fini(&p->memory);
}

/* mov %eax, MMIO_PAGE(%rip): six bytes that end at `end` within the code page. */
static void put_mmio_write(uint8_t *code, unsigned at)
{
	uint32_t rel = (MMIO_PAGE - PAGE_CODE) * PAGE - (at + 6);

	code[at] = 0x89;
	code[at + 1] = 0x05;
	memcpy(code + at + 2, &rel, 4);
}

static void fill_memory(uint8_t *m)
{
	uint64_t *l4 = (void *)(m + PAGE_L4 * PAGE), *l3 = (void *)(m + PAGE_L3 * PAGE);
	uint64_t *l2 = (void *)(m + PAGE_L2 * PAGE), *l1 = (void *)(m + PAGE_L1 * PAGE);
	uint64_t *gdt = (void *)(m + PAGE_GDT * PAGE);
	uint8_t *code = m + PAGE_CODE * PAGE;

	l4[257] = PAGE_L3 * PAGE | 7;
	l3[0] = PAGE_L2 * PAGE | 7;
	l2[0] = PAGE_L1 * PAGE | 7;
	l1[PAGE_GDT] = PAGE_GDT * PAGE | 3;
	l1[PAGE_STACK] = PAGE_STACK * PAGE | 7;
	l1[PAGE_CODE] = PAGE_CODE * PAGE | 7;
	l1[MMIO_PAGE] = MMIO_GPA | 7;
	gdt[2] = 0x00af9b000000ffffull; /* 0x10: ring 0 code, 64 bit */
	gdt[3] = 0x00cf93000000ffffull;
	gdt[4] = 0x00cffb000000ffffull;
	gdt[5] = 0x00cff3000000ffffull; /* 0x2b: ring 3 data */
	gdt[6] = 0x00affb000000ffffull; /* 0x33: ring 3 code, 64 bit */
	memset(code, 0xf4, PAGE);
	memcpy(code + OFF_SYSCALL, "\x0f\x05", 2);
	put_mmio_write(code, OFF_TARGET);
	memcpy(code + OFF_LOOP, "\xff\xc9\x75\xfc", 4); /* 1: dec %ecx; jnz 1b */
	put_mmio_write(code, OFF_LOOP + 4);
}

static int set_up(struct probe *p, int kvm, struct err *e)
{
	int r = machine_init(&p->machine, kvm, e);

	if (r)
		return r;
	r = memory_init(&p->memory, PAGE_2M, false, e);
	if (r)
		return r;
	fill_memory(p->memory.base);
	r = kvm_memory_region(p->machine.vm, 0, 0, 16 * PAGE, p->memory.base, 0);
	if (r)
		return err_sys(e, r, "KVM: memory of the probe");
	r = vcpu_init(&p->vcpu, &p->machine, 0, e);
	if (r)
		return r;
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[128];
	} cpuid = { .head.nent = 128 };

	r = kvm_supported_cpuid(kvm, &cpuid.head);
	if (!r)
		r = kvm_set_cpuid(p->vcpu.fd, &cpuid.head);
	return r ? err_sys(e, r, "KVM: CPUID of the probe") : 0;
}

static int start_at(struct probe *p, bool ring0, unsigned offset, uint64_t rcx, struct err *e)
{
	struct kvm_sregs s;
	int r = kvm_get_sregs(p->vcpu.fd, &s);

	if (r)
		return err_sys(e, r, "KVM: registers of the probe");
	struct kvm_segment code = { .limit = 0xffffffff,
				    .selector = ring0 ? 0x10 : 0x33,
				    .type = 11,
				    .present = 1,
				    .dpl = ring0 ? 0 : 3,
				    .s = 1,
				    .l = 1,
				    .g = 1 };
	struct kvm_segment data = code;

	data.type = 3;
	data.l = 0;
	data.db = 1;
	data.selector = ring0 ? 0x18 : 0x2b;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = 0x80050033;
	s.cr3 = PAGE_L4 * PAGE;
	s.cr4 = 0x620;
	s.efer = 0xd01;
	s.gdt.base = BASE + PAGE_GDT * PAGE;
	s.gdt.limit = 7 * 8 - 1;
	s.idt.limit = 0;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[3];
	} msrs = { .head.nmsrs = 3,
		   .entry = { { .index = 0xc0000081, .data = 0x0023001000000000ull },
			      { .index = 0xc0000082, .data = BASE + PAGE_CODE * PAGE + OFF_TARGET },
			      { .index = 0xc0000084 } } };
	struct kvm_regs regs = { .rip = BASE + PAGE_CODE * PAGE + offset,
				 .rsp = BASE + (PAGE_STACK + 1) * PAGE,
				 .rcx = rcx,
				 .rflags = 2 };

	r = kvm_set_sregs(p->vcpu.fd, &s);
	if (!r && kvm_set_msrs(p->vcpu.fd, &msrs.head) != 3)
		r = -EINVAL;
	if (!r)
		r = kvm_set_regs(p->vcpu.fd, &regs);
	return r ? err_sys(e, r, "KVM: registers of the probe") : 0;
}

/* Until the write to MMIO_GPA. False when the guest did something else. */
static bool reached_the_end(struct probe *p, int *why)
{
	for (int tries = 0; tries < 16; tries++) {
		*why = vcpu_enter(&p->vcpu);
		if (*why == -EINTR)
			continue;
		if (*why == 0)
			*why = (int)p->vcpu.run->exit_reason;
		return *why == KVM_EXIT_MMIO && p->vcpu.run->mmio.is_write &&
		       (p->vcpu.run->mmio.phys_addr & ~(uint64_t)(PAGE - 1)) == MMIO_GPA;
	}
	return false;
}

int cpu_probe(int kvm, bool measure, struct cpu_probe *result, struct err *e)
{
	cleanup_with(
		probe_fini) struct probe p = { .machine.vm = -1, .memory.fd = -1, .vcpu.fd = -1 };
	int why;

	*result = (struct cpu_probe){ .kind = CPU_UNUSABLE };
	int r = set_up(&p, kvm, e);

	if (!r)
		r = start_at(&p, false, OFF_SYSCALL, 0, e);
	if (r)
		return r;
	if (!reached_the_end(&p, &why)) {
		err_set(e, -ENOTSUP,
			"a guest's SYSCALL does not arrive (exit reason %d): this KVM fits neither "
			"kind of pv "
			"guest",
			why);
		return 0;
	}
	struct kvm_sregs s;

	r = kvm_get_sregs(p.vcpu.fd, &s);
	if (r)
		return err_sys(e, r, "KVM: registers of the probe");
	result->kind = s.cs.dpl == 0 ? CPU_RING0 : CPU_RING3;
	if (!measure)
		return 0;
	vcpu_enter(&p.vcpu); /* completes the write; ends at hlt or at a fault: either will do */
	r = start_at(&p, true, OFF_LOOP, RING0_STEPS / 2, e);
	if (r)
		return r;
	uint64_t start = now_ns();

	if (reached_the_end(&p, &why))
		result->ring0_ns = now_ns() - start;
	return 0;
}
