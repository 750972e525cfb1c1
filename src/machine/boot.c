/*
 * Boot loaders: what they have in common, and which one a kernel wants.
 *
 * Segments go where the ELF header wants them, the initramfs to the top of memory below the hole, a page at
 * BOOT_INFO tells where everything is: memory map, command line, initramfs, ACPI.
 *
 *	0x00500	GDT			0x07000 what the protocol tells
 *	0x09000	page tables		0x20000 command line
 *	0xe0000	ACPI tables		1 MB	kernel ... top: initramfs
 *
 * A Linux kernel is entered in 64-bit mode, since that is its shortest way; another ELF file by PVH when it has
 * that note; anything with a Multiboot header near its start by that.
 *
 * Trust: the kernel and initramfs are the user's; every range goes through the door of guest memory.
 * Threads: before vCPUs run. #syscalls: pread64
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "machine/acpi.h"
#include "machine/boot_int.h"
#include "wire/bzimage.h"
#include "wire/multiboot.h"

static const char *const names[] = {
	[BOOT_AUTO] = "auto",
	[BOOT_LINUX] = "linux",
	[BOOT_PVH] = "pvh",
	[BOOT_MULTIBOOT] = "multiboot",
};

int boot_protocol_parse(const char *name, enum boot_protocol *protocol)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (streq(name, names[i])) {
			*protocol = (enum boot_protocol)i;
			return 0;
		}
	}
	return -EINVAL;
}

unsigned boot_map(const struct memory *m, struct boot_range range[BOOT_RANGES_MAX])
{
	unsigned n = 0;

	range[n++] = (struct boot_range){ 0, BOOT_LOW_END, BOOT_RAM };
	range[n++] = (struct boot_range){ ACPI_BASE, ACPI_SIZE, BOOT_ACPI };
	if (m->low > BOOT_HIGH_START)
		range[n++] = (struct boot_range){ BOOT_HIGH_START, m->low - BOOT_HIGH_START,
						  BOOT_RAM };
	if (m->size > m->low)
		range[n++] = (struct boot_range){ MEMORY_HIGH, m->size - m->low, BOOT_RAM };
	return n;
}

static int read_at(int fd, uint8_t *to, uint64_t from, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t n = pread(fd, to + done, len - done, (off_t)(from + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (uint64_t)n;
	}
	return 0;
}

int boot_segments(const struct memory *m, const struct boot_image *image,
		  const struct elf_image *elf, struct err *e)
{
	for (unsigned i = 0; i < elf->segments; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (s->paddr < BOOT_HIGH_START)
			return err_set(e, -ENOEXEC, "kernel: a segment at 0x%llx, below 1 MB",
				       (unsigned long long)s->paddr);
		uint8_t *to = memory_at(m, GPA(s->paddr), s->mem_size);

		if (!to)
			return err_set(e, -ENOMEM,
				       "kernel: needs %llu MB of memory, the guest has %llu",
				       (unsigned long long)((elf->paddr_end >> 20) + 1),
				       (unsigned long long)(m->size >> 20));
		/* Fresh memory is zero already; only the file's bytes are touched. */
		int r = image->fd < 0 ? 0 : read_at(image->fd, to, s->offset, s->file_size);

		if (r)
			return err_sys(e, r, "kernel: cannot be read");
		if (image->fd < 0)
			memcpy(to, image->file + s->offset, s->file_size);
	}
	return 0;
}

int boot_initrd(const struct memory *m, const struct boot_image *image, uint64_t kernel_end,
		uint64_t *at, struct err *e)
{
	uint64_t size = image->initrd_size;

	*at = 0;
	if (image->initrd < 0 || !size)
		return 0;
	if (size >= m->low || ((m->low - size) & ~4095ull) < kernel_end)
		return err_set(
			e, -ENOMEM,
			"initramfs: %llu MB do not fit beside the kernel in %llu MB of memory",
			(unsigned long long)(size >> 20), (unsigned long long)(m->size >> 20));
	*at = (m->low - size) & ~4095ull;
	int r = read_at(image->initrd, memory_at(m, GPA(*at), size), 0, size);

	return r ? err_sys(e, r, "initramfs: cannot be read") : 0;
}

int boot_cmdline(const struct memory *m, const struct boot_image *image, struct err *e)
{
	size_t len = strlen(image->cmdline) + 1;

	if (len > BOOT_CMDLINE_MAX)
		return err_set(e, -E2BIG, "kernel command line: %zu bytes, at most %d", len - 1,
			       BOOT_CMDLINE_MAX - 1);
	if (memory_write(m, GPA(BOOT_CMDLINE), image->cmdline, len))
		return err_set(e, -ENOMEM, "guest memory is smaller than 1 MB");
	return 0;
}

static enum boot_protocol choose(const struct boot_image *image)
{
	struct multiboot_header header;
	struct elf_xen notes;

	if (elf_xen_notes(image->file, image->size, &notes, NULL) == 0) {
		if (notes.is_linux)
			return BOOT_LINUX;
		if (notes.pvh_entry)
			return BOOT_PVH;
	}
	return multiboot_find(image->file, image->size, &header) ? BOOT_MULTIBOOT : BOOT_LINUX;
}

int boot_load(const struct memory *m, const struct boot_image *image, struct boot_entry *entry,
	      struct err *e)
{
	static int (*const loaders[])(const struct memory *, const struct boot_image *,
				      struct boot_entry *, struct err *) = {
		[BOOT_LINUX] = boot_linux,
		[BOOT_PVH] = boot_pvh,
		[BOOT_MULTIBOOT] = boot_multiboot,
	};

	if (bzimage_detect(image->file, image->size))
		return err_set(e, -ENOEXEC,
			       "kernel: a compressed bzImage. Fix: warren kernel import FILE");
	enum boot_protocol protocol = image->protocol ? image->protocol : choose(image);
	int r = loaders[protocol](m, image, entry, e);

	return r ? r : boot_cmdline(m, image, e);
}
