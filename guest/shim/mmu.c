/*
 * Page tables.
 *
 * Tour stop 8: the page mapper. A PV kernel's page tables hold machine frames and are walked by the CPU as they
 * are; here machine frames equal guest-physical ones, so an update is a checked store through the linear map.
 * Xen would keep the tables read-only; we let the kernel write its own (KVM's shadow paging is what protects the
 * host), and only see to three things: every present entry is open to ring 3, where the kernel runs; none is
 * global; and the hypervisor's slots are in every top-level table.
 *
 * An unchanged entry is not written: each write to a table that KVM shadows is a fault in the host.
 *
 * Trust: frame numbers, table addresses and pointers are the kernel's, all checked against the guest's RAM.
 * Threads: each vCPU; the kernel's own locks order updates of one table. #syscalls: none
 */
#include "shim.h"

#define BATCH 16 /* updates copied at once */

/* The kernel asks for some read-only mappings of its direct map, of tables and descriptors. Left writable, its
 * locked operations on entries need no emulation. */
#define DIRECT_MAP_START 0xffff880000000000ull
#define DIRECT_MAP_END	 0xffffc80000000000ull

bool frame_is_guest(uint64_t mfn)
{
	return mfn < shared()->ram_pages;
}

/* What a guest may map: its RAM, and of the hypervisor's area the pages that are shared with it. */
bool frame_is_mappable(uint64_t mfn)
{
	uint64_t offset;

	if (likely(frame_is_guest(mfn)))
		return true;
	offset = (mfn << PAGE_SHIFT) - shared()->hv_gpa;
	return mfn < shared()->total_pages &&
	       (offset == HV_SHARED_INFO ||
		(offset >= HV_GRANTS && offset < HV_GRANTS + HV_GRANT_FRAMES * PAGE_BYTES));
}

static uint64_t adjust(uint64_t e)
{
	return e & PTE_P ? (e | PTE_U) & ~(uint64_t)PTE_G : e;
}

static bool entry_is_allowed(uint64_t e)
{
	return !(e & PTE_P) || frame_is_mappable((e & PTE_ADDR) >> PAGE_SHIFT);
}

void load_cr3(struct vcpu *v)
{
	v->page->flushes++;
	v->gate->kernel_cr3 = v->kernel_cr3;
	if (shared()->ring0)
		__asm__ volatile("mov %0, %%cr3" ::"r"(v->kernel_cr3) : "memory");
	else
		v->gate_cr3();
}

static void invalidate(struct vcpu *v, uint64_t address)
{
	if (shared()->ring0)
		__asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
	else
		load_cr3(v);
}

void flush_others(struct vcpu *v, uint64_t mask)
{
	mask &= (1ull << shared()->vcpus) - 1;
	mask &= ~(1ull << v->index);
	if (!mask)
		return;
	v->page->arg[0] = mask;
	leave_guest(v, PV_OP_FLUSH);
}

/* The hypervisor's three slots, without touching what is right already. */
void prepare_l4(uint64_t mfn, bool user)
{
	const struct pv_shared *s = shared();
	const uint64_t want[3] = { user ? s->l4_user : s->l4_kernel, user ? 0 : s->l4_linear,
				   user ? 0 : s->l4_m2p };
	uint64_t *l4 = phys(mfn << PAGE_SHIFT);

	for (unsigned i = 0; i < 3; i++)
		if ((l4[PV_SLOT_HV + i] & ~(uint64_t)(PTE_A | PTE_D)) !=
		    (want[i] & ~(uint64_t)(PTE_A | PTE_D)))
			l4[PV_SLOT_HV + i] = want[i];
}

/* Makes the entries of a table and all below it right. What the current tables share with it was done before.
 * `budget` counts tables: a tree has no more of them than there are frames, unless it contains itself. False when
 * it is used up. */
static bool adjust_table(struct vcpu *v, uint64_t mfn, int level, uint64_t *budget)
{
	uint64_t *t = phys(mfn << PAGE_SHIFT);
	const uint64_t *now = phys(v->kernel_cr3 & PTE_ADDR);

	if (!(*budget)--)
		return false;
	for (unsigned i = 0; i < 512; i++) {
		uint64_t e = t[i];

		if (!(e & PTE_P) || (level == 4 && i >= PV_SLOT_FIRST && i < PV_SLOT_END))
			continue;
		if (unlikely(!entry_is_allowed(e))) {
			v->page->refused++;
			t[i] = 0;
			continue;
		}
		if (adjust(e) != e)
			t[i] = adjust(e);
		else if (level == 4 && t != now && now[i] == e)
			continue;
		if (level > 1 && !(e & PTE_PS) && frame_is_guest((e & PTE_ADDR) >> PAGE_SHIFT) &&
		    !adjust_table(v, (e & PTE_ADDR) >> PAGE_SHIFT, level - 1, budget))
			return false;
	}
	return true;
}

