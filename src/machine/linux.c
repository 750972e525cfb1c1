/*
 * The Linux boot loader.
 *
 * The kernel's segments go where its ELF header wants them, the initramfs to the top of memory, and a page of
 * boot parameters tells where everything is: memory map, command line, initramfs, ACPI. The processor then
 * starts at the kernel's 64-bit entry with RSI at that page (machine/x86.c makes the long mode it expects).
 *
 *	0x00500	GDT			0x07000 boot parameters
 *	0x09000	page tables		0x20000 command line
 *	0xe0000	ACPI tables		1 MB	kernel ... top: initramfs
 *
 * Trust: the kernel and initramfs are the user's; every range goes through the door of guest memory.
 * Threads: before vCPUs run. #syscalls: pread64
 */
#include "machine/linux.h"

#include <asm/bootparam.h>
#include <asm/e820.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "machine/acpi.h"
#include "wire/elf.h"

enum {
	BOOT_PARAMS = 0x7000,
	CMDLINE = 0x20000,
	CMDLINE_MAX = 2048, /* COMMAND_LINE_SIZE of x86, with the NUL */
	LOW_END = 0x9fc00,
	HIGH_START = 0x100000,
};

static int load_segments(const struct memory *m, const struct linux_image *image,
			 const struct elf_image *elf, struct err *e)
{
	for (unsigned i = 0; i < elf->segments; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (s->paddr < HIGH_START)
			return err_set(e, -ENOEXEC, "kernel: a segment at 0x%llx, below 1 MB",
				       (unsigned long long)s->paddr);
		uint8_t *to = memory_at(m, GPA(s->paddr), s->mem_size);

		if (!to)
			return err_set(e, -ENOMEM,
				       "kernel: needs %llu MB of memory, the guest has %llu",
				       (unsigned long long)((elf->paddr_end >> 20) + 1),
				       (unsigned long long)(m->size >> 20));
		/* Fresh memory is zero already; only the file's bytes are touched. */
		memcpy(to, image->vmlinux + s->offset, s->file_size);
	}
	return 0;
}

static int read_at(int fd, uint8_t *to, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t n = pread(fd, to + done, len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (uint64_t)n;
	}
	return 0;
}

static int load_initrd(const struct memory *m, const struct linux_image *image, uint64_t kernel_end,
		       struct boot_params *bp, struct err *e)
{
	uint64_t size = image->initrd_size;

	if (image->initrd < 0 || !size)
		return 0;
	if (size >= m->size || ((m->size - size) & ~4095ull) < kernel_end)
		return err_set(
			e, -ENOMEM,
			"initramfs: %llu MB do not fit beside the kernel in %llu MB of memory",
			(unsigned long long)(size >> 20), (unsigned long long)(m->size >> 20));
	uint64_t at = (m->size - size) & ~4095ull;
	int r = read_at(image->initrd, memory_at(m, GPA(at), size), size);

	if (r)
		return err_sys(e, r, "initramfs: cannot be read");
	bp->hdr.ramdisk_image = (uint32_t)at;
	bp->ext_ramdisk_image = (uint32_t)(at >> 32);
	bp->hdr.ramdisk_size = (uint32_t)size;
	bp->ext_ramdisk_size = (uint32_t)(size >> 32);
	return 0;
}

static void add_range(struct boot_params *bp, uint64_t start, uint64_t end, uint32_t type)
{
	if (end > start)
		bp->e820_table[bp->e820_entries++] = (struct boot_e820_entry){ start, end - start,
									       type };
}

int linux_load(const struct memory *m, const struct linux_image *image, struct linux_entry *entry,
	       struct err *e)
{
	struct elf_image elf;
	struct boot_params bp = { 0 };
	size_t cmdline_len = strlen(image->cmdline) + 1;
	int r = elf_parse(image->vmlinux, image->vmlinux_size, &elf, e);

	if (r)
		return err_wrap(e, "kernel");
	if (cmdline_len > CMDLINE_MAX)
		return err_set(e, -E2BIG, "kernel command line: %zu bytes, at most %d",
			       cmdline_len - 1, CMDLINE_MAX - 1);
	r = load_segments(m, image, &elf, e);
	if (r)
		return r;
	bp.hdr.type_of_loader = 0xff;
	bp.hdr.boot_flag = 0xaa55;
	bp.hdr.header = 0x53726448; /* "HdrS" */
	bp.hdr.kernel_alignment = 0x1000000;
	bp.hdr.cmd_line_ptr = CMDLINE;
	bp.hdr.cmdline_size = (uint32_t)cmdline_len - 1;
	bp.acpi_rsdp_addr = ACPI_BASE;
	r = load_initrd(m, image, elf.paddr_end, &bp, e);
	if (r)
		return r;
	add_range(&bp, 0, LOW_END, E820_RAM);
	add_range(&bp, ACPI_BASE, ACPI_BASE + ACPI_SIZE, E820_ACPI);
	add_range(&bp, HIGH_START, m->size, E820_RAM);
	if (memory_write(m, GPA(CMDLINE), image->cmdline, cmdline_len) ||
	    memory_write(m, GPA(BOOT_PARAMS), &bp, sizeof(bp)))
		return err_set(e, -ENOMEM, "guest memory is smaller than 1 MB");
	*entry = (struct linux_entry){ .rip = elf.entry, .rsi = BOOT_PARAMS };
	return 0;
}
