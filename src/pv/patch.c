/*
 * Two changes to the kernel in guest memory that save time.
 *
 * Hypercalls: where SYSCALL is dear, hypercall sites can enter the shim by a plain indirect call, since both run in
 * ring 3. The shim rewrites a site when it first comes by SYSCALL (guest/shim/site.c); we keep the two addresses
 * that it needs within reach of a 32-bit pointer, in ELF notes that nothing reads any more. With several vCPUs the
 * entry first looks which one it is on.
 *
 * The p2m: a kernel with memory hotplug prepares its frame list for 512 GB, frame by frame, which takes longer than
 * the rest of the boot. The limit is an immediate operand in its initial code, known by the rounding that follows;
 * it becomes 1 GB, or stays when the code looks different. Guests with more memory than that get their own size,
 * since the code takes the larger of both.
 *
 * Trust: the kernel's bytes are only compared. Threads: the builder's. #syscalls: none
 */
#include <string.h>

#include "base/util.h"
#include "pv/domain.h"
#include "wire/elf.h"

#define INIT_CODE_MAX (1u << 20) /* the entry is at the start of the initial code */
#define LIMIT_BEFORE  80u	 /* bytes from the operand to the rounding, at most */
#define FRAMES_512G   0x8000000u
#define FRAMES_1G     0x40000u

/* lea 0x1fffff(,%rax,8), %rax; and $~0x1fffff, %rax */
static const uint8_t rounding[] = { 0x48, 0x8d, 0x04, 0xc5, 0xff, 0xff, 0x1f,
				    0x00, 0x48, 0x25, 0x00, 0x00, 0xe0, 0xff };

/* Keeps `target` in the word at `vaddr`. False: it is out of reach. */
static bool keep_target(struct pv_domain *d, const struct elf_xen *xen, uint64_t vaddr,
			uint64_t target)
{
	return vaddr >= 0xffffffff80000000ull && vaddr >= xen->virt_base &&
	       vaddr - xen->virt_base <= d->ram - 8 &&
	       memory_write(&d->mem, GPA(vaddr - xen->virt_base), &target, 8) == 0;
}

static void limit_p2m(struct pv_domain *d, const struct elf_xen *xen)
{
	uint64_t start = xen->entry & ~(uint64_t)(PAGE - 1);
	uint8_t *code = start >= xen->virt_base
				? memory_at(&d->mem, GPA(start - xen->virt_base), INIT_CODE_MAX)
				: NULL;

	if (!code)
		return;
	uint8_t *at = memmem(code, INIT_CODE_MAX, rounding, sizeof(rounding));

	for (unsigned back = 4; at && back <= LIMIT_BEFORE && at - back > code; back++) {
		uint32_t operand, less = FRAMES_1G;

		memcpy(&operand, at - back, sizeof(operand));
		/* mov $imm32, %r32 */
		if (operand == FRAMES_512G && (at[-(int)back - 1] & 0xf8) == 0xb8) {
			memcpy(at - back, &less, sizeof(less));
			return;
		}
	}
}

void pv_patch_kernel(struct pv_domain *d, const struct elf_xen *xen)
{
	bool one = d->vcpus == 1;

	limit_p2m(d, xen);
	if (d->ring0 || !xen->spare[0] || !xen->spare[1])
		return;
	if (keep_target(d, xen, xen->spare[0],
			one ? PV_HV + d->shim.entry_call : d->shim.any_call) &&
	    keep_target(d, xen, xen->spare[1],
			one ? PV_HV + d->shim.entry_iret : d->shim.any_iret)) {
		d->shared->call_cell = xen->spare[0];
		d->shared->iret_cell = xen->spare[1];
	}
}
