/*
 * Time, vCPUs, blocking and the end.
 *
 * Tour stop 10: idling. A kernel with nothing to do blocks: events are unmasked and, if none is pending, the vCPU
 * leaves the guest until the VMM has one for it. Timers are the VMM's; system time is nanoseconds since boot,
 * which the guest computes from the TSC by the record in its vcpu_info.
 *
 * Trust: vCPU numbers, addresses and times are the kernel's. Threads: each vCPU. #syscalls: none
 */
#include "shim.h"

static struct vcpu *vcpu_at(uint64_t index)
{
	return (struct vcpu *)(PV_HV + index * PV_AREA_SIZE + AREA_VCPU);
}

static int64_t set_timer(struct vcpu *v, uint64_t when)
{
	v->page->arg[0] = when;
	leave_guest(v, PV_OP_TIMER);
	return 0;
}

int64_t hc_set_timer_op(struct vcpu *v, const uint64_t *a)
{
	return set_timer(v, a[0]);
}

/* The record of a vCPU moves to a place of the kernel's choice, all of its events pending as Xen does. */
bool vcpu_set_info(struct vcpu *v, uint64_t mfn, uint32_t offset)
{
	if (!frame_is_guest(mfn) || offset > PAGE_BYTES - sizeof(struct xen_vcpu_info) ||
	    offset & 7)
		return false;
	struct xen_vcpu_info *to = phys((mfn << PAGE_SHIFT) + offset);

	*to = *v->info;
	v->info = to;
	v->page->vcpu_info_gpa = (mfn << PAGE_SHIFT) + offset;
	__atomic_store_n(&to->pending_sel, ~0ull, __ATOMIC_SEQ_CST);
	__atomic_store_n(&to->upcall_pending, 1, __ATOMIC_SEQ_CST);
	return true;
}

static int64_t initialise(uint64_t id, uint64_t arg)
{
	struct vcpu *t = vcpu_at(id);
	uint64_t area = PV_HV + id * PV_AREA_SIZE;
	struct xen_vcpu_context c;

	if (t->kernel_cr3)
		return -XEN_EEXIST;
	if (!copy_in(&c, arg, sizeof(c)))
		return -XEN_EFAULT;
	uint64_t mfn = (c.ctrlreg[3] & PTE_ADDR) >> PAGE_SHIFT;

	if (!frame_is_guest(mfn))
		return -XEN_EINVAL;
	prepare_l4(mfn, false);
	t->index = id;
	t->page = (struct pv_vcpu_page *)(area + AREA_SHARED);
	t->traps = (struct trap *)(area + AREA_TRAP_TABLE);
	if (!t->info) {
		t->info = &shared_info()->vcpu[id];
		t->page->vcpu_info_gpa = shared()->hv_gpa + HV_SHARED_INFO +
					 id * sizeof(struct xen_vcpu_info);
	}
	for (unsigned i = 0; i < 256; i++)
		t->traps[c.traps[i].vector] = (struct trap){ c.traps[i].address, c.traps[i].flags };
	t->kernel_sp = c.kernel_sp;
	t->event = (struct callback){ c.event_callback, true };
	t->failsafe = (struct callback){ c.failsafe_callback, true };
	t->syscall = (struct callback){ c.syscall_callback, false };
	t->gs_kernel = c.gs_base_kernel;
	t->start = (struct regs){
		.r15 = c.regs.r15,
		.r14 = c.regs.r14,
		.r13 = c.regs.r13,
		.r12 = c.regs.r12,
		.rbp = c.regs.rbp,
		.rbx = c.regs.rbx,
		.r11 = c.regs.r11,
		.r10 = c.regs.r10,
		.r9 = c.regs.r9,
		.r8 = c.regs.r8,
		.rax = c.regs.rax,
		.rcx = c.regs.rcx,
		.rdx = c.regs.rdx,
		.rsi = c.regs.rsi,
		.rdi = c.regs.rdi,
		.rip = c.regs.rip,
		.rsp = c.regs.rsp,
	};
	t->info->upcall_mask = 1;
	t->kernel_cr3 = mfn << PAGE_SHIFT;
	((struct pv_gate *)(area + AREA_GATE))->kernel_cr3 = t->kernel_cr3;
	return 0;
}

static int64_t register_info(uint64_t id, uint64_t arg)
{
	struct xen_register_vcpu_info r;
	struct vcpu *t = vcpu_at(id);

	if (!copy_in(&r, arg, sizeof(r)))
		return -XEN_EFAULT;
	if (!t->info) {
		t->info = &shared_info()->vcpu[id];
		t->page = (struct pv_vcpu_page *)(PV_HV + id * PV_AREA_SIZE + AREA_SHARED);
	}
	return vcpu_set_info(t, r.mfn, r.offset) ? 0 : -XEN_EINVAL;
}

