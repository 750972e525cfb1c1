/* A kernel of a page that begins in 32-bit protected mode, by Multiboot or by PVH: says by which, prints its command
 * line and the top of its last range of memory, and powers off. Run by tests/integration/test_vm_machine.py. */
	.code32
	.section .text.start, "ax"
	.globl	_start
	.balign	4
	.long	0x1badb002, 0, -0x1badb002

_start:	/* eax: Multiboot's magic, ebx: its information */
	mov	$stack_top, %esp
	cmp	$0x2badb002, %eax
	jne	broken
	testl	$0x40, (%ebx)		/* the memory map is there */
	jz	broken
	mov	$by_multiboot, %esi
	call	print
	mov	16(%ebx), %esi
	call	print_line
	mov	48(%ebx), %edi		/* map and its length */
	add	44(%ebx), %edi
	sub	$24, %edi
	lea	4(%edi), %edi		/* behind the size word */
	jmp	top

pvh:	/* ebx: start_info */
	mov	$stack_top, %esp
	cmpl	$0x336ec578, (%ebx)
	jne	broken
	mov	$by_pvh, %esi
	call	print
	mov	24(%ebx), %esi
	call	print_line
	mov	48(%ebx), %edi
	imul	$24, %edi
	add	40(%ebx), %edi
	sub	$24, %edi

top:	/* edi: the last range: start and size, 64 bits each. Its end in megabytes, hexadecimal. */
	mov	(%edi), %eax
	mov	4(%edi), %edx
	add	8(%edi), %eax
	adc	12(%edi), %edx
	shrd	$20, %edx, %eax
	mov	$8, %ecx
1:	rol	$4, %eax
	push	%eax
	and	$15, %eax
	mov	digits(%eax), %al
	call	put
	pop	%eax
	loop	1b
	mov	$'\n', %al
	call	put
	mov	$0x600, %dx		/* ACPI sleep control: S5 */
	mov	$0x34, %al
	out	%al, %dx
1:	hlt
	jmp	1b

broken:	ud2

put:	mov	$0x3f8, %dx
	out	%al, %dx
	ret

print:	lodsb
	test	%al, %al
	jz	1f
	call	put
	jmp	print
1:	ret

print_line:
	call	print
	mov	$'\n', %al
	jmp	put

by_multiboot: .asciz "multiboot: "
by_pvh:	.asciz	"pvh: "
digits:	.ascii	"0123456789abcdef"

#ifdef PVH
	.section .note.Xen, "a", @note
	.balign	4
	.long	4, 4, 18		/* PHYS32_ENTRY */
	.asciz	"Xen"
	.long	pvh
#endif

	.bss
	.balign	16
	.skip	1024
stack_top:
	.section .note.GNU-stack, "", @progbits