/* The L1 entry of a virtual address in the current tables, NULL when there is no L1. */
uint64_t *walk(struct vcpu *v, uint64_t address)
{
	uint64_t *t = phys(v->kernel_cr3 & PTE_ADDR);

	for (int shift = 39; shift > 12; shift -= 9) {
		uint64_t e = t[address >> shift & 511];

		if (!(e & PTE_P) || (e & PTE_PS) || !frame_is_guest((e & PTE_ADDR) >> PAGE_SHIFT))
			return NULL;
		t = phys(e & PTE_ADDR);
	}
	return &t[address >> 12 & 511];
}

static int64_t update_entry(struct vcpu *v, uint64_t where, uint64_t value, bool keep_ad)
{
	uint64_t gpa = where & ~7ull;

	v->page->mmu_updates++;
	if (unlikely(!frame_is_guest(gpa >> PAGE_SHIFT) || !entry_is_allowed(value))) {
		v->page->refused++;
		return -XEN_EINVAL;
	}
	uint64_t *p = phys(gpa);

	if (keep_ad)
		value |= *p & (PTE_A | PTE_D);
	value = adjust(value);
	if (*p != value)
		__atomic_store_n(p, value, __ATOMIC_RELAXED);
	return 0;
}

static int64_t update_m2p(struct vcpu *v, uint64_t mfn, uint64_t pfn)
{
	if (unlikely(!frame_is_guest(mfn))) {
		v->page->refused++;
		return -XEN_EINVAL;
	}
	((uint64_t *)PV_M2P)[mfn] = pfn;
	return 0;
}

static void report_done(uint64_t to, uint64_t done)
{
	uint32_t n = (uint32_t)done;

	if (to)
		copy_out(to, &n, sizeof(n));
}

/* (updates, count, *done, domain) */
int64_t hc_mmu_update(struct vcpu *v, const uint64_t *a)
{
	uint64_t count = a[1] & 0x7fffffff, i = 0;
	int64_t result = 0;

	while (i < count && !result) {
		struct xen_mmu_update u[BATCH];
		uint64_t n = count - i < BATCH ? count - i : BATCH;

		if (!copy_in(u, a[0] + i * sizeof(u[0]), n * sizeof(u[0]))) {
			result = -XEN_EFAULT;
			break;
		}
		for (uint64_t k = 0; k < n && !result; k++) {
			unsigned kind = u[k].ptr & 3;

			if (kind == XEN_MMU_MACHPHYS)
				result = update_m2p(v, u[k].ptr >> PAGE_SHIFT, u[k].val);
			else if (kind == 3)
				result = -XEN_ENOSYS;
			else
				result = update_entry(v, u[k].ptr, u[k].val,
						      kind == XEN_MMU_PT_PRESERVE_AD);
			if (!result)
				i++;
		}
	}
	report_done(a[2], i);
	return result;
}

/* Which other vCPUs a flush names: all, or a mask behind a guest pointer. */
static uint64_t named_vcpus(bool all, uint64_t pointer)
{
	uint64_t mask = ~0ull;

	if (!all && !copy_in(&mask, pointer, sizeof(mask)))
		mask = ~0ull;
	return mask;
}

/* (va, entry, flags) */
int64_t hc_update_va_mapping(struct vcpu *v, const uint64_t *a)
{
	uint64_t *p = walk(v, a[0]), value = a[1];

	v->page->mmu_updates++;
	if (!p || !entry_is_allowed(value)) {
		v->page->refused++;
		return -XEN_EINVAL;
	}
	if ((value & PTE_P) && a[0] >= DIRECT_MAP_START && a[0] < DIRECT_MAP_END)
		value |= PTE_W;
	value = adjust(value);
	if (*p != value)
		__atomic_store_n(p, value, __ATOMIC_RELAXED);
	if (a[2] & XEN_UVMF_MASK) {
		if ((a[2] & XEN_UVMF_MASK) == XEN_UVMF_TLB_FLUSH)
			load_cr3(v);
		else
			invalidate(v, a[0]);
		if (a[2] & ~(uint64_t)XEN_UVMF_MASK)
			flush_others(v, named_vcpus(a[2] & 4, a[2] & ~7ull));
	}
	return 0;
}

