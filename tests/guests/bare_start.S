/* A program without a kernel: begins by PVH in 32-bit protected mode, maps the first 4 GB one to one for every ring, and
 * runs main(command line) in 64-bit mode: in ring 3, or in ring 0 when the command line begins with "0". Where KVM
 * interprets ring 0, ring 3 still runs on the processor. int3 is the way to ring 0: eax says what for. */
	.set	CODE0, 0x08
	.set	DATA0, 0x10
	.set	DATA3, 0x1b
	.set	CODE3, 0x23
	.set	TSS, 0x28

	.code32
	.section .text.start, "ax"
	.globl	_start
_start:	/* ebx: start_info */
	cld
	mov	$stack_top, %esp
	mov	24(%ebx), %esi
	mov	%esi, arguments

	mov	$directories, %edi	/* 2048 pages of 2 MB: present, writable, user, large */
	mov	$0x87, %eax
	xor	%edx, %edx
	mov	$2048, %ecx
1:	mov	%eax, (%edi)
	mov	%edx, 4(%edi)
	add	$8, %edi
	add	$0x200000, %eax
	loop	1b
	mov	$directories + 7, %eax
	mov	$pointers, %edi
	mov	$4, %ecx
1:	mov	%eax, (%edi)
	add	$8, %edi
	add	$4096, %eax
	loop	1b
	movl	$pointers + 7, top
	mov	$0x620, %eax		/* PAE, and SSE's two */
	mov	%eax, %cr4
	mov	$top, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	$0x80000033, %eax
	mov	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$CODE0, $long

	.code64
long:	mov	$DATA0, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs

	mov	$tss, %eax		/* its descriptor, in pieces */
	mov	%ax, gdt + TSS + 2
	shr	$16, %eax
	mov	%al, gdt + TSS + 4
	mov	%ah, gdt + TSS + 7
	movq	$trap_stack_top, tss + 4
	mov	$TSS, %eax
	ltr	%ax

	mov	$stubs, %esi		/* gates 0 to 31; the rest are interrupts */
	mov	$idt, %edi
	xor	%ecx, %ecx
1:	mov	%esi, %eax
	cmp	$32, %ecx
	jb	2f
	mov	$interrupt, %eax
2:	mov	%ax, (%rdi)
	movw	$CODE0, 2(%rdi)
	movw	$0xee00, 4(%rdi)	/* open to ring 3 */
	shr	$16, %eax
	mov	%ax, 6(%rdi)
	add	$16, %edi
	add	$16, %esi
	inc	%ecx
	cmp	$256, %ecx
	jb	1b
	lidt	idt_pointer

	mov	$0xff, %al		/* the old interrupt controllers are quiet */
	mov	$0x21, %edx
	out	%al, %dx
	mov	$0xa1, %edx
	out	%al, %dx
	mov	arguments, %edi
	lea	user_stack_top, %rsp
	cmpb	$'0', (%rdi)
	jne	1f
	sti
	jmp	run
1:
	pushq	$DATA3
	pushq	$user_stack_top
	pushq	$0x202
	pushq	$CODE3
	pushq	$run
	iretq
run:	call	main
	xor	%eax, %eax
	int3

/* ---- ring 0 ---- */

	.balign	16
stubs:
	.set	n, 0
	.rept	32
	.balign	16
	.if	!(n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21 || n == 29 || n == 30)
	push	$0
	.endif
	push	$n
	jmp	trap
	.set	n, n + 1
	.endr

trap:	cmpq	$3, (%rsp)
	jne	died
	add	$16, %rsp
	test	%eax, %eax		/* 0: power off */
	jz	off
	dec	%eax			/* 1: print dil */
	jz	put
	dec	%eax			/* 2: a triple fault */
	jz	triple
	dec	%eax			/* 3: edi to port esi */
	jz	port
	iretq
off:	mov	$0x600, %edx
	mov	$0x34, %al
	out	%al, %dx
1:	hlt
	jmp	1b
put:	mov	$0x3f8, %edx
	mov	%edi, %eax
	out	%al, %dx
	iretq
port:	mov	%esi, %edx
	mov	%edi, %eax
	out	%eax, %dx
	iretq
triple:	lidt	nothing
	ud2

	/* A trap that nobody expected: "!", and out. */
died:	mov	$'!', %edi
	mov	$0x3f8, %edx
	mov	%edi, %eax
	out	%al, %dx
	mov	(%rsp), %al
	add	$'A', %al
	out	%al, %dx
	jmp	off

interrupt:
	push	%rax
	mov	$0xfee000b0, %eax	/* EOI */
	movl	$0, (%rax)
	incl	interrupts
	pop	%rax
	iretq

	.data
	.balign	16
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff
	.quad	0x0000890000000067, 0
gdt_pointer:
	.word	. - gdt - 1
	.quad	gdt
idt_pointer:
	.word	256 * 16 - 1
	.quad	idt
nothing: .word	0
	.quad	0
tss:	.skip	102
	.word	104			/* no I/O bitmap */
arguments:
	.quad	0
	.globl	interrupts
interrupts:
	.long	0

	.section .note.Xen, "a", @note
	.balign	4
	.long	4, 4, 18		/* PHYS32_ENTRY */
	.asciz	"Xen"
	.long	_start

	.bss
	.balign	4096
top:	.skip	4096
pointers: .skip	4096
directories: .skip 4 * 4096
idt:	.skip	4096
	.skip	4096
stack_top:
	.skip	4096
trap_stack_top:
	.skip	16384
user_stack_top:
	.section .note.GNU-stack, "", @progbits
