/*
 * Hypercalls without SYSCALL.
 *
 * Where SYSCALL is dear, a kernel's hypercall sites can enter the shim by a plain indirect call instead, since
 * both run in ring 3. Linux has one site for all hypercalls and one for iret, each a fixed run of instructions:
 *
 *   push %rcx; push %r11; syscall; pop %r11; pop %rcx     8 bytes   ->  call *target
 *   mov $23, %eax; syscall                                7 bytes   ->  jmp *target
 *
 * A call through memory takes seven bytes with a 32-bit address; the two targets are kept in ELF notes that
 * nothing reads any more. Only the copy in guest memory changes. A site that is not found exactly once is left
 * alone and goes on by SYSCALL, and so does everything when there are several vCPUs, as the entry belongs to one.
 *
 * Trust: the kernel's bytes are only compared. Threads: the builder's. #syscalls: none
 */
#include <string.h>

#include "pv/domain.h"
#include "wire/elf.h"

static const uint8_t call_site[] = { 0x51, 0x41, 0x53, 0x0f, 0x05, 0x41, 0x5b, 0x59 };
static const uint8_t iret_site[] = { 0xb8, XEN_IRET, 0, 0, 0, 0x0f, 0x05 };

/* The only place of `what` in the kernel's code; NULL for none or several. */
static uint8_t *only_site(struct pv_domain *d, const struct elf_image *image, const uint8_t *what,
			  size_t n)
{
	uint8_t *found = NULL;

	for (unsigned i = 0; i < image->segments; i++) {
		const struct elf_segment *s = &image->segment[i];
		uint8_t *p = memory_at(&d->mem, GPA(s->paddr), s->file_size);

		if (!p || !s->executable)
			continue;
		for (uint8_t *end = p + s->file_size; (p = memmem(p, (size_t)(end - p), what, n));
		     p++) {
			if (found)
				return NULL;
			found = p;
		}
	}
	return found;
}

/* Puts `target` where the note at `vaddr` was. */
static bool keep_target(struct pv_domain *d, const struct elf_xen *xen, uint64_t vaddr,
			uint64_t target)
{
	return vaddr >= xen->virt_base && vaddr >= 0xffffffff80000000ull &&
	       vaddr - xen->virt_base <= d->ram - 8 &&
	       memory_write(&d->mem, GPA(vaddr - xen->virt_base), &target, 8) == 0;
}

static void put_indirect(uint8_t *site, uint8_t modrm, uint64_t pointer, size_t length)
{
	uint32_t low = (uint32_t)pointer;

	site[0] = 0xff;
	site[1] =
		modrm; /* 0x14: call, 0x24: jmp; both with a 32-bit address that is sign-extended */
	site[2] = 0x25;
	memcpy(site + 3, &low, 4);
	memset(site + 7, 0x90, length - 7);
}

int pv_patch_kernel(struct pv_domain *d, const struct elf_image *image, const struct elf_xen *xen)
{
	if (d->ring0 || d->vcpus != 1 || !xen->spare[0] || !xen->spare[1])
		return 0;
	uint8_t *call = only_site(d, image, call_site, sizeof(call_site));
	uint8_t *iret = only_site(d, image, iret_site, sizeof(iret_site));

	if (!call || !iret || !keep_target(d, xen, xen->spare[0], PV_HV + d->shim.entry_call) ||
	    !keep_target(d, xen, xen->spare[1], PV_HV + d->shim.entry_iret))
		return 0;
	put_indirect(call, 0x14, xen->spare[0], sizeof(call_site));
	put_indirect(iret, 0x24, xen->spare[1], sizeof(iret_site));
	return 2;
}
