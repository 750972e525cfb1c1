/*
 * Privileged instructions of a kernel that runs in ring 3.
 *
 * A PV kernel makes few of them: CPUID behind Xen's prefix, MSRs, ports that nothing answers, control registers.
 *
 * Trust: the bytes at rip are the kernel's; they are copied once. Threads: each vCPU. #syscalls: none
 */
#include "shim.h"

#define MSR_FS_BASE	   0xc0000100u
#define MSR_GS_BASE	   0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u

#define CR0_GUEST 0x80050033ull
#define CR4_GUEST \
	0x40420ull /* OSFXSR, OSXMMEXCPT... as PV kernels expect: PAE, OSXMMEXCPT, OSXSAVE */

bool emulate_cpuid(struct vcpu *v, struct regs *r)
{
	const struct pv_shared *s = shared();
	uint32_t leaf = (uint32_t)r->rax, sub = (uint32_t)r->rcx;

	(void)v;
	r->rax = r->rbx = r->rcx = r->rdx = 0;
	for (uint32_t i = 0; i < s->cpuid_n && i < PV_CPUID_MAX; i++) {
		const struct pv_cpuid *c = &s->cpuid[i];

		if (c->leaf == leaf && (!c->by_subleaf || c->subleaf == sub)) {
			r->rax = c->eax;
			r->rbx = c->ebx;
			r->rcx = c->ecx;
			r->rdx = c->edx;
			break;
		}
	}
	return true;
}

static bool canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

static bool read_msr(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	switch (msr) {
	case MSR_FS_BASE:
		*value = read_fs();
		return true;
	case MSR_GS_BASE:
		*value = read_gs();
		return true;
	case MSR_KERNEL_GS_BASE:
		*value = v->gs_user;
		return true;
	case 0xc0000080: /* EFER: SCE LME LMA NXE */
		*value = 0xd01;
		return true;
	case 0x277: /* PAT as Xen sets it */
		*value = 0x0000050100070406ull;
		return true;
	case 0x1a0: /* IA32_MISC_ENABLE: fast strings; without it Intel's ERMS is dropped but FSRM kept */
		*value = 1;
		return true;
	case 0x1b: /* APIC base */
		*value = 0xfee00900;
		return true;
	case 0x17:	 /* platform id */
	case 0x8b:	 /* microcode revision */
	case 0xfe:	 /* MTRR capabilities */
	case 0xc0010015: /* HWCR */
	case 0xc0011029: /* DE_CFG */
		*value = 0;
		return true;
	}
	return false;
}

static bool write_msr(struct vcpu *v, uint32_t msr, uint64_t value)
{
	if (msr >= MSR_FS_BASE && msr <= MSR_KERNEL_GS_BASE && !canonical(value))
		return false;
	if (msr == MSR_FS_BASE)
		write_fs(value);
	else if (msr == MSR_GS_BASE)
		set_kernel_gs(v, value);
	else if (msr == MSR_KERNEL_GS_BASE)
		v->gs_user = value;
	/* The rest has no effect here, which Xen does not report either. */
	return true;
}

/* The register that a ModRM field names; r11..r15 by REX. */
static uint64_t *reg_at(struct regs *r, unsigned n)
{
	switch (n) {
	case 0:
		return &r->rax;
	case 1:
		return &r->rcx;
	case 2:
		return &r->rdx;
	case 3:
		return &r->rbx;
	case 4:
		return &r->rsp;
	case 5:
		return &r->rbp;
	case 6:
		return &r->rsi;
	case 7:
		return &r->rdi;
	case 8:
		return &r->r8;
	case 9:
		return &r->r9;
	case 10:
		return &r->r10;
	case 11:
		return &r->r11;
	case 12:
		return &r->r12;
	case 13:
		return &r->r13;
	case 14:
		return &r->r14;
	}
	return &r->r15;
}

static uint64_t read_cr(struct vcpu *v, unsigned n)
{
	switch (n) {
	case 0:
		return CR0_GUEST;
	case 2:
		return v->info->cr2;
	case 3:
		return v->kernel_cr3;
	case 4:
		return CR4_GUEST;
	}
	return 0;
}

