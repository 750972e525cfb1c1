/*
 * x86-64 under hardware virtualization.
 *
 * KVM keeps the local APICs and the I/O APIC in the kernel. A vCPU gets the host's CPUID as KVM reports it,
 * with its own APIC identifier and the topology of one package; the first starts in 64-bit mode with an
 * identity map of 4 GB, which is what Linux' 64-bit boot protocol and PVH's successors ask for.
 *
 * Trust: nothing of the guest's runs yet. Threads: before vCPUs run. #syscalls: ioctl
 */
#include "machine/x86.h"

#include <asm/processor-flags.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "machine/acpi.h"

enum {
	GDT = 0x500,
	PML4 = 0x9000,
	PDPT = 0xa000,
	PD = 0xb000, /* four of them */
	CODE = 0x10, /* the selectors of the boot protocol */
	DATA = 0x18,
	CPUID_MAX = 256,
	TSS_ADDRESS = (int)0xfffbd000, /* three pages below the BIOS area; Intel only */
	APIC_LVT0 = 0x350,
	APIC_LVT1 = 0x360,
	APIC_MODE_EXTINT = 0x700,
	APIC_MODE_NMI = 0x400,
};

enum {
	MSR_MISC_ENABLE = 0x1a0,
	MSR_MISC_ENABLE_FAST_STRING = 1,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MTRR_ENABLE_WRITE_BACK = 1 << 11 | 6,
};

int x86_machine_init(struct machine *m, struct err *e)
{
	int r = kvm_set_tss_addr(m->vm, (uint32_t)TSS_ADDRESS);

	if (!r)
		r = kvm_irqchip_create(m->vm);
	return r ? err_sys(e, r, "KVM: no interrupt controllers") : 0;
}

/* Intel's and AMD's leaves by which Linux finds the number of threads and cores. */
static void edit_cpuid(struct kvm_cpuid_entry2 *c, unsigned index, unsigned n)
{
	switch (c->function) {
	case 1:
		c->ebx = (c->ebx & 0xffff) | n << 16 | index << 24;
		c->ecx |= 1u << 31; /* a hypervisor is present */
		if (n > 1)
			c->edx |= 1u << 28; /* EBX 16..23 counts */
		break;
	case 4: /* caches shared by none, `n` cores */
		if (c->eax & 31)
			c->eax = (c->eax & 0x3fff) | (n - 1) << 26;
		break;
	case 0xb:
	case 0x1f: /* x2APIC topology: one thread a core, `n` cores */
		c->edx = index;
		c->ebx = c->index == 0 ? 1 : c->index == 1 ? n : 0;
		c->eax = c->index == 1 ? 8 : 0;
		c->ecx = c->index | (c->index == 0 ? 1u << 8 : c->index == 1 ? 2u << 8 : 0);
		break;
	case 0x80000008: /* ECX: cores and the width of their numbers */
		c->ecx = (n - 1) | (n > 1 ? 8u << 12 : 0);
		break;
	case 0x8000001e:
		c->eax = index;
		c->ebx = index;
		c->ecx = 0;
		break;
	default:
		break;
	}
}

