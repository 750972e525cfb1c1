/*
 * The ways into and out of the shim.
 *
 * Tour stop 4: how a trap travels. The CPU (or the host, which interprets ring 0 for us) delivers an exception to
 * a stub in ring 0. Every instruction there is dear, so a stub only points RSP at a frame that was built before
 * the guest started and returns through it, into the entry code below, in the shim's own ring. What the CPU
 * pushed stays at the top of the hardware stack, where the C code reads it.
 *
 * Both pieces are copied to each vCPU's area. They reach their data relative to RIP, so that each copy finds its
 * own vCPU's; they call C through pointers in the area, because that distance differs for each copy.
 *
 * Stacks: an entry begins on the small trap stack. If the interrupted code was not the shim's, it moves to the
 * main stack. If it was (a guest pointer that faults, a single step), it stays, and `nested` mends it. User code
 * may stand on one of the shim's addresses too: in isolated memory its SYSCALL lands on an int3 there.
 */
#include "pv/layout.h"

#define GATE(x)	 area0 + AREA_GATE + x(%rip)
#define HW(x)	 area0 + AREA_HW_TOP - (x)(%rip)
#define MAIN(x)	 area0 + AREA_STACK_TOP - REGS_SIZE + x(%rip)
#define VCPU(x)	 area0 + AREA_VCPU + x(%rip)
#define HW_RIP	 40
#define HW_RSP	 16
#define HW_R11	 48 /* where a stub saved it when there was no error code */

	.section .stubs, "ax"
stubs_start:

	/* Isolated memory: the kernel's CR3 must be loaded before its ring 3 pages can be reached. */
	.balign 4096
	.set i, 0
	.rept GATE_FRAMES
	.balign STUB_SIZE
	push	%r11
	.if i == 14
	mov	%cr2, %r11
	mov	%r11, GATE(GATE_CR2)
	.endif
	mov	GATE(GATE_KERNEL_CR3), %r11
	mov	%r11, %cr3
	lea	GATE(GATE_FRAME + i * FRAME_SIZE), %rsp
	iretq
	.set	i, i + 1
	.endr

	/* #DB, ring 3 shim: also the gate from the shim to user code, which executes int1. */
	.balign STUB_SIZE
stub_debug:
	cmpl	$PV_HV_HIGH, 4(%rsp)
	jne	area0 + AREA_STUBS + STUB_SIZE
	push	%r11
	mov	GATE(GATE_USER_CR3), %r11
	mov	%r11, %cr3
	pop	%r11
	lea	GATE(GATE_FRAME + GATE_FRAME_USER * FRAME_SIZE), %rsp
	iretq

	/* SYSCALL in a true ring 0; RSP is still the caller's. */
	.balign STUB_SIZE
stub_syscall:
	mov	%rsp, GATE(GATE_SAVED_RSP)
	cmpq	$0, GATE(GATE_SWAPPED)
	je	1f
	mov	GATE(GATE_KERNEL_CR3), %rsp
	mov	%rsp, %cr3
1:	mov	GATE(GATE_SAVED_RSP), %rsp
	jmp	entry_syscall

	/* The same for the way to user code. */
	.balign STUB_SIZE
stub_user:
	mov	%rax, GATE(GATE_SAVED_RAX)
	mov	GATE(GATE_USER_CR3), %rax
	mov	%rax, %cr3
	mov	GATE(GATE_SAVED_RAX), %rax
	lea	GATE(GATE_FRAME + GATE_FRAME_USER * FRAME_SIZE), %rsp
	iretq

	/* Merged memory: CR3 is already right. int3 is the exception: it is the shim's way to reload CR3. */
	.balign 4096
	.set i, 0
	.rept GATE_FRAMES
	.balign STUB_SIZE
	.if i == 14
	push	%r11
	mov	%cr2, %r11
	mov	%r11, GATE(GATE_CR2)
	.elseif i == 3
	push	%r11
	mov	GATE(GATE_KERNEL_CR3), %r11
	mov	%r11, %cr3
	.endif
	lea	GATE(GATE_FRAME + i * FRAME_SIZE), %rsp
	iretq
	.set	i, i + 1
	.endr

	.section .entry, "ax"

	.macro save
	push	%rdi
	push	%rsi
	push	%rdx
	push	%rcx
	push	%rax
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	.endm

	.macro restore
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rax
	pop	%rcx
	pop	%rdx
	pop	%rsi
	pop	%rdi
	.endm

	/* int (*fn)(struct vcpu *, struct regs *) */
	.macro enter_c fn
	save
	cld
	lea	VCPU(0), %rdi
	mov	%rsp, %rsi
	call	*VCPU(\fn)
	.endm

	.balign 4096
entry_start:
entry_vectors:
	.set i, 0
	.rept GATE_FRAMES
	.balign ENTRY_SIZE
	pushq	$i
	jmp	vector_common
	.set	i, i + 1
	.endr

	.balign 64
	/* SYSCALL: rcx is the caller's rip, r11 its flags. */
