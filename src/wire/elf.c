/*
 * vmlinux files.
 *
 * Program headers say what goes where in guest-physical memory; a PT_NOTE segment carries the notes by which a
 * kernel declares itself bootable as a Xen PV guest.
 *
 * Trust: every byte is the image's. Offsets and sizes are checked against the file and against wrapping before
 * use; nothing here follows a pointer that was not checked. Whether segments fit the guest is the loader's
 * question. Pure: no system call. Threads: any. #syscalls: none
 */
#include "wire/elf.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "wire/xen.h"

/* The file header in its 64-bit form, whichever the file has. */
static int file_header(const uint8_t *file, size_t size, Elf64_Ehdr *h, struct err *e)
{
	Elf32_Ehdr narrow;

	if (size < sizeof(*h))
		return err_set(e, -ENOEXEC, "not a kernel: %zu bytes are too few for an ELF header",
			       size);
	memcpy(h, file, sizeof(*h));
	if (memcmp(h->e_ident, ELFMAG, SELFMAG))
		return err_set(e, -ENOEXEC, "not an ELF file (an uncompressed vmlinux is wanted)");
	if (h->e_ident[EI_CLASS] != ELFCLASS32)
		return 0;
	memcpy(&narrow, file, sizeof(narrow));
	h->e_entry = narrow.e_entry;
	h->e_phoff = narrow.e_phoff;
	h->e_phentsize = narrow.e_phentsize;
	h->e_phnum = narrow.e_phnum;
	return 0;
}

/* Reads and judges the file header; 32-bit ones only when `narrow`. */
static int read_header(const uint8_t *file, size_t size, bool narrow, Elf64_Ehdr *h, struct err *e)
{
	int r = file_header(file, size, h, e);

	if (r)
		return r;
	bool is_32bit = narrow && h->e_ident[EI_CLASS] == ELFCLASS32;
	size_t entry = is_32bit ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr);

	if ((!is_32bit && h->e_ident[EI_CLASS] != ELFCLASS64) ||
	    h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != (is_32bit ? EM_386 : EM_X86_64))
		return err_set(e, -ENOEXEC, "not a 64-bit x86 kernel (ELF machine %u)",
			       h->e_machine);
	if (h->e_phentsize != entry || h->e_phnum == 0 || h->e_phnum > 128)
		return err_set(e, -ENOEXEC, "ELF header: %u program headers of %u bytes",
			       h->e_phnum, h->e_phentsize);
	if (h->e_phoff > size || (size - h->e_phoff) / entry < h->e_phnum)
		return err_set(e, -ENOEXEC,
			       "program headers lie beyond the end of the file (truncated?)");
	return 0;
}

/* Program header `i` of a judged file, in its 64-bit form. */
static Elf64_Phdr program_header(const uint8_t *file, const Elf64_Ehdr *h, unsigned i)
{
	const uint8_t *at = file + h->e_phoff + (size_t)i * h->e_phentsize;
	Elf64_Phdr p;
	Elf32_Phdr narrow;

	if (h->e_phentsize == sizeof(p)) {
		memcpy(&p, at, sizeof(p));
		return p;
	}
	memcpy(&narrow, at, sizeof(narrow));
	return (Elf64_Phdr){
		.p_type = narrow.p_type,
		.p_flags = narrow.p_flags,
		.p_offset = narrow.p_offset,
		.p_vaddr = narrow.p_vaddr,
		.p_paddr = narrow.p_paddr,
		.p_filesz = narrow.p_filesz,
		.p_memsz = narrow.p_memsz,
	};
}

static int take_segment(struct elf_image *image, const Elf64_Phdr *p, size_t size, unsigned index,
			struct err *e)
{
	if (p->p_memsz == 0)
		return 0;
	if (p->p_filesz > p->p_memsz)
		return err_set(e, -ENOEXEC, "segment %u: larger in the file than in memory", index);
	if (p->p_offset > size || p->p_filesz > size - p->p_offset)
		return err_set(e, -ENOEXEC,
			       "segment %u lies beyond the end of the file (truncated?)", index);
	if (p->p_paddr + p->p_memsz < p->p_paddr || p->p_vaddr + p->p_memsz < p->p_vaddr)
		return err_set(e, -ENOEXEC, "segment %u: its address range wraps", index);
	if (image->segments == ELF_SEGMENTS_MAX)
		return err_set(e, -ENOEXEC, "more than %d loadable segments", ELF_SEGMENTS_MAX);
	image->segment[image->segments++] = (struct elf_segment){
		.offset = p->p_offset,
		.vaddr = p->p_vaddr,
		.paddr = p->p_paddr,
		.file_size = p->p_filesz,
		.mem_size = p->p_memsz,
		.executable = p->p_flags & PF_X,
	};
	image->paddr_start = MIN(image->paddr_start, p->p_paddr);
	image->paddr_end = MAX(image->paddr_end, p->p_paddr + p->p_memsz);
	return 0;
}

