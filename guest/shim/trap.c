/*
 * Traps: from the hardware stack to the guest kernel's handlers, and back.
 *
 * Tour stop 6: bouncing. A PV kernel registered a handler for each vector. The shim builds on the kernel's stack
 * what Xen would (rcx, r11, error code, rip, cs, rflags, rsp, ss) and continues at the handler with events masked
 * if it asked so. An event is delivered the same way, to the event callback. iret, a hypercall, comes back.
 *
 * In merged memory user and kernel share one CR3, and returning to user code is a plain iretq. In isolated
 * memory the user's own CR3 must be loaded on the way, which only ring 0 can do: see the gates in entry.S.
 *
 * Trust: rip, rsp, flags and selectors of user code are whatever it likes; nothing here loads them without
 * forcing them into ring 3 and into canonical form. Threads: each vCPU. #syscalls: none
 */
#include "shim.h"

enum leave shim_trap(struct vcpu *v, struct regs *r);
enum leave shim_nested(struct vcpu *v, struct regs *r);
enum leave shim_syscall(struct vcpu *v, struct regs *r);
enum leave shim_boot(struct vcpu *v, struct regs *r);

extern const struct {
	uint64_t at, mend;
} fixups_start[], fixups_end[];
extern const struct shim_header shim_header __attribute__((visibility("hidden")));

#define BIT(n) (1ull << (n))

/* Vectors with an error code. */
static const uint64_t with_error = BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) |
				   BIT(17) | BIT(21) | BIT(29) | BIT(30);

static bool canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

/* The kernel's own GS base while it runs, by which its calls find their vCPU. */
void set_kernel_gs(struct vcpu *v, uint64_t base)
{
	shared()->kernel_gs[v->index % PV_VCPUS_MAX] = base ? base : ~0ull;
	write_gs(base);
}

void to_user(struct vcpu *v)
{
	v->gs_kernel = read_gs();
	write_gs(v->gs_user);
	v->in_user = true;
	v->gate->in_user = 1;
	v->gate->swapped = !shared()->merged;
}

void to_kernel(struct vcpu *v)
{
	v->gs_user = read_gs();
	write_gs(v->gs_kernel);
	v->in_user = false;
	v->gate->in_user = 0;
	v->gate->swapped = 0;
}

/* Continues at `address` in the guest kernel, as if interrupted where `r` says. */
static void bounce(struct vcpu *v, struct regs *r, uint64_t address, bool mask, bool has_error,
		   uint64_t error)
{
	uint64_t frame[8], *p = frame;
	uint64_t sp = v->in_user ? v->kernel_sp : r->rsp;

	*p++ = r->rcx;
	*p++ = r->r11;
	if (has_error)
		*p++ = error;
	*p++ = r->rip;
	*p++ = v->in_user ? r->cs : XEN_KERNEL_CS;
	*p++ = (r->rflags & ~RFLAGS_IF) | (v->info->upcall_mask ? 0 : RFLAGS_IF);
	*p++ = r->rsp;
	*p++ = v->in_user ? r->ss : XEN_KERNEL_DS;
	if (v->in_user)
		to_kernel(v);
	size_t n = (size_t)(p - frame) * 8;

	sp = (sp & ~15ull) - n;
	if (unlikely(!copy_out(sp, frame, n)))
		broken(v, PV_BROKEN_STACK, sp, r->rip, address, 0);
	if (unlikely(!canonical(address)))
		broken(v, PV_BROKEN_NO_HANDLER, r->vector, address, error, 0);
	r->rsp = sp;
	r->rip = address;
	r->cs = CS_RING3;
	r->ss = SS_RING3;
	r->rflags = (r->rflags & RFLAGS_USER & ~(RFLAGS_TF | 0x50400ull)) | RFLAGS_IF | 2;
	if (mask)
		v->info->upcall_mask = 1;
}

static void bounce_trap(struct vcpu *v, struct regs *r, unsigned vector, uint64_t error)
{
	const struct trap *t = &v->traps[vector & 255];

	if (unlikely(!t->address))
		broken(v, PV_BROKEN_NO_HANDLER, vector, r->rip, error, v->gate->cr2);
	bounce(v, r, t->address, t->flags & 4, vector < 32 && (with_error >> vector & 1), error);
}

void bounce_syscall(struct vcpu *v, struct regs *r)
{
	v->page->user_syscalls++;
	if (unlikely(!v->syscall.address))
		broken(v, PV_BROKEN_NO_SYSCALL, r->rip, 0, 0, 0);
	bounce(v, r, v->syscall.address, v->syscall.mask_events, false, 0);
}

