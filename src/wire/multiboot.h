/* Multiboot 0.6.96: the header in an image, and what a kernel is told. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/elf.h"

enum {
	MULTIBOOT_MAGIC = 0x1badb002,	     /* 3.1.1 */
	MULTIBOOT_LOADER_MAGIC = 0x2badb002, /* 3.2: EAX at the entry */
	MULTIBOOT_SEARCH = 8192,	     /* 3.1: the header lies within */
	MULTIBOOT_WANTS_VIDEO = 1 << 2,
	MULTIBOOT_HAS_ADDRESSES = 1 << 16,
};

struct multiboot_header {
	size_t offset; /* in the file */
	uint32_t flags;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

bool multiboot_find(const uint8_t *file, size_t size, struct multiboot_header *out);

/* What of the file goes where: by the header's addresses (3.1.3), else by the ELF header. 0 or -ENOEXEC. */
int multiboot_parse(const uint8_t *file, size_t size, struct elf_image *out, struct err *e);

/* 3.3 */
enum {
	MULTIBOOT_INFO_MEMORY = 1 << 0,
	MULTIBOOT_INFO_CMDLINE = 1 << 2,
	MULTIBOOT_INFO_MODULES = 1 << 3,
	MULTIBOOT_INFO_MAP = 1 << 6,
	MULTIBOOT_INFO_LOADER = 1 << 9,
};

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, modules, module_list;
	uint32_t symbols[4];
	uint32_t map_length, map;
	uint32_t drives_length, drives, config_table, loader_name;
};

struct multiboot_module {
	uint32_t start, end, string, reserved;
};

struct multiboot_range {
	uint32_t size; /* of what follows */
	uint32_t start[2], length[2], type;
};

_Static_assert(sizeof(struct multiboot_info) == 68, "multiboot_info");
_Static_assert(sizeof(struct multiboot_range) == 24, "multiboot_range");
