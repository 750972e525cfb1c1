/*
 * CPUID of a guest.
 *
 * KVM says what it can give; a template takes features away by a table; the leaves from which Linux learns which
 * processor it is on and how many share a package are filled in. Levels are those of the x86-64 psABI: what is
 * taken away is what the next level brings and whatever came after it.
 *
 * Trust: input is KVM's and ours. Threads: any. #syscalls: none
 */
#include "machine/cpuid.h"

#include <stdint.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

/* Bits to clear in the four registers of one leaf. */
struct row {
	uint32_t function, index;
	uint32_t eax, ebx, ecx, edx;
};

struct cpu_template {
	const char *name;
	const struct row *row;
	size_t rows;
};

#define BIT(n) (1u << (n))

enum { ALL = 0xffffffff };

/* Leaf 7: AVX-512 in all its parts, AMX, and what is rarer than AVX2. */
#define LEAF7_EBX_512 \
	(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31))
#define LEAF7_ECX_512 (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14))
#define LEAF7_EDX_512 (BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25))
/* Leaf 0xd: states that no instruction is left for: opmask, ZMM, AMX. */
#define XSTATE_512 (BIT(5) | BIT(6) | BIT(7) | BIT(17) | BIT(18))

static const struct row v3[] = {
	{ 7, 0, .ebx = LEAF7_EBX_512, .ecx = LEAF7_ECX_512, .edx = LEAF7_EDX_512 },
	{ 7, 1, .eax = ALL },
	{ 0xd, 0, .eax = XSTATE_512 },
	{ 0x1d, 0, ALL, ALL, ALL, ALL },
	{ 0x1e, 0, ALL, ALL, ALL, ALL },
};

static const struct row v2[] = {
	/* FMA, MOVBE, XSAVE, AVX, F16C */
	{ 1, 0, .ecx = BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29) },
	/* BMI1, AVX2, BMI2 as well */
	{ 7, 0, .ebx = LEAF7_EBX_512 | BIT(3) | BIT(5) | BIT(8),
	  .ecx = LEAF7_ECX_512 | BIT(9) | BIT(10), .edx = LEAF7_EDX_512 },
	{ 7, 1, .eax = ALL },
	{ 0xd, 0, ALL, ALL, ALL, ALL },
	{ 0xd, 1, ALL, ALL, ALL, ALL },
	{ 0x1d, 0, ALL, ALL, ALL, ALL },
	{ 0x1e, 0, ALL, ALL, ALL, ALL },
	/* LZCNT, and AMD's XOP, FMA4, TBM */
	{ 0x80000001, 0, .ecx = BIT(5) | BIT(11) | BIT(16) | BIT(21) },
};

static const struct cpu_template templates[] = {
	{ "host", NULL, 0 },
	{ "x86-64-v2", v2, ARRAY_SIZE(v2) },
	{ "x86-64-v3", v3, ARRAY_SIZE(v3) },
};

const struct cpu_template *cpu_template_find(const char *name)
{
	if (!name)
		return &templates[0];
	for (size_t i = 0; i < ARRAY_SIZE(templates); i++) {
		if (streq(name, templates[i].name))
			return &templates[i];
	}
	return NULL;
}

static void withhold(struct kvm_cpuid_entry2 *c, const struct cpu_template *template)
{
	for (size_t i = 0; i < template->rows; i++) {
		const struct row *r = &template->row[i];

		if (c->function != r->function || c->index != r->index)
			continue;
		c->eax &= ~r->eax;
		c->ebx &= ~r->ebx;
		c->ecx &= ~r->ecx;
		c->edx &= ~r->edx;
	}
}

/* Bits that hold `n` different numbers. */
static unsigned width(unsigned n)
{
	return n > 1 ? 32 - (unsigned)__builtin_clz(n - 1) : 0;
}

/* Intel's and AMD's leaves by which Linux finds the number of threads and cores: one thread a core, `n` cores. */
static void set_topology(struct kvm_cpuid_entry2 *c, unsigned index, unsigned n)
{
	switch (c->function) {
	case 1:
		c->ebx = (c->ebx & 0xffff) | n << 16 | index << 24;
		c->ecx |= BIT(31); /* a hypervisor is present */
		if (n > 1)
			c->edx |= BIT(28); /* EBX 16..23 counts */
		else
			c->edx &= ~BIT(28);
		break;
	case 4: /* the numbers of caches' sharers and of cores, less one; only the last level is shared */
		if (c->eax & 31)
			c->eax = (c->eax & 0x3fff) | (n - 1) << 26 |
				 ((c->eax >> 5 & 7) >= 3 ? (n - 1) << 14 : 0);
		break;
	case 0xb:
	case 0x1f: /* x2APIC: level 0 threads, level 1 cores */
		c->edx = index;
		c->ebx = c->index == 0 ? 1 : c->index == 1 ? n : 0;
		c->eax = c->index == 1 ? width(n) : 0;
		c->ecx = c->index | (c->index == 0 ? 1u << 8 : c->index == 1 ? 2u << 8 : 0);
		break;
	case 0x80000008: /* ECX: cores and the width of their numbers */
		c->ecx = (n - 1) | width(n) << 12;
		break;
	case 0x8000001d: /* AMD's leaf 4 */
		if (c->eax & 31)
			c->eax = (c->eax & 0x3fff) | ((c->eax >> 5 & 7) >= 3 ? (n - 1) << 14 : 0);
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

void cpuid_shape(struct kvm_cpuid_entry2 *entry, size_t entries,
		 const struct cpu_template *template, unsigned index, unsigned n, bool tsc_deadline)
{
	for (size_t i = 0; i < entries; i++) {
		withhold(&entry[i], template);
		set_topology(&entry[i], index, n);
		if (entry[i].function == 1 && tsc_deadline)
			entry[i].ecx |= BIT(24);
	}
}
