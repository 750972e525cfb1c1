/* What the boot protocols share. */
#pragma once

#include "machine/boot.h"
#include "wire/elf.h"

/* Addresses below 1 MB that all protocols use alike. */
enum {
	BOOT_INFO = 0x7000, /* a page of what the protocol tells the kernel */
	BOOT_CMDLINE = 0x20000,
	BOOT_CMDLINE_MAX = 2048, /* COMMAND_LINE_SIZE of x86, with the NUL */
	BOOT_LOW_END = 0x9fc00,
	BOOT_HIGH_START = 0x100000,
};

/* A range of the memory map; types are e820's: 1 RAM, 3 ACPI tables. */
struct boot_range {
	uint64_t start, size;
	uint32_t type;
};
enum { BOOT_RAM = 1, BOOT_ACPI = 3, BOOT_RANGES_MAX = 4 };

/* The machine's memory map; the number of ranges. */
unsigned boot_map(const struct memory *m, struct boot_range range[BOOT_RANGES_MAX]);

int boot_segments(const struct memory *m, const struct boot_image *image,
		  const struct elf_image *elf, struct err *e);

/* Reads the initramfs to the top of low memory, above `kernel_end`; `*at` is 0 when there is none. */
int boot_initrd(const struct memory *m, const struct boot_image *image, uint64_t kernel_end,
		uint64_t *at, struct err *e);

/* Puts the command line at BOOT_CMDLINE. */
int boot_cmdline(const struct memory *m, const struct boot_image *image, struct err *e);

/* linux.c, pvh.c, multiboot.c: 0 or -errno. */
int boot_linux(const struct memory *m, const struct boot_image *image, struct boot_entry *entry,
	       struct err *e);
int boot_pvh(const struct memory *m, const struct boot_image *image, struct boot_entry *entry,
	     struct err *e);
int boot_multiboot(const struct memory *m, const struct boot_image *image, struct boot_entry *entry,
		   struct err *e);