entry_syscall:
	mov	%rsp, MAIN(REGS_RSP)
	lea	MAIN(REGS_VECTOR), %rsp
	mov	%rcx, MAIN(REGS_RIP)
	mov	%r11, MAIN(REGS_RFLAGS)
	enter_c	VCPU_FN_SYSCALL
	jmp	leave

	.balign 16
	/* A hypercall site that calls instead of using SYSCALL. */
entry_call:
	pop	MAIN(REGS_RIP)
	mov	%rsp, MAIN(REGS_RSP)
	lea	MAIN(REGS_VECTOR), %rsp
	movq	$0x202, MAIN(REGS_RFLAGS)
	enter_c	VCPU_FN_SYSCALL
	jmp	leave

	.balign 16
	/* The same for iret, which does not return. */
entry_iret:
	mov	%rsp, MAIN(REGS_RSP)
	lea	MAIN(REGS_VECTOR), %rsp
	mov	$23, %eax
	enter_c	VCPU_FN_SYSCALL
	jmp	leave

	.balign 16
vector_common:
	push	%rax
	cmpl	$PV_HV_HIGH, HW(HW_RIP - 4)
	jne	1f
	cmpq	$0, GATE(GATE_IN_USER)
	je	nested
1:	mov	8(%rsp), %rax
	mov	%rax, MAIN(REGS_VECTOR)
	pop	%rax
	lea	MAIN(REGS_VECTOR), %rsp
	enter_c	VCPU_FN_TRAP
leave:
	test	%eax, %eax
	jnz	1f
	restore
	lea	16(%rsp), %rsp
	iretq
1:	cmp	$2, %eax
	je	2f
	restore
gate_user:
	.byte	0xf1
	ud2
2:	restore
	jmp	stub_user

nested:
	cmpq	$3, 8(%rsp)
	jne	1f
	lea	gate_cr3_done(%rip), %rax
	cmp	%rax, HW(HW_RIP)
	jne	1f
	mov	HW(HW_R11), %r11
	pop	%rax
	mov	HW(HW_RSP), %rsp
	ret
1:	pop	%rax
	enter_c	VCPU_FN_NESTED
	restore
	lea	16(%rsp), %rsp
	iretq

entry_boot:
	lea	MAIN(REGS_VECTOR), %rsp
	enter_c	VCPU_FN_BOOT
	jmp	leave

	/* Called by the ring 3 shim: loads GATE_KERNEL_CR3. One a vCPU, found through struct shim_header. */
gate_cr3:
	int3
gate_cr3_done:
	ret

	.section .header, "a"
	.globl	shim_header
shim_header:
	.quad	0x6d6968732d767031
	.quad	shim_trap, shim_nested, shim_syscall, shim_boot
	.quad	entry_boot - entry_start + AREA_ENTRY, entry_syscall - entry_start + AREA_ENTRY
	.quad	entry_call - entry_start + AREA_ENTRY, entry_iret - entry_start + AREA_ENTRY
	.quad	entry_vectors - entry_start + AREA_ENTRY
	.quad	stub_debug - stubs_start, stub_syscall - stubs_start
	.quad	gate_cr3 - entry_start + AREA_ENTRY
	.quad	leave - entry_start + AREA_ENTRY
	.quad	any_call, any_iret

	/* entry_call and entry_iret where there are several vCPUs: GS, the kernel's per-CPU base, tells which one
	 * calls. Where GS is not set up, `other` goes on by SYSCALL. On the kernel's stack; only flags change. */
	.macro	any target, other
	sub	$8, %rsp
	push	%rax
	push	%rcx
	push	%rdx
	rdgsbase %rax
	lea	area0 + HV_SHARED + SHARED_GS(%rip), %rdx
	xor	%ecx, %ecx
1:	cmp	%rax, (%rdx, %rcx, 8)
	je	2f
	inc	%ecx
	cmp	$PV_VCPUS_MAX, %ecx
	jb	1b
	lea	\other(%rip), %rcx
	jmp	3f
2:	shl	$PV_AREA_SHIFT, %rcx
	lea	\target(%rip), %rax
	add	%rax, %rcx
3:	mov	%rcx, 24(%rsp)
	pop	%rdx
	pop	%rcx
	pop	%rax
	ret
	.endm

	.text
	.balign	16
any_call:
	any	entry_call, call_by_syscall
	.balign	16
any_iret:
	any	entry_iret, iret_by_syscall
call_by_syscall:
	push	%rcx
	push	%r11
	syscall
	pop	%r11
	pop	%rcx
	ret
iret_by_syscall:
	mov	$23, %eax
	syscall

	/* size_t copy_bytes(void *to, const void *from, size_t n): bytes left when a page was missing */
	.text
	.globl	copy_bytes
copy_bytes:
	mov	%rdx, %rcx
1:	rep movsb
2:	mov	%rcx, %rax
	ret
	.section .fixups, "a"
	.quad	1b, 2b

	.section .note.GNU-stack, "", @progbits
