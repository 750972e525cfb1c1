/*
 * Multiboot images.
 *
 * Trust: every byte is the image's; offsets are checked against the file. Pure. Threads: any. #syscalls: none
 */
#include "wire/multiboot.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"

static uint32_t word(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return le32toh(v);
}

bool multiboot_find(const uint8_t *file, size_t size, struct multiboot_header *out)
{
	size_t end = MIN(size, (size_t)MULTIBOOT_SEARCH);

	for (size_t at = 0; at + 12 <= end; at += 4) {
		const uint8_t *p = file + at;

		/* 3.1.2: the three words add up to nothing */
		if (word(p) != MULTIBOOT_MAGIC || word(p) + word(p + 4) + word(p + 8) != 0)
			continue;
		*out = (struct multiboot_header){ .offset = at, .flags = word(p + 4) };
		if (!(out->flags & MULTIBOOT_HAS_ADDRESSES))
			return true;
		if (at + 32 > end)
			return false;
		out->header_addr = word(p + 12);
		out->load_addr = word(p + 16);
		out->load_end_addr = word(p + 20);
		out->bss_end_addr = word(p + 24);
		out->entry_addr = word(p + 28);
		return true;
	}
	return false;
}

/* 3.1.3: the part of the file that begins `header_addr - load_addr` before the header. */
static int by_addresses(const struct multiboot_header *h, size_t size, struct elf_image *out,
			struct err *e)
{
	uint64_t before = (uint64_t)h->header_addr - h->load_addr;

	if (h->header_addr < h->load_addr || before > h->offset)
		return err_set(e, -ENOEXEC, "multiboot header: load_addr 0x%x lies before the file",
			       h->load_addr);
	uint64_t start = h->offset - before, length = size - start;

	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr || h->load_end_addr - h->load_addr > length)
			return err_set(e, -ENOEXEC,
				       "multiboot header: load_end_addr 0x%x lies beyond the file",
				       h->load_end_addr);
		length = h->load_end_addr - h->load_addr;
	}
	uint64_t memory = length;

	if (h->bss_end_addr) {
		if (h->bss_end_addr < h->load_addr + length)
			return err_set(e, -ENOEXEC,
				       "multiboot header: bss_end_addr 0x%x lies inside the data",
				       h->bss_end_addr);
		memory = h->bss_end_addr - h->load_addr;
	}
	*out = (struct elf_image){
		.entry = h->entry_addr,
		.segment[0] = { .offset = start,
				.vaddr = h->load_addr,
				.paddr = h->load_addr,
				.file_size = length,
				.mem_size = memory,
				.executable = true },
		.segments = 1,
		.paddr_start = h->load_addr,
		.paddr_end = h->load_addr + memory,
	};
	return 0;
}

int multiboot_parse(const uint8_t *file, size_t size, struct elf_image *out, struct err *e)
{
	struct multiboot_header h;

	if (!multiboot_find(file, size, &h))
		return err_set(e, -ENOEXEC, "no multiboot header in the first %d bytes",
			       MULTIBOOT_SEARCH);
	if (h.flags & MULTIBOOT_WANTS_VIDEO)
		return err_set(e, -ENOTSUP,
			       "multiboot header: wants a video mode, and there is no display");
	if (h.flags & 0xfff8)
		return err_set(e, -ENOTSUP,
			       "multiboot header: flags 0x%x ask for what is not known", h.flags);
	return h.flags & MULTIBOOT_HAS_ADDRESSES ? by_addresses(&h, size, out, e)
						 : elf_parse_any(file, size, out, e);
}
