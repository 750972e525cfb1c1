/* Kernel images as ELF: what a boot loader needs of a vmlinux. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ELF_SEGMENTS_MAX 16

struct elf_segment {
	uint64_t offset; /* in the file; offset + file_size was checked */
	uint64_t vaddr, paddr;
	uint64_t file_size, mem_size; /* file_size <= mem_size, paddr + mem_size does not wrap */
	bool executable;
};

struct elf_image {
	uint64_t entry;
	struct elf_segment segment[ELF_SEGMENTS_MAX]; /* the loadable ones with mem_size > 0 */
	unsigned segments;
	uint64_t paddr_start, paddr_end; /* what they cover */
};

/* A 64-bit little-endian x86-64 executable of `size` bytes. 0, or -ENOEXEC with the field named. */
int elf_parse(const uint8_t *file, size_t size, struct elf_image *image, struct err *e);

/* The same, of 32-bit x86 executables too: test kernels that begin in protected mode. */
int elf_parse_any(const uint8_t *file, size_t size, struct elf_image *image, struct err *e);

/* What the ELF notes of owner "Xen" say about a kernel. */
struct elf_xen {
	bool present;
	uint64_t entry;	    /* 0: none */
	uint64_t virt_base; /* of physical address `paddr_offset` */
	uint64_t paddr_offset;
	uint64_t init_p2m;	 /* where the frame list is wanted, 0: anywhere */
	uint64_t hypercall_page; /* virtual address, 0: hypercalls are inline */
	uint64_t pvh_entry;	 /* physical address, entered in 32-bit protected mode; 0: none */
	bool is_linux;		 /* the guest's system says so */
	bool mod_start_pfn;	 /* understands an initrd that is not mapped */
	/* Virtual addresses of two eight-byte note fields that nothing reads after boot, 0: none. */
	uint64_t spare[2];
};

/* Reads the notes; a kernel without any leaves `present` false. 0, or -ENOEXEC when they are cut. */
int elf_xen_notes(const uint8_t *file, size_t size, struct elf_xen *xen, struct err *e);
