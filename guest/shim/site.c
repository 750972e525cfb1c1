/*
 * Rewriting the kernel's code where it can only gain.
 *
 * A PV kernel has one place that makes hypercalls and one that makes iret, each with a fixed run of instructions:
 *
 *   push %rcx; push %r11; syscall; pop %r11; pop %rcx     8 bytes   ->  call *call_cell; nop
 *   mov $23, %eax; syscall                                7 bytes   ->  jmp *iret_cell
 *
 * The first SYSCALL from such a place rewrites it, so that from then on the shim is entered by a call. And an
 * instruction that has no effect here but costs a trap each time (cli, sti) becomes a nop.
 *
 * Trust: bytes are compared before they change, and only pages of the guest's RAM are written.
 * Threads: each vCPU; a site is rewritten by the first vCPU, long before there is a second. #syscalls: none
 */
#include "shim.h"

static const uint8_t call_site[] = { 0x51, 0x41, 0x53, 0x0f, 0x05, 0x41, 0x5b, 0x59 };
static const uint8_t iret_site[] = { 0xb8, XEN_IRET, 0, 0, 0, 0x0f, 0x05 };

/* The kernel's bytes [address, address + n) in RAM; NULL when they cross a page or are not there. */
static uint8_t *bytes_at(struct vcpu *v, uint64_t address, unsigned n)
{
	const uint64_t *e = walk(v, address);

	if ((address & (PAGE_BYTES - 1)) + n > PAGE_BYTES || !e || !(*e & PTE_P) ||
	    !frame_is_guest((*e & PTE_ADDR) >> PAGE_SHIFT))
		return NULL;
	return (uint8_t *)phys(*e & PTE_ADDR) + (address & (PAGE_BYTES - 1));
}

static bool same(const uint8_t *a, const uint8_t *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

static void put_indirect(uint8_t *site, uint8_t modrm, uint64_t cell, unsigned n)
{
	site[0] = 0xff;
	site[1] =
		modrm; /* 0x14: call, 0x24: jmp, both through a 32-bit address that is sign-extended */
	site[2] = 0x25;
	for (unsigned i = 0; i < 4; i++)
		site[3 + i] = (uint8_t)(cell >> 8 * i);
	for (unsigned i = 7; i < n; i++)
		site[i] = 0x90;
}

/* A hypercall came by SYSCALL. It returns behind the rewritten site, with the two pops done. */
void improve_site(struct vcpu *v, struct regs *r)
{
	const struct pv_shared *s = shared();
	uint8_t *p = bytes_at(v, r->rip - 5, sizeof(call_site));
	uint64_t saved[2];

	if (p && same(p, call_site, sizeof(call_site)) && copy_in(saved, r->rsp, sizeof(saved))) {
		put_indirect(p, 0x14, s->call_cell, sizeof(call_site));
		r->r11 = saved[0];
		r->rcx = saved[1];
		r->rsp += sizeof(saved);
		r->rip += 3;
		return;
	}
	p = bytes_at(v, r->rip - 7, sizeof(iret_site));
	if (p && same(p, iret_site, sizeof(iret_site)))
		put_indirect(p, 0x24, s->iret_cell, sizeof(iret_site));
}

void make_nop(struct vcpu *v, uint64_t rip)
{
	uint8_t *p = bytes_at(v, rip, 1);

	if (p)
		*p = 0x90;
}
