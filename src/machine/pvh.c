/*
 * PVH: the ELF note PHYS32_ENTRY names an address that is entered in 32-bit protected mode without paging, EBX at
 * a start_info (Xen, docs/misc/pvh.pandoc).
 *
 * Trust: see boot.c. Threads: before vCPUs run. #syscalls: none
 */
#include <endian.h>
#include <errno.h>

#include "machine/acpi.h"
#include "machine/boot_int.h"
#include "wire/pvh.h"

/* The page at BOOT_INFO. */
struct page {
	struct pvh_start_info info;
	struct pvh_module initrd;
	struct pvh_range range[BOOT_RANGES_MAX];
};

#define AT(member) htole64(BOOT_INFO + offsetof(struct page, member))

int boot_pvh(const struct memory *m, const struct boot_image *image, struct boot_entry *entry,
	     struct err *e)
{
	struct boot_range range[BOOT_RANGES_MAX];
	struct page page = { 0 };
	struct elf_image elf;
	struct elf_xen notes;
	uint64_t initrd;
	int r = elf_parse_any(image->file, image->size, &elf, e);

	if (!r)
		r = elf_xen_notes(image->file, image->size, &notes, e);
	if (r)
		return err_wrap(e, "kernel");
	if (!notes.pvh_entry || notes.pvh_entry > UINT32_MAX)
		return err_set(e, -ENOEXEC, "kernel: has no PVH entry (ELF note PHYS32_ENTRY)");
	r = boot_segments(m, image, &elf, e);
	if (!r)
		r = boot_initrd(m, image, elf.paddr_end, &initrd, e);
	if (r)
		return r;
	unsigned n = boot_map(m, range);

	page.info = (struct pvh_start_info){
		.magic = htole32(PVH_MAGIC),
		.version = htole32(PVH_VERSION),
		.modules = htole32(initrd ? 1 : 0),
		.module_list = AT(initrd),
		.cmdline = htole64(BOOT_CMDLINE),
		.rsdp = htole64(ACPI_BASE),
		.map = AT(range),
		.map_entries = htole32(n),
	};
	page.initrd = (struct pvh_module){
		.start = htole64(initrd),
		.size = htole64(initrd ? image->initrd_size : 0),
	};
	for (unsigned i = 0; i < n; i++)
		page.range[i] = (struct pvh_range){
			.start = htole64(range[i].start),
			.size = htole64(range[i].size),
			.type = htole32(range[i].type),
		};
	if (memory_write(m, GPA(BOOT_INFO), &page, sizeof(page)))
		return err_set(e, -ENOMEM, "guest memory is smaller than 1 MB");
	*entry = (struct boot_entry){ .rip = notes.pvh_entry, .rbx = BOOT_INFO };
	return 0;
}
