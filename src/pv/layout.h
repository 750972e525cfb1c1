/* Where the shim and its data live, in guest-virtual and guest-physical memory. Only #defines: read by C and by
 * the assembler.
 *
 * The guest's L4 slots 257..259 are the hypervisor's. Slot 257 (PV_HV) maps the hypervisor area, which follows
 * the guest's RAM in guest-physical memory; within its first 4 MB, offsets in both are the same but where noted.
 * Slot 258 (PV_LINEAR) maps all guest-physical memory, slot 259 (PV_M2P) the machine-to-physical table. */
#pragma once

#ifdef __ASSEMBLER__
#define PV_U64(x) x
#else
#define PV_U64(x) x##ull
#endif

/* Other places only for the fuzz target that runs the shim in a process. */
#ifndef PV_HV
#define PV_HV	  PV_U64(0xffff808000000000)
#define PV_LINEAR PV_U64(0xffff810000000000)
#define PV_M2P	  PV_U64(0xffff818000000000)
#endif
#define PV_HV_HIGH 0xffff8080 /* upper half of every address in PV_HV's first 4 GB */

#define PV_SLOT_HV     257
#define PV_SLOT_LINEAR 258
#define PV_SLOT_M2P    259
#define PV_SLOT_FIRST  256 /* Xen reserves 256..271 */
#define PV_SLOT_END    272

/* One area a vCPU, from offset 0. */
#define PV_AREA_SIZE  0x10000
#define PV_AREA_SHIFT 16
#define PV_VCPUS_MAX  32

#define AREA_STUBS	  0x0000 /* ring 0, changing CR3 */
#define AREA_STUBS_MERGED 0x1000 /* ring 0, keeping CR3 */
#define AREA_GDT	  0x2000
#define AREA_TSS	  0x2800
#define AREA_IDT	  0x3000
#define AREA_GATE	  0x4000 /* struct pv_gate */
#define AREA_HW_STACK	  0x5000 /* where the CPU pushes its frames */
#define AREA_HW_TOP	  0x6000
#define AREA_ENTRY	  0x6000 /* LSTAR's page: the shim's entry code, seen with the kernel's CR3 */
#define AREA_ENTRY_USER \
	0x7000 /* guest-physical only: the page at AREA_ENTRY, seen with a user CR3 */
#define AREA_SHARED	0x8000 /* struct pv_vcpu_page */
#define AREA_VCPU	0x9000 /* the shim's struct vcpu */
#define AREA_TRAP_STACK 0xa000
#define AREA_TRAP_TOP	0xb000
#define AREA_TRAP_TABLE 0xb000
#define AREA_STACK	0xc000
#define AREA_STACK_TOP	0x10000

#define AREA_USER_PAGES 6 /* from AREA_STUBS on: also mapped, supervisor only, with a user CR3 */

/* struct pv_gate */
#define GATE_KERNEL_CR3 0x00
#define GATE_USER_CR3	0x08
#define GATE_CR2	0x10
#define GATE_SAVED_RAX	0x18
#define GATE_SAVED_RSP	0x20
#define GATE_IN_USER	0x28  /* user code runs */
#define GATE_SWAPPED	0x30  /* with a CR3 of its own */
#define GATE_FRAME	0x100 /* one iretq frame of 40 bytes a vector */
#define GATE_FRAMES	33
#define GATE_FRAME_USER 33 /* one more, back to user code in isolated memory */
#define FRAME_SIZE	40

/* struct regs at the top of a stack */
#define REGS_SIZE   0xb0
#define REGS_VECTOR 0x78
#define REGS_RIP    0x88
#define REGS_RFLAGS 0x98
#define REGS_RSP    0xa0

/* struct vcpu: the functions that the entry code calls */
#define VCPU_FN_TRAP	0x00
#define VCPU_FN_NESTED	0x08
#define VCPU_FN_SYSCALL 0x10
#define VCPU_FN_BOOT	0x18

#define VECTOR_UPCALL 32 /* not a CPU vector: the VMM enters here to deliver events */
#define STUB_SIZE     64
#define ENTRY_SIZE    16

/* Offsets in the hypervisor area. */
#define HV_SHIM		0x200000 /* the shim's image, beginning with struct shim_header */
#define HV_SHIM_SIZE	0x100000
#define HV_SHARED	0x300000 /* struct pv_shared */
#define SHARED_GS	0x48	 /* in struct pv_shared: kernel GS bases */
#define HV_SHARED_INFO	0x308000 /* struct xen_shared_info */
#define HV_PORTS	0x30c000 /* struct pv_port[XEN_PORTS] */
#define HV_GRANTS	0x340000
#define HV_GRANT_FRAMES 32
#define HV_TABLES	0x380000 /* page tables of the three slots */
#define HV_TABLES_SIZE	0x7f000
#define HV_MMIO		0x3ff000 /* virtual only: a page without memory; writing there leaves the guest */
#define HV_M2P		0x400000 /* guest-physical; mapped at PV_M2P */

#define PV_MMIO_GPA  PV_U64(0x4000000000) /* 256 GB: beyond any guest's memory */
#define PV_MMIO_BELL 0x100		  /* one doorbell of 8 bytes each from here on */
#define PV_BELLS     64
