/*
 * Multiboot 1, for small test kernels: 32-bit protected mode without paging, EAX a magic number, EBX at the
 * information structure (Multiboot 0.6.96, 3.2 and 3.3). An initramfs is its one module.
 *
 * Trust: see boot.c. Threads: before vCPUs run. #syscalls: none
 */
#include <endian.h>
#include <errno.h>

#include "base/util.h"
#include "machine/boot_int.h"
#include "wire/multiboot.h"

/* The page at BOOT_INFO. */
struct page {
	struct multiboot_info info;
	struct multiboot_module initrd;
	struct multiboot_range range[BOOT_RANGES_MAX];
	char loader[8];
};

#define AT(member) htole32((uint32_t)(BOOT_INFO + offsetof(struct page, member)))

static void fill_map(const struct memory *m, struct page *page)
{
	struct boot_range range[BOOT_RANGES_MAX];
	unsigned n = boot_map(m, range);

	for (unsigned i = 0; i < n; i++)
		page->range[i] = (struct multiboot_range){
			.size = htole32(sizeof(struct multiboot_range) - 4),
			.start = { htole32((uint32_t)range[i].start),
				   htole32((uint32_t)(range[i].start >> 32)) },
			.length = { htole32((uint32_t)range[i].size),
				    htole32((uint32_t)(range[i].size >> 32)) },
			.type = htole32(range[i].type),
		};
	page->info.map = AT(range);
	page->info.map_length = htole32(n * (uint32_t)sizeof(page->range[0]));
}

int boot_multiboot(const struct memory *m, const struct boot_image *image, struct boot_entry *entry,
		   struct err *e)
{
	struct page page = { .loader = "warren" };
	struct elf_image kernel;
	uint64_t initrd;
	int r = multiboot_parse(image->file, image->size, &kernel, e);

	if (r)
		return err_wrap(e, "kernel");
	if (kernel.entry > UINT32_MAX)
		return err_set(e, -ENOEXEC, "kernel: entry 0x%llx is not a 32-bit address",
			       (unsigned long long)kernel.entry);
	r = boot_segments(m, image, &kernel, e);
	if (!r)
		r = boot_initrd(m, image, kernel.paddr_end, &initrd, e);
	if (r)
		return r;
	fill_map(m, &page);
	page.info.flags = htole32(MULTIBOOT_INFO_MEMORY | MULTIBOOT_INFO_CMDLINE |
				  MULTIBOOT_INFO_MODULES | MULTIBOOT_INFO_MAP |
				  MULTIBOOT_INFO_LOADER);
	page.info.mem_lower = htole32(BOOT_LOW_END >> 10);
	page.info.mem_upper = htole32(
		(uint32_t)((m->low - MIN(m->low, (uint64_t)BOOT_HIGH_START)) >> 10));
	page.info.cmdline = htole32(BOOT_CMDLINE);
	page.info.modules = htole32(initrd ? 1 : 0);
	page.info.module_list = AT(initrd);
	page.initrd = (struct multiboot_module){
		.start = htole32((uint32_t)initrd),
		.end = htole32((uint32_t)(initrd ? initrd + image->initrd_size : 0)),
	};
	page.info.loader_name = AT(loader);
	if (memory_write(m, GPA(BOOT_INFO), &page, sizeof(page)))
		return err_set(e, -ENOMEM, "guest memory is smaller than 1 MB");
	*entry = (struct boot_entry){
		.rip = kernel.entry,
		.rax = MULTIBOOT_LOADER_MAGIC,
		.rbx = BOOT_INFO,
	};
	return 0;
}
