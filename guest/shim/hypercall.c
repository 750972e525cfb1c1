/*
 * The hypercall table.
 *
 * Tour stop 7: a hypercall is a call through a table. What is not in it answers -ENOSYS and is counted.
 * multicall runs several; it may not contain itself, nor iret.
 *
 * Trust: numbers and arguments are the kernel's. Threads: each vCPU. #syscalls: none
 */
#include "shim.h"

static bool canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

static int64_t hc_set_trap_table(struct vcpu *v, const uint64_t *a)
{
	if (!a[0])
		return 0;
	for (unsigned i = 0; i < 256; i++) {
		struct xen_trap_info t;

		if (!copy_in(&t, a[0] + i * sizeof(t), sizeof(t)))
			return -XEN_EFAULT;
		if (!t.address)
			break;
		v->traps[t.vector] = (struct trap){ t.address, t.flags };
	}
	return 0;
}

static int64_t hc_stack_switch(struct vcpu *v, const uint64_t *a)
{
	v->kernel_sp = a[1];
	return 0;
}

static int64_t hc_set_callbacks(struct vcpu *v, const uint64_t *a)
{
	v->event = (struct callback){ a[0], true };
	v->failsafe = (struct callback){ a[1], true };
	v->syscall = (struct callback){ a[2], false };
	return 0;
}

static int64_t hc_callback_op(struct vcpu *v, const uint64_t *a)
{
	struct xen_callback_register c;

	if (a[0] != CALLBACKOP_REGISTER)
		return a[0] == CALLBACKOP_UNREGISTER ? 0 : -XEN_ENOSYS;
	if (!copy_in(&c, a[1], sizeof(c)))
		return -XEN_EFAULT;
	if (!canonical(c.address))
		return -XEN_EINVAL;
	struct callback to = { c.address, c.flags & XEN_CALLBACKF_MASK_EVENTS };

	switch (c.type) {
	case XEN_CALLBACK_EVENT:
		v->event = to;
		return 0;
	case XEN_CALLBACK_FAILSAFE:
		v->failsafe = to;
		return 0;
	case XEN_CALLBACK_SYSCALL:
		v->syscall = to;
		return 0;
	case XEN_CALLBACK_SYSCALL32:
		v->syscall32 = to;
		return 0;
	case XEN_CALLBACK_SYSENTER:
		v->sysenter = to;
		return 0;
	case XEN_CALLBACK_NMI:
		return 0;
	}
	return -XEN_ENOSYS;
}

static int64_t hc_set_segment_base(struct vcpu *v, const uint64_t *a)
{
	if (a[0] != XEN_SEGBASE_GS_USER_SEL && !canonical(a[1]))
		return -XEN_EINVAL;
	switch (a[0]) {
	case XEN_SEGBASE_FS:
		write_fs(a[1]);
		return 0;
	case XEN_SEGBASE_GS_USER:
		v->gs_user = a[1];
		return 0;
	case XEN_SEGBASE_GS_KERNEL:
		set_kernel_gs(v, a[1]);
		return 0;
	case XEN_SEGBASE_GS_USER_SEL:
		return 0;
	}
	return -XEN_EINVAL;
}

static int64_t hc_set_debugreg(struct vcpu *v, const uint64_t *a)
{
	if (a[0] > 7)
		return -XEN_EINVAL;
	v->dr[a[0]] = a[1];
	return 0;
}

static int64_t hc_get_debugreg(struct vcpu *v, const uint64_t *a)
{
	return a[0] > 7 ? -XEN_EINVAL : (int64_t)v->dr[a[0]];
}

static int64_t accept(struct vcpu *v, const uint64_t *a)
{
	(void)v, (void)a;
	return 0;
}

typedef int64_t hypercall_fn(struct vcpu *v, const uint64_t *a);

static int64_t hc_multicall(struct vcpu *v, const uint64_t *a);

static hypercall_fn *const table[XEN_HYPERCALLS] = {
	[XEN_SET_TRAP_TABLE] = hc_set_trap_table,
	[XEN_MMU_UPDATE] = hc_mmu_update,
	[XEN_SET_GDT] = accept, /* selectors are the shim's own flat ones */
	[XEN_STACK_SWITCH] = hc_stack_switch,
	[XEN_SET_CALLBACKS] = hc_set_callbacks,
	[XEN_FPU_TASKSWITCH] = accept, /* the FPU is always the guest's */
	[XEN_SET_DEBUGREG] = hc_set_debugreg,
	[XEN_GET_DEBUGREG] = hc_get_debugreg,
	[XEN_PLATFORM_OP] = hc_platform_op,
	[XEN_UPDATE_DESCRIPTOR] = hc_update_descriptor,
	[XEN_MEMORY_OP] = hc_memory_op,
	[XEN_MULTICALL] = hc_multicall,
	[XEN_UPDATE_VA_MAPPING] = hc_update_va_mapping,
	[XEN_SET_TIMER_OP] = hc_set_timer_op,
	[XEN_VERSION] = hc_xen_version,
	[XEN_CONSOLE_IO] = hc_console_io,
	[XEN_GRANT_TABLE_OP] = hc_grant_table_op,
	[XEN_VM_ASSIST] = accept,
	[XEN_VCPU_OP] = hc_vcpu_op,
	[XEN_SET_SEGMENT_BASE] = hc_set_segment_base,
	[XEN_MMUEXT_OP] = hc_mmuext_op,
	[XEN_SCHED_OP] = hc_sched_op,
	[XEN_CALLBACK_OP] = hc_callback_op,
	[XEN_EVENT_CHANNEL_OP] = hc_event_channel_op,
	[XEN_PHYSDEV_OP] = hc_physdev_op,
};

static int64_t hc_multicall(struct vcpu *v, const uint64_t *a)
{
	for (uint64_t i = 0; i < a[1]; i++) {
		struct xen_multicall_entry e;
		uint64_t at = a[0] + i * sizeof(e);

		if (!copy_in(&e, at, sizeof(e)))
			return -XEN_EFAULT;
		v->page->multicalls++;
		if (e.op < XEN_HYPERCALLS)
			v->page->hypercalls[e.op]++;
		e.result = e.op == XEN_MULTICALL ? -XEN_EINVAL : do_hypercall(v, e.op, e.args);
		if (!copy_out(at + offsetof(struct xen_multicall_entry, result), &e.result, 8))
			return -XEN_EFAULT;
	}
	return 0;
}

int64_t do_hypercall(struct vcpu *v, uint64_t number, const uint64_t *a)
{
	if (number < XEN_HYPERCALLS && table[number])
		return table[number](v, a);
	v->page->refused++;
	return -XEN_ENOSYS;
}