static int parse(const uint8_t *file, size_t size, bool narrow, struct elf_image *image,
		 struct err *e)
{
	Elf64_Ehdr h;
	int r = read_header(file, size, narrow, &h, e);

	if (r)
		return r;
	*image = (struct elf_image){ .entry = h.e_entry, .paddr_start = UINT64_MAX };
	for (unsigned i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr p = program_header(file, &h, i);

		if (p.p_type != PT_LOAD)
			continue;
		r = take_segment(image, &p, size, i, e);
		if (r)
			return r;
	}
	if (!image->segments)
		return err_set(e, -ENOEXEC, "no loadable segment");
	return 0;
}

int elf_parse(const uint8_t *file, size_t size, struct elf_image *image, struct err *e)
{
	return parse(file, size, false, image, e);
}

int elf_parse_any(const uint8_t *file, size_t size, struct elf_image *image, struct err *e)
{
	return parse(file, size, true, image, e);
}

/* The numeric value of a note: Linux writes these with 4 or 8 bytes. */
static uint64_t number(const uint8_t *desc, uint32_t len)
{
	uint64_t v = 0;

	if (len == 4 || len == 8)
		memcpy(&v, desc, len);
	return le64toh(v);
}

static void take_note(struct elf_xen *xen, uint32_t type, const uint8_t *desc, uint32_t len,
		      uint64_t vaddr)
{
	xen->present = true;
	switch (type) {
	case XEN_NOTE_ENTRY:
		xen->entry = number(desc, len);
		if (len == 8)
			xen->spare[0] = vaddr;
		break;
	case XEN_NOTE_HYPERCALL_PAGE:
		xen->hypercall_page = number(desc, len);
		break;
	case XEN_NOTE_VIRT_BASE:
		xen->virt_base = number(desc, len);
		break;
	case XEN_NOTE_PADDR_OFFSET:
		xen->paddr_offset = number(desc, len);
		break;
	case XEN_NOTE_INIT_P2M:
		xen->init_p2m = number(desc, len);
		if (len == 8)
			xen->spare[1] = vaddr;
		break;
	case XEN_NOTE_GUEST_OS:
		xen->is_linux = len >= 5 && !memcmp(desc, "linux", 5);
		break;
	case XEN_NOTE_PHYS32_ENTRY:
		xen->pvh_entry = number(desc, len);
		break;
	case XEN_NOTE_MOD_START_PFN:
		xen->mod_start_pfn = number(desc, len) != 0;
		break;
	}
}

/* One PT_NOTE segment: {namesz, descsz, type} name desc, each padded to 4. */
static int walk_notes(const uint8_t *p, size_t left, uint64_t vaddr, struct elf_xen *xen,
		      struct err *e)
{
	while (left >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;

		memcpy(&n, p, sizeof(n));
		uint64_t name = sizeof(n), desc = name + ALIGN_UP((uint64_t)n.n_namesz, 4);
		uint64_t end = desc + ALIGN_UP((uint64_t)n.n_descsz, 4);

		if (desc + n.n_descsz > left)
			return err_set(e, -ENOEXEC, "an ELF note is cut at its end");
		if (n.n_namesz == 4 && !memcmp(p + name, "Xen", 4))
			take_note(xen, n.n_type, p + desc, n.n_descsz, vaddr + desc);
		if (end >= left)
			break;
		p += end;
		vaddr += end;
		left -= end;
	}
	return 0;
}

int elf_xen_notes(const uint8_t *file, size_t size, struct elf_xen *xen, struct err *e)
{
	Elf64_Ehdr h;
	int r = read_header(file, size, true, &h, e);

	*xen = (struct elf_xen){ .present = false };
	if (r)
		return r;
	for (unsigned i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr p = program_header(file, &h, i);

		if (p.p_type != PT_NOTE)
			continue;
		if (p.p_offset > size || p.p_filesz > size - p.p_offset)
			return err_set(e, -ENOEXEC,
				       "the notes lie beyond the end of the file (truncated?)");
		r = walk_notes(file + p.p_offset, p.p_filesz, p.p_vaddr, xen, e);

		if (r)
			return r;
	}
	return 0;
}
