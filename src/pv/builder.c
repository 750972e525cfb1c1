/*
 * The domain builder: from a vmlinux to a guest that can take its first step.
 *
 * Tour stop 1: what a PV kernel finds when it begins. No BIOS and no real mode: it starts in 64-bit code at the
 * entry its ELF notes name, with rsi at a start_info page, on page tables that we made. In guest-physical order:
 *
 *   the kernel's segments | start_info | xenstore page | console page | page tables | room | p2m | initrd
 *
 * The first part, up to the room of at least 512 KB, is mapped at the kernel's virtual base. The p2m (pfn to mfn;
 * ours is the identity) is mapped where the kernel's notes ask, the initrd not at all.
 *
 * Trust: the kernel and the initrd are the image's bytes. Segments go through the checked door of guest memory
 * and may not touch each other's tables, since those come after the last one. Threads: the builder's.
 * #syscalls(start): mmap munmap fstat
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "pv/domain.h"
#include "wire/elf.h"

#define BOOT_ROOM   (512u << 10)
#define BOOT_ALIGN  (4ull << 20)
#define ENTRY_FLAGS 0x67ull	   /* present, writable, user, accessed, dirty */
#define PADDR_MAX   (512ull << 20) /* what the kernel's own mapping can reach */
#define VMLINUX_MAX (1ull << 30)

struct file_view {
	const uint8_t *data;
	size_t size;
};

static void unmap(struct file_view *f)
{
	if (f->data)
		munmap((void *)(uintptr_t)f->data, f->size);
}

static int map_file(int fd, const char *what, uint64_t max, struct file_view *f, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", what);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s is not a regular file", what);
	if (st.st_size <= 0 || (uint64_t)st.st_size > max)
		return err_set(e, -ENOEXEC, "%s: a size of %lld bytes makes no sense", what,
			       (long long)st.st_size);
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

	if (p == MAP_FAILED)
		return err_sys(e, -errno, "%s: cannot be mapped", what);
	f->data = p;
	f->size = (size_t)st.st_size;
	return 0;
}

static int load_at(struct pv_domain *d, int fd, const char *what, uint64_t offset, uint64_t gpa,
		   uint64_t n, struct err *e)
{
	if (gpa > d->ram || n > d->ram - gpa)
		return err_set(e, -ENOMEM, "%s does not fit into %llu MB of memory", what,
			       (unsigned long long)(d->ram >> 20));
	int r = memory_load(&d->mem, GPA(gpa), fd, offset, n);

	return r ? err_sys(e, r, "read %s", what) : 0;
}

static int check_kernel(const struct elf_image *image, const struct elf_xen *xen, struct err *e)
{
	if (!xen->present || !xen->entry)
		return err_set(e, -ENOEXEC,
			       "the kernel has no Xen PV entry (CONFIG_XEN_PV): use a kernel that "
			       "has, such "
			       "as Debian's");
	if (xen->paddr_offset)
		return err_set(e, -ENOEXEC, "the kernel's note PADDR_OFFSET is not 0");
	if (image->paddr_end > PADDR_MAX || image->paddr_start < PAGE)
		return err_set(e, -ENOEXEC, "the kernel wants to lie at 0x%llx..0x%llx",
			       (unsigned long long)image->paddr_start,
			       (unsigned long long)image->paddr_end);
	return 0;
}

static int load_kernel(struct pv_domain *d, const struct elf_image *image, struct err *e)
{
	for (unsigned i = 0; i < image->segments; i++) {
		const struct elf_segment *s = &image->segment[i];
		int r = load_at(d, d->config.kernel, "the kernel", s->offset, s->paddr,
				s->file_size, e);

		if (r)
			return r;
		if (s->paddr + s->mem_size > d->ram)
			return err_set(e, -ENOMEM, "the kernel does not fit into %llu MB of memory",
				       (unsigned long long)(d->ram >> 20));
	}
	return 0;
}

