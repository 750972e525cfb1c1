/*
 * The CPU that a guest kernel believes in.
 *
 * On a host that runs guests deprivileged, user code sees the real CPUID and XCR0 whatever we say, so the
 * kernel's view is the host's less what a PV guest cannot use. The kernel asks through Xen's prefix and the shim
 * answers from this table. XSAVE stays (only with XSAVEOPT), since user code would use it anyway and its state
 * must be switched.
 *
 * Trust: none. Threads: the builder's. #syscalls(start): ioctl
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "pv/domain.h"

#define B(n) (1u << (n))

/* Leaf 1 ecx: MONITOR, VMX, TM2, PCID, PDCM, x2APIC, TSC deadline. */
#define DROP_1_ECX (B(2) | B(3) | B(5) | B(8) | B(15) | B(17) | B(21) | B(24))
#define SET_1_ECX  (B(27) | B(31)) /* OSXSAVE, hypervisor */
/* edx: VME, PSE, MCE, SEP (no 32-bit fast calls), MTRR, PGE, MCA, PSE36. */
#define DROP_1_EDX (B(1) | B(3) | B(7) | B(11) | B(12) | B(13) | B(14) | B(17))

/* Leaf 7 ebx: BMI1 AVX2 BMI2 ERMS AVX512F/DQ RDSEED ADX IFMA CLFLUSHOPT CLWB CD SHA BW VL. */
#define KEEP_7_EBX                                                                           \
	(B(3) | B(5) | B(8) | B(9) | B(16) | B(17) | B(18) | B(19) | B(21) | B(23) | B(24) | \
	 B(28) | B(29) | B(30) | B(31))
/* ecx: VBMI VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ. */
#define KEEP_7_ECX (B(1) | B(6) | B(8) | B(9) | B(10) | B(11) | B(12) | B(14))
#define KEEP_7_EDX B(4) /* FSRM */

/* Leaf 0x80000001 edx: the leaf 1 ones, and 1 GB pages, RDTSCP. */
#define DROP_E1_EDX (B(1) | B(3) | B(7) | B(12) | B(13) | B(14) | B(17) | B(26) | B(27))
#define KEEP_E1_ECX (B(0) | B(5) | B(6) | B(7) | B(8)) /* LAHF ABM SSE4A MISALIGNSSE PREFETCHW */

#define XSAVE_LAST 9 /* sub-leaves above are AMX and supervisor state */

static void filter(struct pv_cpuid *c)
{
	switch (c->leaf) {
	case 1:
		c->ebx = (c->ebx & 0xff00ffff) | 0x10000; /* one logical processor */
		c->ecx = (c->ecx & ~DROP_1_ECX) | SET_1_ECX;
		c->edx &= ~DROP_1_EDX;
		break;
	case 7:
		c->eax = 0;
		c->ebx &= c->subleaf ? 0 : KEEP_7_EBX;
		c->ecx &= c->subleaf ? 0 : KEEP_7_ECX;
		c->edx &= c->subleaf ? 0 : KEEP_7_EDX;
		break;
	case 0xd:
		if (c->subleaf == 0)
			c->eax &= 0x2ff; /* no AMX */
		if (c->subleaf == 1) {
			c->eax &= 1;
			c->ebx = c->ecx = c->edx = 0;
		}
		break;
	case 0x80000001:
		c->ecx &= KEEP_E1_ECX;
		c->edx &= ~DROP_E1_EDX;
		break;
	case 0x80000008:
		c->ebx = 0;
		break;
	}
}

static void add(struct pv_domain *d, struct pv_cpuid c)
{
	if (d->shared->cpuid_n < PV_CPUID_MAX)
		d->shared->cpuid[d->shared->cpuid_n++] = c;
}

static void add_host(struct pv_domain *d, uint32_t leaf)
{
	bool subs = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d;
	uint32_t last = leaf == 0xd ? XSAVE_LAST : subs ? 3 : 0;

	for (uint32_t sub = 0; sub <= last; sub++) {
		struct pv_cpuid c = { .leaf = leaf, .subleaf = sub, .by_subleaf = subs };

		__cpuid_count(leaf, sub, c.eax, c.ebx, c.ecx, c.edx);
		if (sub > 1 && !(c.eax | c.ebx | c.ecx | c.edx))
			continue;
		filter(&c);
		add(d, c);
	}
}

int pv_cpuid_init(struct pv_domain *d, struct pv_vcpu *v, struct err *e)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[128];
	} cpuid = { .head.nent = 128 };
	int r = kvm_supported_cpuid(d->config.kvm, &cpuid.head);

	if (!r)
		r = kvm_set_cpuid(v->cpu.fd, &cpuid.head);
	if (r)
		return err_sys(e, r, "KVM: CPUID");
	if (d->shared->cpuid_n)
		return 0;
	uint32_t top = __get_cpuid_max(0, NULL), extended = __get_cpuid_max(0x80000000, NULL);

	/* "XenVMMXenVMM", version 4.17, and the page of hypercalls that nobody needs. */
	add(d, (struct pv_cpuid){ .leaf = 0x40000000,
				  .eax = 0x40000002,
				  .ebx = 0x566e6558,
				  .ecx = 0x65584d4d,
				  .edx = 0x4d4d566e });
	add(d, (struct pv_cpuid){ .leaf = 0x40000001, .eax = 4 << 16 | 17 });
	add(d, (struct pv_cpuid){ .leaf = 0x40000002, .eax = 1, .ebx = 0x40000000, .ecx = 1 });
	for (uint32_t leaf = 0; leaf <= MIN(top, 0x20u); leaf++)
		add_host(d, leaf);
	for (uint32_t leaf = 0x80000000; leaf <= MIN(extended, 0x80000021u); leaf++)
		add_host(d, leaf);
	return 0;
}