/* in, out: ports read as absent, but for the timer's, on which Linux would wait for a change. */
static bool emulate_port(struct regs *r, uint8_t op, uint8_t imm, unsigned prefix, bool narrow)
{
	bool by_imm = op == 0xe4 || op == 0xe5 || op == 0xe6 || op == 0xe7;
	bool in = op == 0xe4 || op == 0xe5 || op == 0xec || op == 0xed;
	bool out = op == 0xe6 || op == 0xe7 || op == 0xee || op == 0xef;
	unsigned port = by_imm ? imm : (unsigned)(r->rdx & 0xffff);

	if (!in && !out)
		return false;
	r->rip += prefix + (by_imm ? 2 : 1);
	if (out)
		return true;
	if (port == 0x42)
		r->rax &= ~0xffull;
	else if (!(op & 1))
		r->rax |= 0xff;
	else if (narrow)
		r->rax |= 0xffff;
	else
		r->rax = 0xffffffff;
	return true;
}

static bool emulate_two_byte(struct vcpu *v, struct regs *r, const uint8_t *b, unsigned rex,
			     unsigned len)
{
	uint64_t value;

	switch (b[1]) {
	case 0x30: /* wrmsr */
		if (!write_msr(v, (uint32_t)r->rcx, (uint32_t)r->rax | r->rdx << 32))
			return false;
		r->rip += len + 2;
		return true;
	case 0x32: /* rdmsr */
		if (!read_msr(v, (uint32_t)r->rcx, &value))
			return false;
		r->rax = (uint32_t)value;
		r->rdx = value >> 32;
		r->rip += len + 2;
		return true;
	case 0x06: /* clts */
	case 0x08: /* invd */
	case 0x09: /* wbinvd */
		r->rip += len + 2;
		return true;
	case 0x20: /* mov cr, reg */
	case 0x22: /* mov reg, cr: ignored, as hypercalls change what may change */
		if (b[1] == 0x20)
			*reg_at(r, (b[2] & 7u) | (rex & 1u) << 3) = read_cr(v, b[2] >> 3 & 7);
		r->rip += len + 3;
		return true;
	case 0x21: /* mov dr, reg */
		*reg_at(r, (b[2] & 7u) | (rex & 1u) << 3) = v->dr[b[2] >> 3 & 7];
		r->rip += len + 3;
		return true;
	case 0x23: /* mov reg, dr */
		v->dr[b[2] >> 3 & 7] = *reg_at(r, (b[2] & 7u) | (rex & 1u) << 3);
		r->rip += len + 3;
		return true;
	case 0x01:
		if (b[2] != 0xd1) /* xsetbv */
			return false;
		if (shared()->ring0) {
			v->page->arg[0] = (uint32_t)r->rax | r->rdx << 32;
			leave_guest(v, PV_OP_XCR0);
		}
		r->rip += len + 3;
		return true;
	}
	return false;
}

bool emulate_privileged(struct vcpu *v, struct regs *r)
{
	uint8_t b[16] = { 0 };
	unsigned n = 0, rex = 0;
	bool narrow = false;

	/* The last instruction before a missing page: take what is there. */
	if (!copy_in(b, r->rip, 8) && !copy_in(b, r->rip, 3))
		return false;
	while (n < 4 && (b[n] == 0x66 || b[n] == 0xf2 || b[n] == 0xf3))
		narrow |= b[n++] == 0x66;
	if (emulate_port(r, b[n], b[n + 1], n, narrow))
		return true;
	switch (b[n]) {
	case 0xfa: /* cli */
	case 0xfb: /* sti */
		make_nop(v, r->rip + n);
		r->rip += n + 1;
		return true;
	case 0xf4: /* hlt */
		r->rip += n + 1;
		return true;
	}
	if ((b[n] & 0xf0) == 0x40)
		rex = b[n++];
	if (b[n] == 0x0f)
		return emulate_two_byte(v, r, b + n, rex, n);
	return false;
}