static int set_cpuid(struct machine *m, struct vcpu *v, unsigned n, struct err *e)
{
	cleanup_free struct kvm_cpuid2 *cpuid = calloc(
		1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));

	if (!cpuid)
		return err_sys(e, -ENOMEM, "vCPU %u", v->index);
	cpuid->nent = CPUID_MAX;
	int r = kvm_supported_cpuid(m->kvm, cpuid);

	if (r < 0)
		return err_sys(e, r, "KVM: cannot read the host's CPUID");
	for (unsigned i = 0; i < cpuid->nent; i++) {
		edit_cpuid(&cpuid->entries[i], v->index, n);
		if (cpuid->entries[i].function == 1 &&
		    kvm_check(m->kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
			cpuid->entries[i].ecx |= 1u << 24;
	}
	r = kvm_set_cpuid(v->fd, cpuid);
	return r < 0 ? err_sys(e, r, "vCPU %u: CPUID was refused", v->index) : 0;
}

static int set_msrs(struct vcpu *v)
{
	static const struct kvm_msr_entry wanted[] = {
		{ .index = MSR_MISC_ENABLE, .data = MSR_MISC_ENABLE_FAST_STRING },
		{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE_WRITE_BACK },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct {
			struct kvm_msrs head;
			struct kvm_msr_entry entry;
		} one = { .head.nmsrs = 1, .entry = wanted[i] };

		if (kvm_set_msrs(v->fd, &one.head) != 1)
			log_debug("vCPU %u: KVM refuses MSR 0x%x", v->index, wanted[i].index);
	}
	return 0;
}

/* The lines of the old interrupt controller and of NMI, as firmware leaves them. */
static int set_lapic(struct vcpu *v, struct err *e)
{
	struct kvm_lapic_state lapic;
	int r = kvm_get_lapic(v->fd, &lapic);
	uint32_t extint = APIC_MODE_EXTINT, nmi = APIC_MODE_NMI;

	if (r)
		return err_sys(e, r, "vCPU %u: no local APIC", v->index);
	memcpy(lapic.regs + APIC_LVT0, &extint, 4);
	memcpy(lapic.regs + APIC_LVT1, &nmi, 4);
	r = kvm_set_lapic(v->fd, &lapic);
	return r ? err_sys(e, r, "vCPU %u: local APIC", v->index) : 0;
}

int x86_vcpu_init(struct machine *m, struct vcpu *v, unsigned n, struct err *e)
{
	int r = set_cpuid(m, v, n, e);

	if (!r)
		r = set_msrs(v);
	return r ? r : set_lapic(v, e);
}

static int write_tables(const struct memory *mem)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	enum { PRESENT = 1, WRITE = 2, LARGE = 0x80 };
	uint64_t table[512] = { PDPT | PRESENT | WRITE };
	int r = memory_write(mem, GPA(GDT), gdt, sizeof(gdt));

	if (!r)
		r = memory_write(mem, GPA(PML4), table, sizeof(table));
	memset(table, 0, sizeof(table));
	for (unsigned i = 0; i < 4; i++)
		table[i] = (PD + i * PAGE) | PRESENT | WRITE;
	if (!r)
		r = memory_write(mem, GPA(PDPT), table, sizeof(table));
	for (uint64_t i = 0; i < 4; i++) {
		for (uint64_t k = 0; k < 512; k++)
			table[k] = (i << 30 | k << 21) | PRESENT | WRITE | LARGE;
		if (!r)
			r = memory_write(mem, GPA(PD + i * PAGE), table, sizeof(table));
	}
	return r;
}

static struct kvm_segment flat_segment(uint16_t selector, bool code)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = code ? 11 : 3,
		.present = 1,
		.db = !code,
		.s = 1,
		.l = code,
		.g = 1,
	};
}

int x86_vcpu_start(struct vcpu *v, const struct memory *mem, const struct linux_entry *entry,
		   struct err *e)
{
	struct kvm_sregs s;
	int r = write_tables(mem);

	if (!r)
		r = kvm_get_sregs(v->fd, &s);
	if (r)
		return err_sys(e, r, "vCPU %u: cannot be set up", v->index);
	s.cs = flat_segment(CODE, true);
	s.ds = s.es = s.fs = s.gs = s.ss = flat_segment(DATA, false);
	s.gdt.base = GDT;
	s.gdt.limit = 4 * 8 - 1;
	s.idt.limit = 0;
	s.cr3 = PML4;
	s.cr4 = X86_CR4_PAE;
	s.cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |
		X86_CR0_PG;
	s.efer = 1 << 8 | 1 << 10; /* long mode enabled and active */
	struct kvm_regs regs = { .rip = entry->rip, .rsi = entry->rsi, .rflags = 2 };

	r = kvm_set_sregs(v->fd, &s);
	if (!r)
		r = kvm_set_regs(v->fd, &regs);
	return r ? err_sys(e, r, "vCPU %u: initial state was refused", v->index) : 0;
}
