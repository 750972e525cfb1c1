/*
 * Linux by its 64-bit boot protocol: a page of boot parameters, RSI at it, 64-bit mode
 * (Documentation/x86/boot.rst). The kernel's decompressor is never entered: the file is a vmlinux.
 *
 * Trust: see boot.c. Threads: before vCPUs run. #syscalls: none
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>

#include "machine/acpi.h"
#include "machine/boot_int.h"

int boot_linux(const struct memory *m, const struct boot_image *image, struct boot_entry *entry,
	       struct err *e)
{
	struct boot_range range[BOOT_RANGES_MAX];
	struct boot_params bp = { 0 };
	struct elf_image elf;
	uint64_t initrd;
	int r = elf_parse(image->file, image->size, &elf, e);

	if (r)
		return err_wrap(e, "kernel");
	r = boot_segments(m, image, &elf, e);
	if (!r)
		r = boot_initrd(m, image, elf.paddr_end, &initrd, e);
	if (r)
		return r;
	bp.hdr.type_of_loader = 0xff;
	bp.hdr.boot_flag = 0xaa55;
	bp.hdr.header = 0x53726448; /* "HdrS" */
	bp.hdr.kernel_alignment = 0x1000000;
	bp.hdr.cmd_line_ptr = BOOT_CMDLINE;
	bp.hdr.cmdline_size = (uint32_t)strlen(image->cmdline);
	bp.acpi_rsdp_addr = ACPI_BASE;
	bp.hdr.ramdisk_image = (uint32_t)initrd;
	bp.ext_ramdisk_image = (uint32_t)(initrd >> 32);
	bp.hdr.ramdisk_size = initrd ? (uint32_t)image->initrd_size : 0;
	bp.ext_ramdisk_size = initrd ? (uint32_t)(image->initrd_size >> 32) : 0;
	bp.e820_entries = (uint8_t)boot_map(m, range);
	for (unsigned i = 0; i < bp.e820_entries; i++)
		bp.e820_table[i] = (struct boot_e820_entry){ range[i].start, range[i].size,
							     range[i].type };
	if (memory_write(m, GPA(BOOT_INFO), &bp, sizeof(bp)))
		return err_set(e, -ENOMEM, "guest memory is smaller than 1 MB");
	*entry = (struct boot_entry){ .is_long = true, .rip = elf.entry, .rsi = BOOT_INFO };
	return 0;
}
