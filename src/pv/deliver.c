/*
 * Events into a vCPU that was interrupted: its registers are set so that the shim's upcall vector runs next.
 *
 * Tour stop 12: when events may be delivered from outside. Only if the guest stands in its own code, in ring 3,
 * with no exception half delivered. If it stands in the shim, the shim will look at the pending byte on its way
 * out; if it has just looked, we come back a moment later.
 *
 * An int3 needs a look of its own. Where KVM runs guests deprivileged, it has taken the trap and moved RIP behind the
 * instruction, while it does not tell of the exception that it is about to deliver: its interface leaves out those
 * that software raises, since elsewhere RIP would still stand on them. New registers would drop the trap, and the
 * kernel, which tests at boot that its int3 arrives, would panic.
 *
 * Trust: registers, vcpu_info, page tables and code are the guest's; all are read through the memory's door.
 * Threads: the vCPU's own. #syscalls(vcpu): clock_gettime
 */
#include <string.h>

#include "base/util.h"
#include "pv/domain.h"

#define RETRY_NS  300000ull  /* less storms: each try is an exit */
#define ASSURE_NS 4000000ull /* when it should not be needed */

/* A signal may come before the guest has run at all: not many times in turn. */
#define INT3_TRIES 32

#define VECTOR_BREAKPOINT 3
#define OPCODE_INT3	  0xcc

#define ENTRY_PRESENT 1u
#define ENTRY_LARGE   0x80u
#define ENTRY_ADDRESS 0x000ffffffffff000ull

struct xen_vcpu_info *pv_vcpu_info(struct pv_vcpu *v)
{
	uint64_t gpa = __atomic_load_n(&v->page->vcpu_info_gpa, __ATOMIC_RELAXED);

	return memory_at(&v->d->mem, GPA(gpa), sizeof(struct xen_vcpu_info));
}

/* The byte at a virtual address under `cr3`, or -1. */
static int byte_at(const struct pv_domain *d, uint64_t cr3, uint64_t address)
{
	uint64_t table = cr3 & ENTRY_ADDRESS;
	uint8_t b;

	for (unsigned shift = 39;; shift -= 9) {
		uint64_t entry, at = table + (address >> shift & 511) * sizeof(entry);

		if (memory_read(&d->mem, GPA(at), &entry, sizeof(entry)) < 0 ||
		    !(entry & ENTRY_PRESENT))
			return -1;
		if (shift == 12 || (shift < 39 && (entry & ENTRY_LARGE))) {
			uint64_t in_page = (1ull << shift) - 1;

			table = (entry & ENTRY_ADDRESS & ~in_page) | (address & in_page);
			return memory_read(&d->mem, GPA(table), &b, 1) < 0 ? -1 : b;
		}
		table = entry & ENTRY_ADDRESS;
	}
}

/* Whether an int3 that the guest executed may still wait for its delivery. One that did arrives as soon as the guest
 * runs again, and the shim counts it; a vCPU that stays where it is although it may have run that often, without one
 * more counted, only stands behind an old int3. */
static bool int3_may_wait(struct pv_vcpu *v, const struct kvm_run *run)
{
	uint64_t rip = run->s.regs.regs.rip;
	uint64_t arrived = __atomic_load_n(&v->page->traps[VECTOR_BREAKPOINT], __ATOMIC_RELAXED);

	if (v->d->ring0 || run->s.regs.events.exception.nr != VECTOR_BREAKPOINT ||
	    byte_at(v->d, run->s.regs.sregs.cr3, rip - 1) != OPCODE_INT3)
		return false;
	if (v->int3_rip != rip || v->int3_arrived != arrived)
		v->int3_tries = 0;
	v->int3_rip = rip;
	v->int3_arrived = arrived;
	return v->int3_tries++ < INT3_TRIES;
}

enum place { IN_GUEST, WILL_LOOK, MAY_HAVE_LOOKED };