/* Kernels before inline hypercalls: a page of 32-byte stubs, one a number. */
static int fill_hypercall_page(struct pv_domain *d, const struct elf_xen *xen, struct err *e)
{
	static const uint8_t call[] = { 0x51, 0x41, 0x53, 0xb8, 0,    0,    0,
					0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3 };
	static const uint8_t iret[] = {
		0x51, 0x41, 0x53, 0x50, 0xb8, XEN_IRET, 0, 0, 0, 0x0f, 0x05
	};

	if (!xen->hypercall_page)
		return 0;
	uint8_t *page = memory_at(&d->mem, GPA(xen->hypercall_page - xen->virt_base), PAGE);

	if (!page || xen->hypercall_page < xen->virt_base ||
	    xen->hypercall_page - xen->virt_base >= d->ram - PAGE)
		return err_set(e, -ENOEXEC, "the kernel's hypercall page lies outside its memory");
	for (unsigned i = 0; i < PAGE / 32; i++) {
		uint8_t *slot = page + i * 32;

		memcpy(slot, call, sizeof(call));
		slot[4] = (uint8_t)i;
		if (i == XEN_IRET)
			memcpy(slot, iret, sizeof(iret));
	}
	return 0;
}

struct layout {
	uint64_t start_info, store, console, tables, tables_end;
	uint64_t mapped_end; /* guest-physical; [0, this) is at the virtual base */
	uint64_t p2m, p2m_size;
	uint64_t initrd, initrd_size, end;
};

static void plan(struct pv_domain *d, const struct elf_image *image, uint64_t initrd_size,
		 struct layout *l)
{
	uint64_t at = ALIGN_UP(image->paddr_end, (uint64_t)PAGE);

	l->start_info = at;
	l->store = at + PAGE;
	l->console = at + 2 * PAGE;
	l->tables = at + 3 * PAGE;
	l->p2m_size = ALIGN_UP(d->ram / PAGE * 8, (uint64_t)PAGE);
	/* One table maps 2 MB: the kernel's part, the p2m, and a few upper levels for each. */
	uint64_t tables = (l->tables + BOOT_ALIGN + BOOT_ROOM) / PAGE_2M + l->p2m_size / PAGE_2M +
			  16;

	l->tables_end = l->tables + tables * PAGE;
	l->mapped_end = ALIGN_UP(l->tables_end + BOOT_ROOM, BOOT_ALIGN);
	l->p2m = l->mapped_end;
	l->initrd = l->p2m + l->p2m_size;
	l->initrd_size = initrd_size;
	l->end = l->initrd + ALIGN_UP(initrd_size, (uint64_t)PAGE);
}

/* L4 first; everything that the kernel walks lies in [tables, tables_end). */
static int make_tables(struct pv_domain *d, const struct elf_xen *xen, const struct layout *l,
		       uint64_t *used, struct err *e)
{
	uint64_t next = l->tables + PAGE;
	int r = 0;

	for (uint64_t a = 0; a < l->mapped_end && !r; a += PAGE)
		r = pv_map(d, l->tables, xen->virt_base + a, a | ENTRY_FLAGS, &next, l->tables_end);
	for (uint64_t a = 0; a < l->p2m_size && !r && xen->init_p2m; a += PAGE)
		r = pv_map(d, l->tables, xen->init_p2m + a, (l->p2m + a) | ENTRY_FLAGS, &next,
			   l->tables_end);
	if (r)
		return err_set(e, r, "the guest's first page tables do not fit");
	uint64_t *l4 = memory_at(&d->mem, GPA(l->tables), PAGE);

	l4[PV_SLOT_HV] = d->shared->l4_kernel;
	l4[PV_SLOT_LINEAR] = d->shared->l4_linear;
	l4[PV_SLOT_M2P] = d->shared->l4_m2p;
	*used = (next - l->tables) / PAGE;
	return 0;
}

