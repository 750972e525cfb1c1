/*
 * x86-64 under hardware virtualization.
 *
 * KVM keeps the local APICs and the I/O APIC in the kernel. A vCPU gets the host's CPUID as KVM reports it, shaped
 * by cpuid.c; KVM's own leaves among it tell the guest of kvmclock and steal time. The first starts in 64-bit mode
 * with an identity map of 4 GB, which is what Linux' 64-bit boot protocol asks for, or in 32-bit protected mode.
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

static int set_cpuid(struct machine *m, struct vcpu *v, const struct cpu_template *template,
		     unsigned n, struct err *e)
{
	cleanup_free struct kvm_cpuid2 *cpuid = calloc(
		1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));

	if (!cpuid)
		return err_sys(e, -ENOMEM, "vCPU %u", v->index);
	cpuid->nent = CPUID_MAX;
	int r = kvm_supported_cpuid(m->kvm, cpuid);

	if (r < 0)
		return err_sys(e, r, "KVM: cannot read the host's CPUID");
	cpuid_shape(cpuid->entries, cpuid->nent, template, v->index, n,
		    kvm_check(m->kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0);
	r = kvm_set_cpuid(v->fd, cpuid);
	return r < 0 ? err_sys(e, r, "vCPU %u: CPUID was refused", v->index) : 0;
}

/* What the host refuses the guest does without. */
static void set_msrs(struct machine *m, struct vcpu *v)
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

		if (kvm_set_msrs(v->fd, &one.head) == 1)
			continue;
		m->msrs_refused++;
		log_debug("vCPU %u: KVM refuses MSR 0x%x", v->index, wanted[i].index);
	}
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

int x86_vcpu_init(struct machine *m, struct vcpu *v, const struct cpu_template *template,
		  unsigned n, struct err *e)
{
	int r = set_cpuid(m, v, template, n, e);

	if (r)
		return r;
	set_msrs(m, v);
	return set_lapic(v, e);
}

static int write_tables(const struct memory *mem)
{
	enum { PRESENT = 1, WRITE = 2, LARGE = 0x80 };
	uint64_t table[512] = { PDPT | PRESENT | WRITE };
	int r = memory_write(mem, GPA(PML4), table, sizeof(table));

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

static int write_gdt(const struct memory *mem, bool is_long)
{
	const uint64_t gdt[] = { 0, 0, is_long ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
				 0x00cf93000000ffff };

	return memory_write(mem, GPA(GDT), gdt, sizeof(gdt));
}

static struct kvm_segment flat_segment(uint16_t selector, bool code, bool is_long)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = code ? 11 : 3,
		.present = 1,
		.db = !code || !is_long,
		.s = 1,
		.l = code && is_long,
		.g = 1,
	};
}

int x86_vcpu_start(struct vcpu *v, const struct memory *mem, const struct boot_entry *entry,
		   struct err *e)
{
	struct kvm_sregs s;
	bool is_long = entry->is_long;
	int r = write_gdt(mem, is_long);

	if (!r && is_long)
		r = write_tables(mem);
	if (!r)
		r = kvm_get_sregs(v->fd, &s);
	if (r)
		return err_sys(e, r, "vCPU %u: cannot be set up", v->index);
	s.cs = flat_segment(CODE, true, is_long);
	s.ds = s.es = s.fs = s.gs = s.ss = flat_segment(DATA, false, is_long);
	s.gdt.base = GDT;
	s.gdt.limit = 4 * 8 - 1;
	s.idt.limit = 0;
	s.cr0 = X86_CR0_PE | X86_CR0_ET;
	if (is_long) {
		s.cr3 = PML4;
		s.cr4 = X86_CR4_PAE;
		s.cr0 |= X86_CR0_MP | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_PG;
		s.efer = 1 << 8 | 1 << 10; /* long mode enabled and active */
	}
	struct kvm_regs regs = {
		.rip = entry->rip,
		.rax = entry->rax,
		.rbx = entry->rbx,
		.rsi = entry->rsi,
		.rflags = 2,
	};

	r = kvm_set_sregs(v->fd, &s);
	if (!r)
		r = kvm_set_regs(v->fd, &regs);
	return r ? err_sys(e, r, "vCPU %u: initial state was refused", v->index) : 0;
}
