/* Guest kernels: vmlinux, its notes, bzImage, module information, and what wraps them (ar). */
#include "fuzz.h"
#include "wire/ar.h"
#include "wire/bzimage.h"
#include "wire/elf.h"
#include "wire/modinfo.h"
#include "wire/multiboot.h"

/* Kernels that begin in protected mode. */
static void check_direct(const uint8_t *file, size_t size, struct err *e)
{
	struct elf_image image;
	int r = elf_parse_any(file, size, &image, e);

	if (r)
		FUZZ_CHECK_ERROR(r, *e);
	err_clear(e);
	r = multiboot_parse(file, size, &image, e);
	if (r)
		FUZZ_CHECK_ERROR(r, *e);
	for (unsigned i = 0; !r && i < image.segments; i++) {
		const struct elf_segment *s = &image.segment[i];

		FUZZ_CHECK(s->file_size <= s->mem_size && s->offset <= size);
		FUZZ_CHECK(s->file_size <= size - s->offset);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *file = malloc(size ? size : 1);
	struct elf_image image;
	struct elf_xen xen;
	struct bzimage bz;
	struct modinfo mod;
	struct ar_member member;
	struct err e = ERR_INIT;

	FUZZ_CHECK(file);
	if (size)
		memcpy(file, data, size);
	int r = elf_parse(file, size, &image, &e);

	if (r)
		FUZZ_CHECK_ERROR(r, e);
	for (unsigned i = 0; !r && i < image.segments; i++) {
		const struct elf_segment *s = &image.segment[i];

		FUZZ_CHECK(s->file_size <= s->mem_size && s->offset <= size);
		FUZZ_CHECK(s->file_size <= size - s->offset);
		FUZZ_CHECK(s->paddr >= image.paddr_start);
		FUZZ_CHECK(s->paddr + s->mem_size >= s->paddr);
		FUZZ_CHECK(s->paddr + s->mem_size <= image.paddr_end);
	}
	err_clear(&e);
	check_direct(file, size, &e);
	err_clear(&e);
	r = elf_xen_notes(file, size, &xen, &e);
	if (r)
		FUZZ_CHECK_ERROR(r, e);
	err_clear(&e);
	if (bzimage_detect(file, size)) {
		r = bzimage_parse(file, size < BZIMAGE_HEAD ? size : BZIMAGE_HEAD, size, &bz, &e);
		if (r) {
			FUZZ_CHECK_ERROR(r, e);
		} else {
			FUZZ_CHECK(bz.payload_offset <= size);
			FUZZ_CHECK(bz.payload_size <= size - bz.payload_offset);
		}
	}
	err_clear(&e);
	r = modinfo_parse(file, size, &mod, &e);
	if (r)
		FUZZ_CHECK_ERROR(r, e);
	if (size >= AR_HEADER)
		ar_member_parse(file, &member);
	free(file);
	return 0;
}
