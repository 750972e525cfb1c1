/*
 * Out of the guest, and across to the guest's pointers.
 *
 * Tour stop 5: an exit. The shim writes a word to a page that has no memory behind it; KVM ends KVM_RUN and hands
 * the word to the VMM, whose answer is in the page that both share. A doorbell is the same with an eventfd
 * behind it: the guest goes on at once and a back end wakes.
 *
 * Trust: a pointer from the guest is only used by copy_bytes, whose faults `nested` turns into a short count, and
 * only outside the hypervisor's own L4 slots, so that the kernel cannot borrow the shim's rights where the shim
 * has more (in ring 0).
 * Threads: each vCPU. #syscalls: none
 */
#include "shim.h"

size_t copy_bytes(void *to, const void *from, size_t n);
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

void leave_guest(struct vcpu *v, enum pv_op op)
{
	(void)v;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__asm__ volatile("movl %0, (%1)" ::"r"((uint32_t)op), "r"(PV_HV + HV_MMIO) : "memory");
}

void ring_bell(unsigned bell)
{
	__asm__ volatile("movl %0, (%1)" ::"r"(bell),
			 "r"(PV_HV + HV_MMIO + PV_MMIO_BELL + 8ull * bell)
			 : "memory");
}

void broken(struct vcpu *v, enum pv_broken why, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	v->page->arg[0] = why;
	v->page->arg[1] = a;
	v->page->arg[2] = b;
	v->page->arg[3] = c;
	v->page->arg[4] = d;
#ifdef SHIM_HOSTED
	hosted_broken();
#endif
	for (;;)
		leave_guest(v, PV_OP_BROKEN);
}

/* A range of the guest's own address space: canonical, and no byte of it the hypervisor's. */
static bool guest_range(uint64_t address, size_t n)
{
#ifdef SHIM_HOSTED
	return hosted_range(address, n);
#endif
	uint64_t end = address + n;

	if (end < address)
		return false;
	if (end <= 0x0000800000000000ull)
		return true;
	return address >= 0xffff880000000000ull;
}

bool copy_in(void *to, uint64_t from, size_t n)
{
	return guest_range(from, n) && copy_bytes(to, (const void *)from, n) == 0;
}

bool copy_out(uint64_t to, const void *from, size_t n)
{
	return guest_range(to, n) && copy_bytes((void *)to, from, n) == 0;
}

#ifndef SHIM_HOSTED
/* The compiler may call these for structs. */
void *memcpy(void *to, const void *from, size_t n)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
	return start;
}

void *memset(void *to, int c, size_t n)
{
	void *start = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(c) : "memory");
	return start;
}
#endif