/* What is due before guest code runs again, and how it is reached. */
enum leave finish(struct vcpu *v, struct regs *r)
{
	/* Who interrupts us from here on cannot rely on our look, and comes again. */
	__atomic_store_n(&v->page->leaving, 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (unlikely(v->page->flush)) {
		__atomic_store_n(&v->page->flush, 0, __ATOMIC_SEQ_CST);
		load_cr3(v);
	}
	if (__atomic_load_n(&v->info->upcall_pending, __ATOMIC_RELAXED) && !v->info->upcall_mask) {
		if (unlikely(!v->event.address))
			broken(v, PV_BROKEN_NO_EVENT, r->rip, 0, 0, 0);
		v->page->upcalls++;
		bounce(v, r, v->event.address, true, false, 0);
	}
	if (!v->in_user || shared()->merged)
		return LEAVE_IRETQ;
	if (unlikely(!v->user_cr3))
		broken(v, PV_BROKEN_NO_USER_TABLES, r->rip, 0, 0, 0);
	v->gate->frame[GATE_FRAME_USER] = (struct pv_frame){ r->rip, r->cs, r->rflags, r->rsp,
							     r->ss };
	return shared()->ring0 ? LEAVE_USER_RING0 : LEAVE_USER_RING3;
}

/* #UD: Xen's prefix before CPUID; `int 0x80` where the host does not deliver it. */
static void invalid_opcode(struct vcpu *v, struct regs *r)
{
	uint8_t b[7];

	if (copy_in(b, r->rip, sizeof(b)) && b[0] == 0x0f && b[1] == 0x0b && b[2] == 'x' &&
	    b[3] == 'e' && b[4] == 'n' && b[5] == 0x0f && b[6] == 0xa2) {
		emulate_cpuid(v, r);
		r->rip += 7;
		return;
	}
	if (v->in_user && copy_in(b, r->rip, 2) && b[0] == 0xcd && b[1] == 0x80 &&
	    v->traps[0x80].address) {
		r->rip += 2;
		bounce_trap(v, r, 0x80, 0);
		return;
	}
	bounce_trap(v, r, 6, 0);
}

static void general_protection(struct vcpu *v, struct regs *r)
{
	unsigned soft = (unsigned)(r->error >> 3);

	if (!v->in_user && emulate_privileged(v, r))
		return;
	/* A gate that is not open to ring 3: `int n` of user code, if the kernel opened it. */
	if ((r->error & 7) == 2 && soft < 256 && v->traps[soft].address &&
	    (v->traps[soft].flags & 3) == 3 && v->in_user) {
		r->rip += 2;
		bounce_trap(v, r, soft, 0);
		return;
	}
	bounce_trap(v, r, 13, r->error);
}

/* Takes what the CPU pushed, and r11 where the stub needed it. */
static void take_frame(struct vcpu *v, struct regs *r)
{
	const uint64_t *hw = v->hw;
	bool has_error = r->vector < 32 && (with_error >> r->vector & 1);

	r->ss = hw[-1];
	r->rsp = hw[-2];
	r->rflags = hw[-3];
	r->cs = hw[-4];
	r->rip = hw[-5];
	r->error = has_error ? hw[-6] : 0;
	if (r->vector != VECTOR_UPCALL && (!shared()->merged || r->vector == 14 || r->vector == 3))
		r->r11 = hw[has_error ? -7 : -6];
}

enum leave shim_trap(struct vcpu *v, struct regs *r)
{
	uint64_t begin = rdtsc(), vector = r->vector;

	v->page->leaving = 0;
	take_frame(v, r);
	if (likely(r->vector < GATE_FRAMES))
		v->page->traps[r->vector]++;
	switch (r->vector) {
	case VECTOR_UPCALL:
		break;
	case 1:
		v->dr[6] = 0xffff0ff0ull | (r->rflags & RFLAGS_TF ? 0x4000 : 0);
		bounce_trap(v, r, 1, 0);
		break;
	case 3:
		/* Isolated memory: user code's SYSCALL found an int3 where the kernel's finds the shim. */
		if (v->in_user && !shared()->merged &&
		    r->rip == (uint64_t)v->gate - AREA_GATE + shim_header.entry_syscall + 1) {
			r->rip = canonical(r->rcx) ? r->rcx : 0x7fffffffffffull;
			r->rflags = (r->r11 & RFLAGS_USER) | RFLAGS_IF | 2;
			bounce_syscall(v, r);
		} else {
			bounce_trap(v, r, 3, 0);
		}
		break;
	case 6:
		invalid_opcode(v, r);
		break;
	case 13:
		general_protection(v, r);
		break;
	case 14:
		v->info->cr2 = v->gate->cr2;
		bounce_trap(v, r, 14, (r->error & 0x13) | (v->in_user ? 4 : 0));
		break;
	default:
		bounce_trap(v, r, (unsigned)r->vector, r->error);
	}
	enum leave how = finish(v, r);

