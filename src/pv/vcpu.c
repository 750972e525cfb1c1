/*
 * A vCPU thread: run, serve the exit, deliver events, sleep.
 *
 * Tour stop 11: the run loop. Exits are few, since the hypervisor is inside the guest: it asks for a timer, for
 * sleep, for the end. What interrupts the guest from outside is a signal, sent by a back end's thread or by this
 * vCPU's own timer; then, if an event is due, it is delivered (deliver.c).
 *
 * Trust: the page of arguments, vcpu_info and all registers are the guest's. Arguments are copied before use.
 * Threads: this one; pv_vcpu_wake from any.
 * #syscalls(start): timer_create timer_delete rt_sigprocmask clone3
 * #syscalls(vcpu): ioctl futex timer_settime clock_gettime tgkill sched_yield write
 * #ioctls(vcpu): KVM_RUN KVM_GET_SREGS KVM_SET_SREGS KVM_SET_XCRS
 */
#include "pv/domain.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "os/futex.h"

#define MSR_STAR   0xc0000081u
#define MSR_LSTAR  0xc0000082u
#define MSR_SFMASK 0xc0000084u
/* TF, NT, DF, AC; RF too. In ring 0 also IF and IOPL. */
#define SFMASK_RING3 0x54500ull
#define SFMASK_RING0 0x57700ull

#define CR4_GUEST 0x50620ull /* PAE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE */

uint64_t pv_system_time(const struct pv_domain *d)
{
	return now_ns() - d->started_ns;
}

void pv_vcpu_wake(struct pv_vcpu *v)
{
	bool woken = atomic_exchange_explicit(&v->wake, 1, memory_order_seq_cst);

	switch (atomic_load_explicit(&v->state, memory_order_seq_cst)) {
	case VCPU_GUEST:
		/* The flag is cleared between becoming VCPU_GUEST and entering: who finds it set comes before
		 * that look, or after another's kick. */
		if (!woken)
			vcpu_kick(&v->cpu);
		break;
	case VCPU_BLOCKED:
		futex_wake(&v->wake);
		break;
	case VCPU_OUT:
		break;
	}
}

static bool event_is_due(struct pv_vcpu *v)
{
	struct xen_vcpu_info *info = pv_vcpu_info(v);

	return info && __atomic_load_n(&info->upcall_pending, __ATOMIC_SEQ_CST);
}

/* The signal that ends KVM_RUN comes at `when` on CLOCK_MONOTONIC, 0: never. */
static void arm(struct pv_vcpu *v, uint64_t when)
{
	struct itimerspec t = { .it_value = { .tv_sec = (time_t)(when / 1000000000),
					      .tv_nsec = (long)(when % 1000000000) } };

	timer_settime(v->timer, TIMER_ABSTIME, &t, NULL);
}

static void arm_next(struct pv_vcpu *v)
{
	uint64_t when = v->deadline ? v->d->started_ns + v->deadline : 0;

	if (when < v->d->started_ns) /* further than anybody will wait */
		when = 0;
	if (v->retry_at && (!when || v->retry_at < when))
		when = v->retry_at;
	arm(v, when);
}

/* Raises the timer's event when its time has come. */
static void check_timer(struct pv_vcpu *v)
{
	if (!v->deadline || pv_system_time(v->d) < v->deadline)
		return;
	v->deadline = 0;
	pv_event_raise(v->d, __atomic_load_n(&v->page->timer_port, __ATOMIC_RELAXED));
}

/* Sleeps until an event or a time; a poll also ends with any wake since the guest was entered. */
static void block(struct pv_vcpu *v, uint64_t until, bool poll)
{
	uint64_t start = now_ns();

	arm(v, 0);
	for (;;) {
		uint64_t limit = v->deadline && (!until || v->deadline < until) ? v->deadline
										: until;
		uint64_t now = pv_system_time(v->d);

		if (!poll)
			atomic_store_explicit(&v->wake, 0, memory_order_seq_cst);
		atomic_store_explicit(&v->state, VCPU_BLOCKED, memory_order_seq_cst);
		if (event_is_due(v) ||
		    atomic_load_explicit(&v->d->stopping, memory_order_acquire) ||
		    (limit && now >= limit))
			break;
		futex_wait(&v->wake, 0, limit ? limit - now : UINT64_MAX);
		if (poll && atomic_load_explicit(&v->wake, memory_order_seq_cst))
			break;
	}
	atomic_store_explicit(&v->state, VCPU_OUT, memory_order_seq_cst);
	check_timer(v);
	v->idle_ns += now_ns() - start;
	arm_next(v);
}