static int64_t new_base(struct vcpu *v, uint64_t mfn, bool user)
{
	if (user && !mfn) {
		v->user_cr3 = v->gate->user_cr3 = 0;
		return 0;
	}
	if (!frame_is_guest(mfn))
		return -XEN_EINVAL;
	prepare_l4(mfn, user);
	if (user) {
		v->user_cr3 = v->gate->user_cr3 = mfn << PAGE_SHIFT;
		return 0;
	}
	v->kernel_cr3 = mfn << PAGE_SHIFT;
	load_cr3(v);
	return 0;
}

static int64_t pin(struct vcpu *v, uint64_t mfn, int level)
{
	uint64_t budget = 2 * shared()->ram_pages;

	if (!frame_is_guest(mfn) || !adjust_table(v, mfn, level, &budget))
		return -XEN_EINVAL;
	if (level == 4)
		prepare_l4(mfn, false);
	return 0;
}

static int64_t one_mmuext(struct vcpu *v, const struct xen_mmuext_op *op)
{
	switch (op->cmd) {
	case XEN_PIN_L1:
	case XEN_PIN_L2:
	case XEN_PIN_L3:
	case XEN_PIN_L4:
		return pin(v, op->arg1, (int)op->cmd + 1);
	case XEN_NEW_BASEPTR:
	case XEN_NEW_USER_BASEPTR:
		return new_base(v, op->arg1, op->cmd == XEN_NEW_USER_BASEPTR);
	case XEN_TLB_FLUSH_ALL:
	case XEN_TLB_FLUSH_MULTI:
	case XEN_TLB_FLUSH_LOCAL:
		load_cr3(v);
		if (op->cmd != XEN_TLB_FLUSH_LOCAL)
			flush_others(v, named_vcpus(op->cmd == XEN_TLB_FLUSH_ALL, op->arg2));
		return 0;
	case XEN_INVLPG_ALL:
	case XEN_INVLPG_MULTI:
	case XEN_INVLPG_LOCAL:
		invalidate(v, op->arg1);
		if (op->cmd != XEN_INVLPG_LOCAL)
			flush_others(v, named_vcpus(op->cmd == XEN_INVLPG_ALL, op->arg2));
		return 0;
	case XEN_CLEAR_PAGE:
		if (!frame_is_guest(op->arg1))
			return -XEN_EINVAL;
		__builtin_memset(phys(op->arg1 << PAGE_SHIFT), 0, PAGE_BYTES);
		return 0;
	case XEN_COPY_PAGE:
		if (!frame_is_guest(op->arg1) || !frame_is_guest(op->arg2))
			return -XEN_EINVAL;
		__builtin_memcpy(phys(op->arg1 << PAGE_SHIFT), phys(op->arg2 << PAGE_SHIFT),
				 PAGE_BYTES);
		return 0;
	case XEN_UNPIN:
	case XEN_SET_LDT:
	case XEN_FLUSH_CACHE:
	case XEN_FLUSH_CACHE_GLOBAL:
	case XEN_MARK_SUPER:
	case XEN_UNMARK_SUPER:
		return 0;
	}
	return -XEN_ENOSYS;
}

/* (ops, count, *done, domain) */
int64_t hc_mmuext_op(struct vcpu *v, const uint64_t *a)
{
	uint64_t count = a[1] & 0x7fffffff, i = 0;
	int64_t result = 0;

	for (; i < count && !result; i++) {
		struct xen_mmuext_op op;

		if (!copy_in(&op, a[0] + i * sizeof(op), sizeof(op)))
			result = -XEN_EFAULT;
		else
			result = one_mmuext(v, &op);
		if (result)
			v->page->refused++;
	}
	report_done(a[2], result ? i - 1 : i);
	return result;
}

/* (machine address, descriptor): the kernel's own table, which the CPU never loads. */
int64_t hc_update_descriptor(struct vcpu *v, const uint64_t *a)
{
	if (!frame_is_guest(a[0] >> PAGE_SHIFT) || (a[0] & 7)) {
		v->page->refused++;
		return -XEN_EINVAL;
	}
	*(uint64_t *)phys(a[0]) = a[1];
	return 0;
}