	if (likely(vector < GATE_FRAMES))
		v->page->trap_tsc[vector] += rdtsc() - begin;
	return how;
}

/* A trap inside the shim, on the trap stack: a guest pointer that is not there, or a single step that user code
 * carried in. Anything else is the end of this guest. */
enum leave shim_nested(struct vcpu *v, struct regs *r)
{
	take_frame(v, r);
	r->rflags &= ~RFLAGS_TF;
	if (r->vector == 1)
		return LEAVE_IRETQ;
	for (size_t i = 0; i < (size_t)(fixups_end - fixups_start); i++)
		if (r->rip == fixups_start[i].at && (r->vector == 14 || r->vector == 13)) {
			r->rip = fixups_start[i].mend;
			return LEAVE_IRETQ;
		}
	broken(v, PV_BROKEN_SHIM_FAULT, r->vector, r->rip, r->error, v->gate->cr2);
}

/* Back from a handler: the kernel's iret frame is on its stack. */
static void do_iret(struct vcpu *v, struct regs *r)
{
	struct xen_iret_context c;

	if (unlikely(!copy_in(&c, r->rsp, sizeof(c))))
		broken(v, PV_BROKEN_IRET, r->rsp, r->rip, 0, 0);
	r->rax = c.rax;
	if (!(c.flags & XEN_VGCF_IN_SYSCALL)) {
		r->r11 = c.r11;
		r->rcx = c.rcx;
	}
	/* iretq would fault in the shim at an address that is none: user code shall fault at its own. */
	r->rip = canonical(c.rip) ? c.rip : 0x7fffffffffffull;
	r->rflags = (c.rflags & RFLAGS_USER) | RFLAGS_IF | 2;
	r->rsp = c.rsp;
	r->cs = CS_RING3;
	r->ss = SS_RING3;
	v->info->upcall_mask = !(c.rflags & RFLAGS_IF);
	if ((c.cs & 3) == 3) {
		if ((c.cs & 0xffff) == (XEN_USER_CS32 & 0xff))
			r->cs = XEN_USER_CS32 & 0xff;
		to_user(v);
	}
}

enum leave shim_syscall(struct vcpu *v, struct regs *r)
{
	uint64_t begin = rdtsc();
	enum leave how;

	v->page->leaving = 0;
	r->cs = CS_RING3;
	r->ss = SS_RING3;
	if (v->in_user) {
		bounce_syscall(v, r);
		how = finish(v, r);
		v->page->syscall_tsc += rdtsc() - begin;
		return how;
	}
	uint64_t number = (uint32_t)r->rax;

	if (number < XEN_HYPERCALLS)
		v->page->hypercalls[number]++;
	if (unlikely(shared()->call_cell && r->rcx == r->rip))
		improve_site(v, r);
	if (number == XEN_IRET) {
		do_iret(v, r);
	} else {
		const uint64_t args[6] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, 0 };

		r->rax = (uint64_t)do_hypercall(v, number, args);
	}
	how = finish(v, r);
	if (number < XEN_HYPERCALLS)
		v->page->hypercall_tsc[number] += rdtsc() - begin;
	return how;
}

/* The first instruction of a vCPU. The first vCPU starts the kernel; the others start where VCPUOP_initialise
 * said, which is already in `r`. */
enum leave shim_boot(struct vcpu *v, struct regs *r)
{
	struct pv_shared *s = shared();
	uint64_t area = PV_HV + v->index * PV_AREA_SIZE;

	v->gate = (struct pv_gate *)(area + AREA_GATE);
	v->hw = (const uint64_t *)(area + AREA_HW_TOP);
	v->gate_cr3 = (void (*)(void))(area + shim_header.gate_cr3);
	if (v->index == 0) {
		v->page = (struct pv_vcpu_page *)(area + AREA_SHARED);
		v->traps = (struct trap *)(area + AREA_TRAP_TABLE);
		v->kernel_cr3 = v->gate->kernel_cr3;
		v->info = &shared_info()->vcpu[0];
		v->page->vcpu_info_gpa = s->hv_gpa + HV_SHARED_INFO;
		v->info->upcall_mask = 1;
		event_init();
		*r = (struct regs){ .rip = s->entry, .rsi = s->start_info, .rsp = s->start_info };
	} else {
		*r = v->start;
		set_kernel_gs(v, v->gs_kernel);
		write_fs(0);
	}
	r->cs = CS_RING3;
	r->ss = SS_RING3;
	r->rflags = RFLAGS_IF | 2;
	v->page->arg[0] = rdtsc();
	leave_guest(v, PV_OP_BOOT);
	return finish(v, r);
}
