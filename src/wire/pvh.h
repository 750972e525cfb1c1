/* What a PVH kernel is told: EBX holds the address of a struct pvh_start_info (Xen, public/arch-x86/hvm/start_info.h). */
#pragma once

#include <stdint.h>

enum { PVH_MAGIC = 0x336ec578, PVH_VERSION = 1 };

struct pvh_start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, map;
	uint32_t map_entries, reserved;
};

struct pvh_module {
	uint64_t start, size, cmdline, reserved;
};

struct pvh_range {
	uint64_t start, size;
	uint32_t type, reserved;
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "start_info");
_Static_assert(sizeof(struct pvh_module) == 32, "module");
_Static_assert(sizeof(struct pvh_range) == 24, "range");