/* Where an interruption found the vCPU, as far as the shim's look at pending events is concerned. */
static enum place where_is(struct pv_vcpu *v, uint64_t rip, unsigned dpl,
			   const struct kvm_vcpu_events *ev)
{
	const struct shim_header *h = &v->d->shim;
	uint64_t offset = (rip - PV_HV) % PV_AREA_SIZE;

	bool in_area = rip - PV_HV < PV_VCPUS_MAX * (uint64_t)PV_AREA_SIZE;

	if (rip >> 39 != PV_HV >> 39)
		return dpl != 3 || ev->exception.injected || ev->exception.pending ||
				       ev->interrupt.injected || int3_may_wait(v, v->cpu.run)
			       ? MAY_HAVE_LOOKED
			       : IN_GUEST;
	/* A stub leads into the shim, but for those that lead to user code. */
	if (in_area && offset < AREA_GDT)
		return offset < h->stub_debug || offset >= AREA_STUBS_MERGED ? WILL_LOOK
									     : MAY_HAVE_LOOKED;
	if (in_area && offset >= AREA_ENTRY && offset < h->entry_end)
		return WILL_LOOK;
	return __atomic_load_n(&v->page->leaving, __ATOMIC_RELAXED) ? MAY_HAVE_LOOKED : WILL_LOOK;
}

/* What the CPU would push goes to the top of the hardware stack, and the vCPU to the upcall's entry. */
static void enter_upcall(struct pv_vcpu *v)
{
	struct pv_domain *d = v->d;
	struct kvm_regs *g = &v->cpu.run->s.regs.regs;
	struct kvm_sregs *s = &v->cpu.run->s.regs.sregs;
	uint64_t area = d->ram + v->cpu.index * (uint64_t)PV_AREA_SIZE;
	uint64_t base = PV_HV + v->cpu.index * (uint64_t)PV_AREA_SIZE;
	uint64_t *top = memory_at(&d->mem, GPA(area + AREA_HW_TOP - 40), 40);
	const struct pv_gate *gate = memory_at(&d->mem, GPA(area + AREA_GATE), sizeof(*gate));
	struct kvm_segment cs = s->cs, ss = s->ss;

	if (!top || !gate)
		return;
	top[0] = g->rip;
	top[1] = cs.selector;
	top[2] = g->rflags;
	top[3] = g->rsp;
	top[4] = ss.selector;
	g->rip = base + d->shim.entry_vectors + VECTOR_UPCALL * ENTRY_SIZE;
	g->rsp = base + AREA_TRAP_TOP - 48;
	g->rflags = d->ring0 ? 2 : 0x202;
	v->cpu.run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	v->injected++;
	cs.selector = d->ring0 ? 0x10 : 0x33;
	ss.selector = d->ring0 ? 0x18 : 0x2b;
	cs.dpl = ss.dpl = d->ring0 ? 0 : 3;
	cs.type = 11;
	cs.l = 1;
	cs.db = 0;
	/* A kernel in ring 3 that was interrupted has them all already. */
	if (!memcmp(&cs, &s->cs, sizeof(cs)) && !memcmp(&ss, &s->ss, sizeof(ss)) &&
	    s->cr3 == gate->kernel_cr3)
		return;
	s->cs = cs;
	s->ss = ss;
	s->cr3 = gate->kernel_cr3;
	v->cpu.run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
}

/* After an interruption, with the registers in `run`: enters the shim's upcall vector if something is due. */
void pv_deliver(struct pv_vcpu *v)
{
	struct kvm_run *run = v->cpu.run;
	struct xen_vcpu_info *info = pv_vcpu_info(v);
	bool flush = __atomic_load_n(&v->page->flush, __ATOMIC_SEQ_CST);

	v->retry_at = 0;
	if (!info || (!flush && !__atomic_load_n(&info->upcall_pending, __ATOMIC_SEQ_CST)))
		return;
	switch (where_is(v, run->s.regs.regs.rip, run->s.regs.sregs.cs.dpl, &run->s.regs.events)) {
	case IN_GUEST:
		break;
	case WILL_LOOK:
		v->retry_at = now_ns() + ASSURE_NS;
		return;
	case MAY_HAVE_LOOKED:
		v->retried++;
		v->retry_at = now_ns() + RETRY_NS;
		return;
	}
	if (!flush && __atomic_load_n(&info->upcall_mask, __ATOMIC_SEQ_CST))
		return;
	enter_upcall(v);
}