static int write_start_info(struct pv_domain *d, const struct elf_xen *xen, const struct layout *l,
			    uint64_t tables, struct err *e)
{
	struct xen_start_info *s = memory_at(&d->mem, GPA(l->start_info), PAGE);
	uint64_t *p2m = memory_at(&d->mem, GPA(l->p2m), l->p2m_size);

	if (!s || !p2m)
		return err_set(e, -ENOMEM, "the guest's start record does not fit");
	memset(s, 0, PAGE);
	memcpy(s->magic, "xen-3.0-x86_64", 14);
	s->nr_pages = d->ram / PAGE;
	s->shared_info = d->ram + HV_SHARED_INFO;
	s->flags = XEN_SIF_MOD_START_PFN | XEN_SIF_VIRT_P2M_4TOOLS;
	s->store_mfn = l->store / PAGE;
	s->store_evtchn = PV_PORT_STORE;
	s->console_mfn = l->console / PAGE;
	s->console_evtchn = PV_PORT_CONSOLE;
	s->pt_base = xen->virt_base + l->tables;
	s->nr_pt_frames = tables;
	s->mfn_list = xen->init_p2m ? xen->init_p2m : xen->virt_base + l->p2m;
	s->first_p2m_pfn = l->p2m / PAGE;
	s->nr_p2m_frames = l->p2m_size / PAGE;
	if (l->initrd_size) {
		s->mod_start = l->initrd / PAGE;
		s->mod_len = l->initrd_size;
	}
	if (strlen(d->config.cmdline) >= sizeof(s->cmd_line))
		return err_set(e, -E2BIG, "the kernel's command line is longer than %zu bytes",
			       sizeof(s->cmd_line) - 1);
	memcpy(s->cmd_line, d->config.cmdline, strlen(d->config.cmdline));
	for (uint64_t i = 0; i < d->ram / PAGE; i++)
		p2m[i] = i;
	return 0;
}

static int initrd_size(int fd, uint64_t *size, struct err *e)
{
	struct stat st;

	*size = 0;
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "the initramfs");
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return err_set(e, -EINVAL, "the initramfs is not a regular file with content");
	*size = (uint64_t)st.st_size;
	return 0;
}

int pv_build(struct pv_domain *d, uint64_t *cr3, struct err *e)
{
	cleanup_with(unmap) struct file_view file = { NULL, 0 };
	struct elf_image image;
	struct elf_xen xen;
	struct layout l;
	uint64_t module = 0, tables = 0;
	int r = map_file(d->config.kernel, "the kernel", VMLINUX_MAX, &file, e);

	if (!r)
		r = elf_parse(file.data, file.size, &image, e);
	if (!r)
		r = elf_xen_notes(file.data, file.size, &xen, e);
	if (!r)
		r = check_kernel(&image, &xen, e);
	if (!r)
		r = initrd_size(d->config.initrd, &module, e);
	if (r)
		return r;
	plan(d, &image, module, &l);
	if (module > d->ram || l.end + BOOT_ALIGN > d->ram)
		return err_set(
			e, -ENOMEM,
			"%llu MB of memory are too little for this kernel and initramfs: at least "
			"%llu MB",
			(unsigned long long)(d->ram >> 20),
			(unsigned long long)((l.end >> 20) + 16));
	r = load_kernel(d, &image, e);
	if (!r)
		r = fill_hypercall_page(d, &xen, e);
	if (!r && module)
		r = load_at(d, d->config.initrd, "the initramfs", 0, l.initrd, module, e);
	if (!r)
		r = make_tables(d, &xen, &l, &tables, e);
	if (!r)
		r = write_start_info(d, &xen, &l, tables, e);
	if (r)
		return r;
	if (!d->config.no_patches)
		pv_patch_kernel(d, &xen);
	d->console_ring = GPA(l.console);
	d->store_ring = GPA(l.store);
	d->shared->entry = xen.entry;
	d->shared->start_info = xen.virt_base + l.start_info;
	*cr3 = l.tables;
	return 0;
}
