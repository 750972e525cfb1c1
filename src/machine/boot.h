/* Boot loaders: a kernel, an initramfs and a command line become the first vCPU's state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "machine/memory.h"

enum boot_protocol {
	BOOT_AUTO,	/* what the image says of itself */
	BOOT_LINUX,	/* Documentation/x86/boot.rst, "64-bit BOOT PROTOCOL" */
	BOOT_PVH,	/* Xen's direct boot, docs/misc/pvh.pandoc */
	BOOT_MULTIBOOT, /* Multiboot 0.6.96 */
};

struct boot_image {
	const uint8_t *file; /* the kernel, mapped */
	size_t size;
	int fd;	    /* of the same file, or -1: bulk is read from it, which costs no page faults */
	int initrd; /* descriptor, or -1 */
	uint64_t initrd_size;
	const char *cmdline;
	enum boot_protocol protocol;
};

/* How the first vCPU begins. */
struct boot_entry {
	bool is_long; /* 64-bit mode with an identity map of 4 GB; else 32-bit protected mode, no paging */
	uint64_t rip, rax, rbx, rsi;
};

/* Puts everything into memory. ACPI tables are expected at ACPI_BASE. 0, or -errno naming what does not fit or parse. */
int boot_load(const struct memory *m, const struct boot_image *image, struct boot_entry *entry,
	      struct err *e);

/* "auto", "linux", "pvh", "multiboot". 0 or -EINVAL. */
int boot_protocol_parse(const char *name, enum boot_protocol *protocol);