/* System time in vcpu_info, from the TSC that the guest read as its first act. */
static void start_clock(struct pv_vcpu *v, uint64_t tsc)
{
	struct pv_domain *d = v->d;
	struct xen_vcpu_info *info = pv_vcpu_info(v);
	uint64_t hz = v->tsc_khz * 1000;
	int8_t shift = 0;

	if (v->cpu.index == 0) {
		struct timespec wall;

		d->started_ns = now_ns();
		atomic_store_explicit(&d->setup_ns, d->started_ns - d->created_ns,
				      memory_order_relaxed);
		clock_gettime(CLOCK_REALTIME, &wall);
		d->info->wc_version = 2;
		d->info->wc_sec = (uint32_t)wall.tv_sec;
		d->info->wc_sec_hi = (uint32_t)((uint64_t)wall.tv_sec >> 32);
		d->info->wc_nsec = (uint32_t)wall.tv_nsec;
	}
	while (hz >= 2000000000ull) {
		hz >>= 1;
		shift--;
	}
	uint64_t mul = (1000000000ull << 32) / hz;

	if (mul >> 32) {
		mul >>= 1;
		shift++;
	}
	if (info)
		info->time = (struct xen_vcpu_time){ .version = 2,
						     .tsc_timestamp = tsc,
						     .system_time = pv_system_time(d) + 1,
						     .tsc_to_system_mul = (uint32_t)mul,
						     .tsc_shift = shift,
						     .flags = XEN_PVCLOCK_TSC_STABLE };
}

static const char *const broken_text[PV_BROKENS] = {
	[PV_BROKEN_NO_HANDLER] = "a trap has no handler (vector, rip, error, address)",
	[PV_BROKEN_STACK] = "its stack for a trap is not mapped (rsp, rip, handler)",
	[PV_BROKEN_IRET] = "iret with a stack that is not mapped (rsp, rip)",
	[PV_BROKEN_SHIM_FAULT] = "the hypervisor's code faulted (vector, rip, error, address)",
	[PV_BROKEN_NO_SYSCALL] = "a system call without a callback (rip)",
	[PV_BROKEN_NO_USER_TABLES] = "user code without page tables for it (rip)",
	[PV_BROKEN_NO_EVENT] = "an event without a callback (rip)",
};

static void on_broken(struct pv_vcpu *v, const uint64_t *arg)
{
	const char *text = arg[0] < PV_BROKENS ? broken_text[arg[0]] : NULL;

	pv_end(v->d, PV_END_BROKEN, "guest stopped: vCPU %u: %s: %llx %llx %llx %llx", v->cpu.index,
	       text ? text : "an unknown reason", (unsigned long long)arg[1],
	       (unsigned long long)arg[2], (unsigned long long)arg[3], (unsigned long long)arg[4]);
}

static void on_shutdown(struct pv_vcpu *v, uint64_t reason)
{
	switch (reason) {
	case XEN_SHUTDOWN_POWEROFF:
		pv_end(v->d, PV_END_POWEROFF, "%s", "");
		break;
	case XEN_SHUTDOWN_REBOOT:
		pv_end(v->d, PV_END_REBOOT, "%s", "");
		break;
	case XEN_SHUTDOWN_CRASH:
		pv_end(v->d, PV_END_CRASH, "the guest's kernel crashed: see its console");
		break;
	default:
		pv_end(v->d, PV_END_CRASH, "the guest's kernel shut down with reason %llu",
		       (unsigned long long)reason);
	}
}

/* Other vCPUs must not use old translations when this returns: each has dropped them, or sleeps and will drop them
 * before guest code runs again, or waits here itself, which is inside the shim. */
static void flush_others(struct pv_vcpu *v, uint64_t mask)
{
	struct pv_domain *d = v->d;

	for (unsigned i = 0; i < d->vcpus; i++) {
		struct pv_vcpu *t = &d->vcpu[i];

		if (t == v || !(mask >> i & 1))
			continue;
		__atomic_store_n(&t->page->flush, 1, __ATOMIC_SEQ_CST);
		if (atomic_load_explicit(&t->state, memory_order_seq_cst) == VCPU_GUEST)
			vcpu_kick(&t->cpu);
	}
	atomic_store_explicit(&v->flushing, true, memory_order_seq_cst);
	for (unsigned i = 0; i < d->vcpus; i++) {
		struct pv_vcpu *t = &d->vcpu[i];

		while (t != v && (mask >> i & 1) &&
		       __atomic_load_n(&t->page->flush, __ATOMIC_SEQ_CST) &&
		       atomic_load_explicit(&t->up, memory_order_acquire) &&
		       atomic_load_explicit(&t->state, memory_order_seq_cst) != VCPU_BLOCKED &&
		       !atomic_load_explicit(&t->flushing, memory_order_seq_cst) &&
		       !atomic_load_explicit(&d->stopping, memory_order_acquire))
			sched_yield();
	}
	atomic_store_explicit(&v->flushing, false, memory_order_seq_cst);
}

