/* What the shim and the VMM tell each other, in guest memory. The guest kernel can write all of it: the VMM
 * believes none of it without a check. */
#pragma once

#include <stdint.h>

#include "pv/layout.h"
#include "wire/xen.h"

/* Why the shim left the guest: the value written to HV_MMIO. Arguments in struct pv_vcpu_page. */
enum pv_op {
	PV_OP_BOOT = 1, /* first instruction; arg 0: TSC */
	PV_OP_CONSOLE,	/* arg 0: bytes in `text` */
	PV_OP_TIMER,	/* arg 0: system time in ns, 0: none */
	PV_OP_BLOCK,	/* until an event, or system time arg 0 when not 0; arg 1: or any wake */
	PV_OP_SEND,	/* arg 0: port */
	PV_OP_SHUTDOWN, /* arg 0: reason, XEN_SHUTDOWN_* */
	PV_OP_BROKEN,	/* arg 0: enum pv_broken, 1..4: facts */
	PV_OP_XCR0,	/* arg 0: value */
	PV_OP_YIELD,
	PV_OP_VCPU_UP,	 /* arg 0: vCPU */
	PV_OP_VCPU_DOWN, /* this one stops */
	PV_OP_FLUSH, /* arg 0: mask of other vCPUs whose translations must go before this returns */
	PV_OP_KICK,  /* arg 0: mask of vCPUs that have an event to look at */
};

/* Rules that a guest kernel can break so that nothing can go on. */
enum pv_broken {
	PV_BROKEN_NO_HANDLER = 1, /* a trap before set_trap_table: vector, rip, error */
	PV_BROKEN_STACK,	  /* its stack for a trap is not there: rsp, rip */
	PV_BROKEN_IRET,		  /* iret with a stack that is not there: rsp */
	PV_BROKEN_SHIM_FAULT,	  /* the shim faulted: vector, rip, error, cr2 */
	PV_BROKEN_NO_SYSCALL,	  /* a system call without a callback: rip */
	PV_BROKEN_NO_EVENT,	  /* an event without a callback */
	PV_BROKEN_NO_USER_TABLES, /* isolated memory: user code without page tables for it: rip */
	PV_BROKENS,
};

struct pv_cpuid {
	uint32_t leaf, subleaf;
	uint32_t by_subleaf;
	uint32_t eax, ebx, ecx, edx;
};
#define PV_CPUID_MAX 100

struct pv_shared {
	uint64_t hv_gpa;      /* guest-physical start of the hypervisor area: the size of the RAM */
	uint64_t ram_pages;   /* frames below are the guest's */
	uint64_t total_pages; /* with the hypervisor area */
	uint64_t l4_kernel, l4_user, l4_linear, l4_m2p; /* entries of the hypervisor's slots */
	uint64_t entry, start_info;			/* where the kernel begins; its rsi */
	uint64_t kernel_gs[PV_VCPUS_MAX]; /* at SHARED_GS: by which a call finds its vCPU */
	uint32_t merged, ring0, vcpus, cpuid_n;
	/* Kernel addresses of two words that hold the addresses of entry_call and entry_iret, 0: hypercall sites
	 * stay as they are. */
	uint64_t call_cell, iret_cell;
	struct pv_cpuid cpuid[PV_CPUID_MAX];
	uint8_t pad[0x2000 - 104 - PV_VCPUS_MAX * 8 - PV_CPUID_MAX * sizeof(struct pv_cpuid)];
	uint8_t bell[XEN_PORTS]; /* the doorbell of a port plus one; 0: PV_OP_SEND */
};
_Static_assert(sizeof(struct pv_shared) == 0x3000, "struct pv_shared");
_Static_assert(__builtin_offsetof(struct pv_shared, kernel_gs) == SHARED_GS, "SHARED_GS");

enum pv_port_kind {
	PV_PORT_FREE,
	PV_PORT_UNBOUND,
	PV_PORT_BACKEND,
	PV_PORT_VIRQ,
	PV_PORT_IPI,
	PV_PORT_RESERVED
};

struct pv_port {
	uint8_t kind;
	uint8_t virq;
	uint16_t vcpu;
};

/* One a vCPU, at AREA_SHARED. */
struct pv_vcpu_page {
	uint64_t arg[6];
	uint64_t vcpu_info_gpa;
	uint32_t timer_port; /* of VIRQ_TIMER on this vCPU, 0: none */
	uint32_t flush;	     /* set by the VMM: drop translations on the way out */
	uint32_t leaving; /* the shim has looked for events, or is about to, and will not again */
	uint32_t polling; /* waits for a port that may be masked: any change of a port wakes it */
	/* What happened, for statistics. */
	uint64_t hypercalls[XEN_HYPERCALLS];
	uint64_t traps[GATE_FRAMES];
	uint64_t user_syscalls, multicalls, mmu_updates, upcalls, flushes, refused;
	/* Ticks of the TSC from the entry into the shim to the way out: of a hypercall that leaves the guest, the
	 * time there too. */
	uint64_t hypercall_tsc[XEN_HYPERCALLS], trap_tsc[GATE_FRAMES], syscall_tsc;
	char text[1024];
};

_Static_assert(sizeof(struct pv_vcpu_page) <= 0x1000, "AREA_SHARED is a page");

/* AREA_GATE; offsets are repeated in layout.h. */
struct pv_gate {
	uint64_t kernel_cr3, user_cr3, cr2, saved_rax, saved_rsp, in_user, swapped;
	uint8_t pad[GATE_FRAME - 56];
	struct pv_frame {
		uint64_t rip, cs, rflags, rsp, ss;
	} frame[GATE_FRAMES + 1];
};
_Static_assert(sizeof(struct pv_frame) == FRAME_SIZE, "iretq frame");

/* First in the shim's image: what the builder must know of it. Offsets are within a vCPU's area. */
struct shim_header {
	uint64_t magic;
	uint64_t trap, nested, syscall, boot; /* functions, for struct vcpu */
	uint64_t entry_boot, entry_syscall, entry_call, entry_iret, entry_vectors;
	uint64_t stub_debug, stub_syscall;
	uint64_t gate_cr3;  /* also a function of the shim: reload CR3 from struct pv_gate */
	uint64_t entry_end; /* entry code before this leads to `trap` or `syscall` */
	uint64_t any_call, any_iret; /* addresses: entry_call, entry_iret for several vCPUs */
};
#define SHIM_MAGIC 0x6d6968732d767031ull
