/*
 * What a guest's hypervisor did, by kind, and how long it took.
 *
 * Traps and hypercalls are counted and timed by the shim, exits by the vCPU's thread, what happens below both by KVM.
 * A trap's time here begins in the shim: that of its delivery, which on a deprivileged host is most of it, lies
 * before; it shows as the difference to the time that KVM runs the vCPU.
 *
 * Trust: the shim's counters lie in guest memory: a lie misleads whoever looks at that guest.
 * Threads: any. #syscalls: none
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "pv/domain.h"

static const char *const trap_name[] = {
	[0] = "divide",	     [1] = "debug",	  [2] = "nmi",	    [3] = "breakpoint",
	[4] = "overflow",    [5] = "bounds",	  [6] = "opcode",   [7] = "no-fpu",
	[8] = "double",	     [10] = "tss",	  [11] = "segment", [12] = "stack",
	[13] = "protection", [14] = "page-fault", [16] = "fpu",	    [17] = "alignment",
	[18] = "machine",    [19] = "simd",	  [32] = "event",
};

static const char *const hypercall_name[] = {
	[XEN_SET_TRAP_TABLE] = "set_trap_table",
	[XEN_MMU_UPDATE] = "mmu_update",
	[XEN_SET_GDT] = "set_gdt",
	[XEN_STACK_SWITCH] = "stack_switch",
	[XEN_SET_CALLBACKS] = "set_callbacks",
	[XEN_FPU_TASKSWITCH] = "fpu_taskswitch",
	[XEN_PLATFORM_OP] = "platform_op",
	[XEN_SET_DEBUGREG] = "set_debugreg",
	[XEN_GET_DEBUGREG] = "get_debugreg",
	[XEN_UPDATE_DESCRIPTOR] = "update_descriptor",
	[XEN_MEMORY_OP] = "memory_op",
	[XEN_MULTICALL] = "multicall",
	[XEN_UPDATE_VA_MAPPING] = "update_va_mapping",
	[XEN_SET_TIMER_OP] = "set_timer_op",
	[XEN_VERSION] = "xen_version",
	[XEN_CONSOLE_IO] = "console_io",
	[XEN_GRANT_TABLE_OP] = "grant_table_op",
	[XEN_VM_ASSIST] = "vm_assist",
	[XEN_IRET] = "iret",
	[XEN_VCPU_OP] = "vcpu_op",
	[XEN_SET_SEGMENT_BASE] = "set_segment_base",
	[XEN_MMUEXT_OP] = "mmuext_op",
	[XEN_SCHED_OP] = "sched_op",
	[XEN_CALLBACK_OP] = "callback_op",
	[XEN_EVENT_CHANNEL_OP] = "event_channel_op",
	[XEN_PHYSDEV_OP] = "physdev_op",
};

static const char *const exit_name[] = {
	[PV_OP_BOOT] = "boot",	     [PV_OP_CONSOLE] = "console",     [PV_OP_TIMER] = "timer",
	[PV_OP_BLOCK] = "block",     [PV_OP_SEND] = "send",	      [PV_OP_SHUTDOWN] = "shutdown",
	[PV_OP_BROKEN] = "broken",   [PV_OP_XCR0] = "xcr0",	      [PV_OP_YIELD] = "yield",
	[PV_OP_VCPU_UP] = "vcpu-up", [PV_OP_VCPU_DOWN] = "vcpu-down", [PV_OP_FLUSH] = "flush",
	[PV_OP_KICK] = "kick",
};

static uint64_t ns_of(const struct pv_vcpu *v, uint64_t ticks)
{
	uint64_t khz = MAX(v->tsc_khz, 1ull);

	return ticks / khz * 1000000 + ticks % khz * 1000000 / khz;
}

void pv_stats(const struct pv_domain *d, struct pv_stats *s)
{
	*s = (struct pv_stats){ .setup_ns = atomic_load_explicit(&d->setup_ns,
								 memory_order_relaxed) };
	for (unsigned i = 0; i < d->vcpus; i++) {
		const struct pv_vcpu *v = &d->vcpu[i];
		const struct pv_vcpu_page *p = v->page;

		for (unsigned n = 0; n < ARRAY_SIZE(s->hypercalls); n++) {
			s->hypercalls[n] += p->hypercalls[n];
			s->hypercall_ns[n] += ns_of(v, p->hypercall_tsc[n]);
		}
		for (unsigned n = 0; n < ARRAY_SIZE(s->traps); n++) {
			s->traps[n] += p->traps[n];
			s->trap_ns[n] += ns_of(v, p->trap_tsc[n]);
		}
		for (unsigned n = 0; n < ARRAY_SIZE(s->ops); n++) {
			s->ops[n] += v->ops[n];
			s->ops_ns[n] += v->ops_ns[n];
		}
		s->syscall_ns += ns_of(v, p->syscall_tsc);
		s->guest_ns += v->guest_ns;
		s->user_syscalls += p->user_syscalls;
		s->multicalls += p->multicalls;
		s->mmu_updates += p->mmu_updates;
		s->upcalls += p->upcalls;
		s->flushes += p->flushes;
		s->refused += p->refused;
		s->exits += atomic_load_explicit(&v->cpu.exits, memory_order_relaxed);
		s->interrupted += v->interrupted;
		s->injected += v->injected;
		s->retried += v->retried;
		s->idle_ns += v->idle_ns;
	}
}

struct sums {
	struct {
		char name[48];
		uint64_t value;
	} of[64];
	unsigned n;
};

static void add_sum(void *arg, const char *name, uint64_t value)
{
	struct sums *s = arg;
	unsigned i = 0;

	while (i < s->n && strcmp(s->of[i].name, name))
		i++;
	if (!value || i == ARRAY_SIZE(s->of))
		return;
	if (i == s->n)
		snprintf(s->of[s->n++].name, sizeof(s->of[0].name), "%s", name);
	s->of[i].value += value;
}

int pv_host_stats(const struct pv_domain *d,
		  void (*fn)(void *arg, const char *name, uint64_t value), void *arg)
{
	struct sums sums = { .n = 0 };
	int r = kvm_stats_each(d->machine.vm, add_sum, &sums);

	for (unsigned i = 0; i < d->vcpus && !r; i++)
		r = kvm_stats_each(d->vcpu[i].cpu.fd, add_sum, &sums);
	for (unsigned i = 0; i < sums.n; i++)
		fn(arg, sums.of[i].name, sums.of[i].value);
	return r;
}

struct each {
	void (*fn)(void *arg, const char *name, uint64_t value);
	void *arg;
};

static void each_one(const struct each *to, const char *name, uint64_t value)
{
	if (value)
		to->fn(to->arg, name, value);
}

static void each_kind(const struct each *to, const char *kind, const char *const *names,
		      size_t named, const uint64_t *v, size_t n)
{
	char b[64];

	for (size_t i = 0; i < n; i++) {
		if (i < named && names[i])
			snprintf(b, sizeof(b), "%s.%s", kind, names[i]);
		else
			snprintf(b, sizeof(b), "%s.%zu", kind, i);
		each_one(to, b, v[i]);
	}
}

void pv_stats_each(const struct pv_stats *s,
		   void (*fn)(void *arg, const char *name, uint64_t value), void *arg)
{
	const struct each to = { fn, arg };

	each_one(&to, "setup_ns", s->setup_ns);
	each_one(&to, "guest_ns", s->guest_ns);
	each_one(&to, "idle_ns", s->idle_ns);
	each_one(&to, "exits", s->exits);
	each_one(&to, "interrupted", s->interrupted);
	each_one(&to, "events_injected", s->injected);
	each_one(&to, "events_retried", s->retried);
	each_one(&to, "user_syscalls", s->user_syscalls);
	each_one(&to, "user_syscalls_ns", s->syscall_ns);
	each_one(&to, "table_updates", s->mmu_updates);
	each_one(&to, "multicalls", s->multicalls);
	each_one(&to, "upcalls", s->upcalls);
	each_one(&to, "flushes", s->flushes);
	each_one(&to, "refused", s->refused);
	each_kind(&to, "trap", trap_name, ARRAY_SIZE(trap_name), s->traps, ARRAY_SIZE(s->traps));
	each_kind(&to, "trap-ns", trap_name, ARRAY_SIZE(trap_name), s->trap_ns,
		  ARRAY_SIZE(s->trap_ns));
	each_kind(&to, "hypercall", hypercall_name, ARRAY_SIZE(hypercall_name), s->hypercalls,
		  ARRAY_SIZE(s->hypercalls));
	each_kind(&to, "hypercall-ns", hypercall_name, ARRAY_SIZE(hypercall_name), s->hypercall_ns,
		  ARRAY_SIZE(s->hypercall_ns));
	each_kind(&to, "exit", exit_name, ARRAY_SIZE(exit_name), s->ops, ARRAY_SIZE(s->ops));
	each_kind(&to, "exit-ns", exit_name, ARRAY_SIZE(exit_name), s->ops_ns,
		  ARRAY_SIZE(s->ops_ns));
}