static void set_xcr0(struct pv_vcpu *v, uint64_t value)
{
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = value } } };

	if (kvm_set_xcrs(v->cpu.fd, &x) < 0)
		pv_end(v->d, PV_END_BROKEN, "guest stopped: XCR0 %llx was refused",
		       (unsigned long long)value);
}

static void serve(struct pv_vcpu *v, uint32_t op)
{
	struct pv_domain *d = v->d;
	uint64_t arg[6];

	memcpy(arg, v->page->arg, sizeof(arg));
	if (op < ARRAY_SIZE(v->ops))
		v->ops[op]++;
	switch (op) {
	case PV_OP_BOOT:
		start_clock(v, arg[0]);
		break;
	case PV_OP_CONSOLE:
		pv_console_write(d, v->page->text, MIN(arg[0], sizeof(v->page->text)));
		break;
	case PV_OP_TIMER:
		v->deadline = arg[0];
		check_timer(v);
		arm_next(v);
		break;
	case PV_OP_BLOCK:
		block(v, arg[0], arg[1] == 1);
		break;
	case PV_OP_SEND:
		pv_event_sent(d, (uint32_t)arg[0]);
		break;
	case PV_OP_SHUTDOWN:
		on_shutdown(v, arg[0]);
		break;
	case PV_OP_BROKEN:
		on_broken(v, arg);
		break;
	case PV_OP_XCR0:
		set_xcr0(v, arg[0]);
		break;
	case PV_OP_YIELD:
		sched_yield();
		break;
	case PV_OP_VCPU_UP:
		if (arg[0] < d->vcpus) {
			atomic_store_explicit(&d->vcpu[arg[0]].up, 1, memory_order_release);
			futex_wake(&d->vcpu[arg[0]].up);
		}
		break;
	case PV_OP_VCPU_DOWN:
		atomic_store_explicit(&v->up, 0, memory_order_release);
		break;
	case PV_OP_FLUSH:
		flush_others(v, arg[0]);
		break;
	case PV_OP_KICK:
		for (unsigned i = 0; i < d->vcpus; i++)
			if (arg[0] >> i & 1)
				pv_vcpu_wake(&d->vcpu[i]);
		break;
	default:
		pv_end(d, PV_END_BROKEN, "guest stopped: vCPU %u asked for the unknown service %u",
		       v->cpu.index, op);
	}
}

/* An exit that is no request of the shim's. */
static void on_strange_exit(struct pv_vcpu *v)
{
	struct kvm_run *run = v->cpu.run;
	uint64_t rip = run->s.regs.regs.rip;

	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		pv_end(v->d, PV_END_BROKEN, "guest stopped: triple fault on vCPU %u at %llx",
		       v->cpu.index, (unsigned long long)rip);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		pv_end(v->d, PV_END_BROKEN,
		       "guest stopped: KVM could not go on at %llx on vCPU %u (suberror %u)",
		       (unsigned long long)rip, v->cpu.index, run->internal.suberror);
		break;
	case KVM_EXIT_MMIO:
		pv_end(v->d, PV_END_BROKEN,
		       "guest stopped: vCPU %u at %llx %s address %llx, where no memory is",
		       v->cpu.index, (unsigned long long)rip,
		       run->mmio.is_write ? "wrote to" : "read",
		       (unsigned long long)run->mmio.phys_addr);
		break;
	default:
		pv_end(v->d, PV_END_BROKEN, "guest stopped: unexpected exit %u on vCPU %u at %llx",
		       run->exit_reason, v->cpu.index, (unsigned long long)rip);
	}
}

static void on_exit_reason(struct pv_vcpu *v)
{
	struct kvm_run *run = v->cpu.run;
	uint32_t op;

	if (run->exit_reason != KVM_EXIT_MMIO || run->mmio.phys_addr != PV_MMIO_GPA ||
	    !run->mmio.is_write || run->mmio.len != 4) {
		on_strange_exit(v);
		return;
	}
	memcpy(&op, run->mmio.data, sizeof(op));
	uint64_t begin = now_ns();

	serve(v, op);
	if (op < ARRAY_SIZE(v->ops_ns))
		v->ops_ns[op] += now_ns() - begin;
	check_timer(v);
}