static int64_t set_singleshot(struct vcpu *v, uint64_t arg)
{
	struct xen_singleshot_timer t;

	if (!copy_in(&t, arg, sizeof(t)))
		return -XEN_EFAULT;
	return set_timer(v, t.timeout ? t.timeout : 1);
}

int64_t hc_vcpu_op(struct vcpu *v, const uint64_t *a)
{
	uint64_t id = a[1];

	if (id >= shared()->vcpus)
		return -XEN_ENOENT;
	switch (a[0]) {
	case VCPUOP_INITIALISE:
		return initialise(id, a[2]);
	case VCPUOP_UP:
		if (!vcpu_at(id)->kernel_cr3)
			return -XEN_EINVAL;
		v->page->arg[0] = id;
		leave_guest(v, PV_OP_VCPU_UP);
		return 0;
	case VCPUOP_DOWN:
		if (id == v->index)
			leave_guest(v, PV_OP_VCPU_DOWN);
		return 0;
	case VCPUOP_IS_UP:
		return id == 0 || vcpu_at(id)->kernel_cr3;
	case VCPUOP_STOP_PERIODIC_TIMER:
		return 0;
	case VCPUOP_SET_SINGLESHOT_TIMER:
		return id == v->index ? set_singleshot(v, a[2]) : -XEN_EINVAL;
	case VCPUOP_STOP_SINGLESHOT_TIMER:
		return id == v->index ? set_timer(v, 0) : -XEN_EINVAL;
	case VCPUOP_REGISTER_VCPU_INFO:
		return register_info(id, a[2]);
	case VCPUOP_REGISTER_RUNSTATE:
		return 0;
	case VCPUOP_GET_RUNSTATE_INFO: {
		const struct xen_runstate_info none = { .state = 0 };

		return copy_out(a[2], &none, sizeof(none)) ? 0 : -XEN_EFAULT;
	}
	}
	return -XEN_ENOSYS;
}

static int64_t block(struct vcpu *v)
{
	v->info->upcall_mask = 0;
	if (!__atomic_load_n(&v->info->upcall_pending, __ATOMIC_SEQ_CST)) {
		v->page->arg[0] = 0;
		v->page->arg[1] = 0;
		leave_guest(v, PV_OP_BLOCK);
	}
	return 0;
}

/* 1 when one of the ports is pending, 0 when none is, or an error. */
static int64_t any_pending(const struct xen_sched_poll *p)
{
	for (uint32_t i = 0; i < p->nr_ports; i++) {
		uint32_t port;

		if (!copy_in(&port, p->ports + i * sizeof(port), sizeof(port)))
			return -XEN_EFAULT;
		if (port >= XEN_PORTS)
			return -XEN_EINVAL;
		if (__atomic_load_n(&shared_info()->pending[port >> 6], __ATOMIC_SEQ_CST) >>
			    (port & 63) &
		    1)
			return 1;
	}
	return 0;
}

/* Until one of some ports is pending, or a time. Waking early is allowed: the kernel looks again. */
static int64_t poll(struct vcpu *v, uint64_t arg)
{
	struct xen_sched_poll p;

	if (!copy_in(&p, arg, sizeof(p)))
		return -XEN_EFAULT;
	if (p.nr_ports > 128)
		return -XEN_EINVAL;
	__atomic_store_n(&v->page->polling, 1, __ATOMIC_SEQ_CST);
	int64_t r = any_pending(&p);

	if (r == 0) {
		v->page->arg[0] = p.timeout;
		v->page->arg[1] = 1;
		leave_guest(v, PV_OP_BLOCK);
	}
	__atomic_store_n(&v->page->polling, 0, __ATOMIC_SEQ_CST);
	return r < 0 ? r : 0;
}

int64_t hc_sched_op(struct vcpu *v, const uint64_t *a)
{
	switch (a[0]) {
	case SCHEDOP_YIELD:
		if (shared()->vcpus > 1)
			leave_guest(v, PV_OP_YIELD);
		return 0;
	case SCHEDOP_BLOCK:
		return block(v);
	case SCHEDOP_POLL:
		return poll(v, a[1]);
	case SCHEDOP_SHUTDOWN: {
		uint32_t reason;

		if (!copy_in(&reason, a[1], sizeof(reason)))
			return -XEN_EFAULT;
		v->page->arg[0] = reason;
		leave_guest(v, PV_OP_SHUTDOWN);
		return 0;
	}
	}
	return -XEN_ENOSYS;
}
