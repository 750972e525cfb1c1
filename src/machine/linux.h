/* Booting Linux by its 64-bit protocol (Documentation/x86/boot.rst, "64-bit BOOT PROTOCOL"). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "machine/memory.h"

struct linux_image {
	const uint8_t *vmlinux; /* the ELF file, mapped */
	size_t vmlinux_size;
	int initrd; /* descriptor, or -1 */
	uint64_t initrd_size;
	const char *cmdline;
};

/* How the first vCPU begins. */
struct linux_entry {
	uint64_t rip, rsi;
};

/* Puts kernel, initramfs, command line and boot parameters into memory. ACPI tables are expected at
 * ACPI_BASE. 0, or -errno naming what does not fit or parse. */
int linux_load(const struct memory *m, const struct linux_image *image, struct linux_entry *entry,
	       struct err *e);