/* While paused the thread sleeps here, out of the guest. */
static void wait_while(struct pv_vcpu *v)
{
	struct pv_domain *d = v->d;

	while (!atomic_load_explicit(&d->stopping, memory_order_acquire) &&
	       (atomic_load_explicit(&d->paused, memory_order_acquire) ||
		!atomic_load_explicit(&v->up, memory_order_acquire))) {
		if (atomic_load_explicit(&d->paused, memory_order_acquire)) {
			atomic_store_explicit(&v->wake, 0, memory_order_seq_cst);
			atomic_store_explicit(&v->state, VCPU_BLOCKED, memory_order_seq_cst);
			if (atomic_load_explicit(&d->paused, memory_order_seq_cst))
				futex_wait(&v->wake, 0, UINT64_MAX);
			atomic_store_explicit(&v->state, VCPU_OUT, memory_order_seq_cst);
		} else {
			futex_wait(&v->up, 0, UINT64_MAX);
		}
	}
}

/* A secondary vCPU begins on the page tables that VCPUOP_initialise named; those that it was made with are gone. */
static int start_secondary(struct pv_vcpu *v)
{
	const struct pv_gate *gate = memory_at(
		&v->d->mem, GPA(v->d->ram + v->cpu.index * (uint64_t)PV_AREA_SIZE + AREA_GATE),
		sizeof(*gate));
	struct kvm_sregs s;
	int r = gate ? kvm_get_sregs(v->cpu.fd, &s) : -EFAULT;

	if (r)
		return r;
	s.cr3 = __atomic_load_n(&gate->kernel_cr3, __ATOMIC_RELAXED);
	return kvm_set_sregs(v->cpu.fd, &s);
}

static void *thread(void *arg)
{
	struct pv_vcpu *v = arg;
	struct pv_domain *d = v->d;
	struct sigevent on_timer = { .sigev_notify = SIGEV_THREAD_ID,
				     .sigev_signo = vcpu_signal() };
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, vcpu_signal());
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	vcpu_adopt(&v->cpu);
	on_timer._sigev_un._tid = atomic_load_explicit(&v->cpu.tid, memory_order_relaxed);
	if (timer_create(CLOCK_MONOTONIC, &on_timer, &v->timer) < 0) {
		struct err e = ERR_INIT;

		err_sys(&e, -errno, "timer of vCPU %u", v->cpu.index);
		pv_host_failed(d, &e);
		return NULL;
	}
	v->has_timer = true;
	int confined = d->config.confine ? d->config.confine(PV_THREAD_VCPU) : 0;

	if (confined < 0) {
		struct err e = ERR_INIT;

		err_sys(&e, confined, "jail of vCPU %u", v->cpu.index);
		pv_host_failed(d, &e);
		return NULL;
	}
	v->cpu.run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
	for (bool in_shim = true, fresh = v->cpu.index > 0;;) {
		wait_while(v);
		if (atomic_load_explicit(&d->stopping, memory_order_acquire))
			break;
		if (fresh && start_secondary(v) < 0)
			pv_end(d, PV_END_BROKEN,
			       "guest stopped: vCPU %u cannot start on its page tables",
			       v->cpu.index);
		fresh = false;
		atomic_store_explicit(&v->state, VCPU_GUEST, memory_order_seq_cst);
		/* Woken since the last look, and not on the way to the shim's own look: look again. */
		bool woken = atomic_exchange_explicit(&v->wake, 0, memory_order_seq_cst) &&
			     event_is_due(v);

		if (!in_shim && (woken || __atomic_load_n(&v->page->flush, __ATOMIC_SEQ_CST)) &&
		    v->retry_at == 0)
			v->cpu.run->immediate_exit = 1;
		if (atomic_load_explicit(&d->stopping, memory_order_seq_cst) ||
		    atomic_load_explicit(&d->paused, memory_order_seq_cst)) {
			atomic_store_explicit(&v->state, VCPU_OUT, memory_order_seq_cst);
			v->cpu.run->immediate_exit = 0;
			continue;
		}
		uint64_t entered = now_ns();
		int r = vcpu_enter(&v->cpu);

		v->guest_ns += now_ns() - entered;
		atomic_store_explicit(&v->state, VCPU_OUT, memory_order_seq_cst);
		v->cpu.run->kvm_dirty_regs = 0;
		in_shim = r == 0;
		if (r == 0) {
			on_exit_reason(v);
		} else if (r == -EINTR) {
			v->interrupted++;
			check_timer(v);
			pv_deliver(v);
			arm_next(v);
		} else {
			struct err e = ERR_INIT;

			err_sys(&e, r, "KVM_RUN of vCPU %u", v->cpu.index);
			pv_host_failed(d, &e);
			break;
		}
	}
	vcpu_leave(&v->cpu);
	return NULL;
}

