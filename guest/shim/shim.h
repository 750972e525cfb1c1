/* The shim: Warren's hypervisor inside the guest. Freestanding; general registers only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pv/shared.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PAGE_SHIFT 12
#define PAGE_BYTES 4096ull
#define PTE_ADDR   0x000ffffffffff000ull
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80, PTE_G = 0x100 };

#define RFLAGS_IF   0x200ull
#define RFLAGS_TF   0x100ull
#define RFLAGS_USER 0x250dd5ull /* what user code may choose: CF PF AF ZF SF TF DF OF RF AC ID */

#define CS_RING3 0x33
#define SS_RING3 0x2b

/* The interrupted code, as entry.S leaves it at the top of a stack. */
struct regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct regs) == REGS_SIZE, "REGS_SIZE");
_Static_assert(offsetof(struct regs, vector) == REGS_VECTOR, "REGS_VECTOR");
_Static_assert(offsetof(struct regs, rip) == REGS_RIP, "REGS_RIP");
_Static_assert(offsetof(struct regs, rsp) == REGS_RSP, "REGS_RSP");

struct callback {
	uint64_t address;
	bool mask_events;
};

/* One vCPU, at AREA_VCPU. The VMM fills the functions and `index`. */
struct vcpu {
	uint64_t (*fn[4])(void);
	uint64_t index;
	struct pv_vcpu_page *page;
	struct pv_gate *gate;
	const uint64_t *hw; /* what the CPU pushed: hw[-1] ss, rsp, rflags, cs, rip, [error] */
	struct trap {
		uint64_t address, flags;
	} * traps;
	void (*gate_cr3)(void);
	struct xen_vcpu_info *info;
	uint64_t kernel_cr3, user_cr3;
	uint64_t kernel_sp;
	uint64_t gs_user, gs_kernel; /* of the side that is not running */
	bool in_user;
	struct callback event, failsafe, syscall, syscall32, sysenter;
	uint64_t dr[8];
	struct regs start; /* of a secondary vCPU */
};

/* How a trap or hypercall ends. */
enum leave { LEAVE_IRETQ = 0, LEAVE_USER_RING3 = 1, LEAVE_USER_RING0 = 2 };

static inline struct pv_shared *shared(void)
{
	return (struct pv_shared *)(PV_HV + HV_SHARED);
}

static inline struct xen_shared_info *shared_info(void)
{
	return (struct xen_shared_info *)(PV_HV + HV_SHARED_INFO);
}

/* Guest-physical memory, through the linear map. The caller checked the address. */
static inline void *phys(uint64_t gpa)
{
	return (void *)(PV_LINEAR + gpa);
}

#ifdef SHIM_HOSTED
/* fuzz/fuzz_hypercall.c: the shim as a part of an ordinary process. */
extern uint64_t hosted_gs, hosted_fs;
bool hosted_range(uint64_t address, size_t n);
_Noreturn void hosted_broken(void);

static inline uint64_t read_gs(void)
{
	return hosted_gs;
}

static inline void write_gs(uint64_t v)
{
	hosted_gs = v;
}

static inline uint64_t read_fs(void)
{
	return hosted_fs;
}

static inline void write_fs(uint64_t v)
{
	hosted_fs = v;
}
#else
static inline uint64_t read_gs(void)
{
	uint64_t v;

	__asm__ volatile("rdgsbase %0" : "=r"(v));
	return v;
}

static inline void write_gs(uint64_t v)
{
	__asm__ volatile("wrgsbase %0" ::"r"(v) : "memory");
}

static inline uint64_t read_fs(void)
{
	uint64_t v;

	__asm__ volatile("rdfsbase %0" : "=r"(v));
	return v;
}

static inline void write_fs(uint64_t v)
{
	__asm__ volatile("wrfsbase %0" ::"r"(v) : "memory");
}

#endif

static inline uint64_t rdtsc(void)
{
	uint32_t a, d;

	__asm__ volatile("rdtsc" : "=a"(a), "=d"(d));
	return a | (uint64_t)d << 32;
}

/* leave.c: the guest's pointers. Never the hypervisor's own slots; a missing page is no fault. True: done. */
bool copy_in(void *to, uint64_t from, size_t n);
bool copy_out(uint64_t to, const void *from, size_t n);

/* leave.c: exits */
void leave_guest(struct vcpu *v, enum pv_op op);
_Noreturn void broken(struct vcpu *v, enum pv_broken why, uint64_t a, uint64_t b, uint64_t c,
		      uint64_t d);
void ring_bell(unsigned bell);

/* trap.c */
void set_kernel_gs(struct vcpu *v, uint64_t base);
void to_user(struct vcpu *v);
void to_kernel(struct vcpu *v);
enum leave finish(struct vcpu *v, struct regs *r);
void bounce_syscall(struct vcpu *v, struct regs *r);

/* emulate.c: privileged instructions of the guest kernel. False: it is not ours to emulate. */
bool emulate_privileged(struct vcpu *v, struct regs *r);
bool emulate_cpuid(struct vcpu *v, struct regs *r);

/* mmu.c */
void load_cr3(struct vcpu *v);
void flush_others(struct vcpu *v, uint64_t mask);
bool frame_is_guest(uint64_t mfn);
bool frame_is_mappable(uint64_t mfn);
void prepare_l4(uint64_t mfn, bool user);
uint64_t *walk(struct vcpu *v, uint64_t address);
int64_t hc_mmu_update(struct vcpu *v, const uint64_t *a);
int64_t hc_update_va_mapping(struct vcpu *v, const uint64_t *a);
int64_t hc_mmuext_op(struct vcpu *v, const uint64_t *a);
int64_t hc_update_descriptor(struct vcpu *v, const uint64_t *a);

/* site.c */
void improve_site(struct vcpu *v, struct regs *r);
void make_nop(struct vcpu *v, uint64_t rip);

/* event.c */
int64_t hc_event_channel_op(struct vcpu *v, const uint64_t *a);
void event_init(void);

/* sched.c: time, vCPUs, blocking, the end */
int64_t hc_set_timer_op(struct vcpu *v, const uint64_t *a);
int64_t hc_vcpu_op(struct vcpu *v, const uint64_t *a);
int64_t hc_sched_op(struct vcpu *v, const uint64_t *a);
bool vcpu_set_info(struct vcpu *v, uint64_t mfn, uint32_t offset);

/* info.c: what the guest asks about its hypervisor, and what it registers */
int64_t hc_xen_version(struct vcpu *v, const uint64_t *a);
int64_t hc_memory_op(struct vcpu *v, const uint64_t *a);
int64_t hc_grant_table_op(struct vcpu *v, const uint64_t *a);
int64_t hc_console_io(struct vcpu *v, const uint64_t *a);
int64_t hc_physdev_op(struct vcpu *v, const uint64_t *a);
int64_t hc_platform_op(struct vcpu *v, const uint64_t *a);

/* hypercall.c */
int64_t do_hypercall(struct vcpu *v, uint64_t number, const uint64_t *a);
