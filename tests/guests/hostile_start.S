/* Where a PV kernel begins: rsi is start_info. And hypercalls, by plain SYSCALL. */
	.text
	.globl	start, hypercall, on_upcall, on_trap
start:
	lea	stack_top(%rip), %rsp
	mov	%rsi, %rdi
	call	hostile
1:	jmp	1b

	/* long hypercall(long number, a, b, c, d, e) */
hypercall:
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	syscall
	ret

	/* A trap handler that gives up quietly: says so through hypercalls from C. */
on_trap:
	lea	trap_stack_top(%rip), %rsp
	call	trapped
1:	jmp	1b

	.section .note.Xen, "a"
	.macro note type, value
	.balign	4
	.long	4, 8, \type
	.asciz	"Xen"
	.quad	\value
	.endm
	note	1, start
	note	3, 0xffffffff80000000
	note	4, 0
	note	15, 0x8000000000
	note	16, 1

	.bss
	.balign	4096
	.skip	16384
stack_top:
	.skip	8192
trap_stack_top:
	.section .note.GNU-stack, "", @progbits