static int set_registers(struct pv_domain *d, struct pv_vcpu *v, uint64_t cr3, struct err *e)
{
	uint64_t base = PV_HV + v->cpu.index * (uint64_t)PV_AREA_SIZE;
	unsigned dpl = d->ring0 ? 0 : 3;
	struct kvm_segment code = { .limit = 0xffffffff,
				    .selector = d->ring0 ? 0x10 : 0x33,
				    .type = 11,
				    .present = 1,
				    .dpl = (uint8_t)dpl,
				    .s = 1,
				    .l = 1,
				    .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff,
				    .selector = 0x2b,
				    .type = 3,
				    .present = 1,
				    .dpl = 3,
				    .db = 1,
				    .s = 1,
				    .g = 1 };
	struct kvm_sregs s;
	int r = kvm_get_sregs(v->cpu.fd, &s);

	if (r)
		return err_sys(e, r, "KVM: registers of vCPU %u", v->cpu.index);
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	if (d->ring0) {
		s.ss.selector = 0x18;
		s.ss.dpl = 0;
	}
	s.tr = (struct kvm_segment){
		.base = base + AREA_TSS, .limit = 0x67, .selector = 0x40, .type = 11, .present = 1
	};
	s.cr0 = 0x80050033;
	s.cr3 = cr3;
	s.cr4 = CR4_GUEST;
	s.efer = 0xd01;
	s.gdt.base = base + AREA_GDT;
	s.gdt.limit = 10 * 8 - 1;
	s.idt.base = base + AREA_IDT;
	s.idt.limit = 256 * 16 - 1;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[3];
	} msrs = { .head.nmsrs = 3,
		   .entry = { { .index = MSR_STAR, .data = 0x0023001000000000ull },
			      { .index = MSR_LSTAR,
				.data = base +
					(d->ring0 ? d->shim.stub_syscall : d->shim.entry_syscall) },
			      { .index = MSR_SFMASK,
				.data = d->ring0 ? SFMASK_RING0 : SFMASK_RING3 } } };
	struct kvm_regs regs = { .rip = base + d->shim.entry_boot,
				 .rsp = base + AREA_STACK_TOP,
				 .rflags = d->ring0 ? 2 : 0x202 };

	r = kvm_set_sregs(v->cpu.fd, &s);
	if (!r && kvm_set_msrs(v->cpu.fd, &msrs.head) != 3)
		r = -EINVAL;
	if (!r)
		r = kvm_set_regs(v->cpu.fd, &regs);
	return r ? err_sys(e, r, "KVM: registers of vCPU %u", v->cpu.index) : 0;
}

int pv_vcpu_init(struct pv_domain *d, unsigned index, uint64_t cr3, struct err *e)
{
	struct pv_vcpu *v = &d->vcpu[index];
	int r = vcpu_init(&v->cpu, &d->machine, index, e);

	if (r)
		return r;
	v->d = d;
	int khz = kvm_get_tsc_khz(v->cpu.fd);

	v->tsc_khz = khz > 0 ? (uint64_t)khz : 1000000;
	v->page = memory_at(&d->mem, GPA(d->ram + index * (uint64_t)PV_AREA_SIZE + AREA_SHARED),
			    sizeof(*v->page));
	if (!v->page)
		return err_set(e, -EINVAL, "no room for vCPU %u", index);
	atomic_store_explicit(&v->up, index == 0, memory_order_relaxed);
	r = pv_cpuid_init(d, v, e);
	return r ? r : set_registers(d, v, cr3, e);
}

int pv_vcpu_start(struct pv_vcpu *v, struct err *e)
{
	int r = pthread_create(&v->thread, NULL, thread, v);

	if (r)
		return err_sys(e, -r, "thread of vCPU %u", v->cpu.index);
	v->has_thread = true;
	return 0;
}

void pv_vcpu_fini(struct pv_vcpu *v)
{
	if (v->has_thread) {
		pv_vcpu_wake(v);
		atomic_store_explicit(&v->up, 1, memory_order_release);
		futex_wake(&v->up);
		pthread_join(v->thread, NULL);
	}
	if (v->has_timer)
		timer_delete(v->timer);
	v->has_thread = v->has_timer = false;
	if (v->cpu.run)
		vcpu_fini(&v->cpu);
}
