/* Boot loaders: what a kernel is told, and images that are refused. */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../test.h"
#include "base/util.h"
#include "machine/acpi.h"
#include "machine/boot_int.h"
#include "wire/multiboot.h"
#include "wire/pvh.h"

enum { MB = 1 << 20, FILE_SIZE = 4096, DATA = 2048, NOTES = 1024 };

/* One segment at 1 MB with "code"; a note segment that is empty. */
struct kernel64 {
	Elf64_Ehdr h;
	Elf64_Phdr load, note;
};

static uint8_t file[FILE_SIZE];
static struct memory mem;
static struct err e;

static struct kernel64 *make_elf(void)
{
	struct kernel64 *k = (struct kernel64 *)file;

	memset(file, 0, sizeof(file));
	memcpy(k->h.e_ident, ELFMAG, SELFMAG);
	k->h.e_ident[EI_CLASS] = ELFCLASS64;
	k->h.e_ident[EI_DATA] = ELFDATA2LSB;
	k->h.e_machine = EM_X86_64;
	k->h.e_phoff = sizeof(k->h);
	k->h.e_phentsize = sizeof(Elf64_Phdr);
	k->h.e_phnum = 2;
	k->h.e_entry = 2 * MB + 5;
	k->load = (Elf64_Phdr){ .p_type = PT_LOAD,
				.p_offset = DATA,
				.p_paddr = 2 * MB,
				.p_filesz = 4,
				.p_memsz = 8192 };
	k->note = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = NOTES };
	memcpy(file + DATA, "code", 4);
	return k;
}

static void add_note(struct kernel64 *k, uint32_t type, const void *desc, uint32_t len)
{
	uint8_t *p = file + NOTES + k->note.p_filesz;
	uint32_t head[3] = { 4, len, type };

	memcpy(p, head, sizeof(head));
	memcpy(p + 12, "Xen", 4);
	memcpy(p + 16, desc, len);
	k->note.p_filesz += 16 + ALIGN_UP(len, 4);
}

static struct boot_image image_of(enum boot_protocol protocol)
{
	return (struct boot_image){
		.file = file,
		.size = sizeof(file),
		.fd = -1,
		.initrd = -1,
		.cmdline = "quiet x=1",
		.protocol = protocol,
	};
}

static int with_memory(void **state)
{
	(void)state;
	e = (struct err)ERR_INIT;
	return memory_init(&mem, 8 * MB, false, &e);
}

static int without_memory(void **state)
{
	(void)state;
	memory_fini(&mem);
	return 0;
}

static int initrd_of(const char *text)
{
	int fd = memfd_create("initrd", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void linux_gets_its_parameters(void **state)
{
	struct boot_image image = image_of(BOOT_AUTO);
	struct boot_entry entry;

	(void)state;
	make_elf();
	image.initrd = initrd_of("initramfs");
	image.initrd_size = 9;
	assert_int_equal(boot_load(&mem, &image, &entry, &e), 0);
	assert_true(entry.is_long);
	assert_int_equal(entry.rip, 2 * MB + 5);
	const struct boot_params *bp = memory_at(&mem, GPA(entry.rsi), sizeof(*bp));

	assert_string_equal((char *)mem.base + bp->hdr.cmd_line_ptr, "quiet x=1");
	assert_int_equal(bp->hdr.header, 0x53726448);
	assert_int_equal(bp->acpi_rsdp_addr, ACPI_BASE);
	assert_int_equal(bp->hdr.ramdisk_size, 9);
	assert_memory_equal(mem.base + bp->hdr.ramdisk_image, "initramfs", 9);
	assert_int_equal(bp->e820_entries, 3);
	assert_int_equal(bp->e820_table[2].addr + bp->e820_table[2].size, 8 * MB);
	assert_memory_equal(mem.base + 2 * MB, "code\0", 5);
	close(image.initrd);
}

static void memory_above_the_hole_is_told(void **state)
{
	struct boot_image image = image_of(BOOT_LINUX);
	struct boot_range range[BOOT_RANGES_MAX];
	struct boot_entry entry;

	(void)state;
	make_elf();
	memory_make_hole(&mem, 4 * MB);
	image.initrd = initrd_of("initramfs");
	image.initrd_size = 9;
	assert_int_equal(boot_load(&mem, &image, &entry, &e), 0);
	assert_int_equal(boot_map(&mem, range), 4);
	assert_int_equal(range[2].start + range[2].size, 4 * MB);
	assert_int_equal(range[3].start, MEMORY_HIGH);
	assert_int_equal(range[3].size, 4 * MB);
	/* the initramfs lies below the hole */
	assert_memory_equal(mem.base + 4 * MB - 4096, "initramfs", 9);
	close(image.initrd);
}

static void pvh_by_its_note(void **state)
{
	struct boot_image image = image_of(BOOT_AUTO);
	struct boot_entry entry;
	uint32_t at = 2 * MB + 64;

	(void)state;
	add_note(make_elf(), 18, &at, 4);
	image.initrd = initrd_of("initramfs");
	image.initrd_size = 9;
	assert_int_equal(boot_load(&mem, &image, &entry, &e), 0);
	assert_false(entry.is_long);
	assert_int_equal(entry.rip, at);
	const struct pvh_start_info *info = memory_at(&mem, GPA(entry.rbx), sizeof(*info));

	assert_int_equal(info->magic, 0x336ec578);
	assert_int_equal(info->version, 1);
	assert_int_equal(info->rsdp, ACPI_BASE);
	assert_string_equal((char *)mem.base + info->cmdline, "quiet x=1");
	assert_int_equal(info->modules, 1);
	const struct pvh_module *module = memory_at(&mem, GPA(info->module_list), sizeof(*module));

	assert_int_equal(module->size, 9);
	assert_memory_equal(mem.base + module->start, "initramfs", 9);
	const struct pvh_range *map = memory_at(&mem, GPA(info->map), 3 * sizeof(*map));

	assert_int_equal(info->map_entries, 3);
	assert_int_equal(map[0].type, 1);
	assert_int_equal(map[1].type, 3);
	assert_int_equal(map[2].start + map[2].size, 8 * MB);
	close(image.initrd);
}

/* Linux has both entries; the 64-bit one is shorter. */
static void linux_says_so_in_a_note(void **state)
{
	struct boot_image image = image_of(BOOT_AUTO);
	struct boot_entry entry;
	uint32_t at = 2 * MB + 64;
	struct kernel64 *k = make_elf();

	(void)state;
	add_note(k, 6, "linux", 6);
	add_note(k, 18, &at, 4);
	assert_int_equal(boot_load(&mem, &image, &entry, &e), 0);
	assert_true(entry.is_long);
	image.protocol = BOOT_PVH;
	assert_int_equal(boot_load(&mem, &image, &entry, &e), 0);
	assert_int_equal(entry.rip, at);
	image.protocol = BOOT_MULTIBOOT;
	assert_int_equal(boot_load(&mem, &image, &entry, &e), -ENOEXEC);
	assert_non_null(strstr(e.msg, "multiboot header"));
}

/* An image without ELF header: addresses stand in the Multiboot header. */
static uint32_t *make_multiboot(void)
{
	uint32_t *h = (uint32_t *)(file + 64);

	memset(file, 0, sizeof(file));
	h[0] = MULTIBOOT_MAGIC;
	h[1] = MULTIBOOT_HAS_ADDRESSES;
	h[2] = -(h[0] + h[1]);
	h[3] = 2 * MB + 64; /* header_addr */
	h[4] = 2 * MB;	    /* load_addr */
	h[5] = 2 * MB + 512;
	h[6] = 2 * MB + 4096;
	h[7] = 2 * MB + 100; /* entry_addr */
	return h;
}

static void multiboot_by_addresses(void **state)
{
	struct boot_image image = image_of(BOOT_AUTO);
	struct boot_entry entry;

	(void)state;
	make_multiboot();
	file[511] = 'y';
	file[512] = 'n';
	image.initrd = initrd_of("module");
	image.initrd_size = 6;
	assert_int_equal(boot_load(&mem, &image, &entry, &e), 0);
	assert_false(entry.is_long);
	assert_int_equal(entry.rip, 2 * MB + 100);
	assert_int_equal(entry.rax, MULTIBOOT_LOADER_MAGIC);
	assert_int_equal(mem.base[2 * MB + 511], 'y');
	assert_int_equal(mem.base[2 * MB + 512], 0);
	const struct multiboot_info *info = memory_at(&mem, GPA(entry.rbx), sizeof(*info));

	assert_int_equal(info->mem_upper, 7 * 1024);
	assert_string_equal((char *)mem.base + info->cmdline, "quiet x=1");
	assert_string_equal((char *)mem.base + info->loader_name, "warren");
	assert_int_equal(info->map_length, 3 * 24);
	const struct multiboot_module *module = memory_at(&mem, GPA(info->module_list),
							  sizeof(*module));

	assert_int_equal(module->end - module->start, 6);
	assert_memory_equal(mem.base + module->start, "module", 6);
	close(image.initrd);
}

static const struct {
	const char *what;
	unsigned word; /* of the header */
	uint32_t value;
	int want;
	const char *text;
} bad_multiboot[] = {
	{ "load address behind the header", 4, 3 * MB, -ENOEXEC, "load_addr" },
	{ "begins before the file", 4, MB, -ENOEXEC, "load_addr" },
	{ "ends beyond the file", 5, 2 * MB + 8192, -ENOEXEC, "load_end_addr" },
	{ "ends before it begins", 5, MB, -ENOEXEC, "load_end_addr" },
	{ "bss inside the data", 6, 2 * MB + 1, -ENOEXEC, "bss_end_addr" },
	{ "bss beyond memory", 6, 64 * MB, -ENOMEM, "the guest has 8" },
	{ "video", 1, MULTIBOOT_HAS_ADDRESSES | MULTIBOOT_WANTS_VIDEO, -ENOTSUP, "video" },
	{ "unknown flag", 1, MULTIBOOT_HAS_ADDRESSES | 1 << 9, -ENOTSUP, "flags" },
	{ "bad sum", 2, 1, -ENOEXEC, "no multiboot header" },
	{ "no magic", 0, 1, -ENOEXEC, "no multiboot header" },
};

static void hostile_multiboot_headers(void **state)
{
	struct boot_entry entry;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_multiboot); i++) {
		struct boot_image image = image_of(BOOT_MULTIBOOT);
		uint32_t *h = make_multiboot();

		h[bad_multiboot[i].word] = bad_multiboot[i].value;
		if (bad_multiboot[i].word == 1)
			h[2] = -(h[0] + h[1]);
		err_clear(&e);
		if (boot_load(&mem, &image, &entry, &e) != bad_multiboot[i].want ||
		    !strstr(e.msg, bad_multiboot[i].text))
			fail_msg("%s: %s", bad_multiboot[i].what, e.msg);
	}
}

static void what_does_not_fit_is_named(void **state)
{
	struct boot_image image = image_of(BOOT_AUTO);
	struct boot_entry entry;
	struct kernel64 *k = make_elf();
	static char line[3000];

	(void)state;
	k->load.p_paddr = 4096;
	assert_int_equal(boot_load(&mem, &image, &entry, &e), -ENOEXEC);
	k->load.p_paddr = 8 * MB;
	err_clear(&e);
	assert_int_equal(boot_load(&mem, &image, &entry, &e), -ENOMEM);
	k->load.p_paddr = 2 * MB;
	k->h.e_machine = EM_AARCH64;
	err_clear(&e);
	assert_int_equal(boot_load(&mem, &image, &entry, &e), -ENOEXEC);
	assert_non_null(strstr(e.msg, "not a 64-bit x86 kernel (ELF machine 183)"));
	k->h.e_machine = EM_X86_64;
	image.initrd = initrd_of("x");
	image.initrd_size = 7 * MB;
	err_clear(&e);
	assert_int_equal(boot_load(&mem, &image, &entry, &e), -ENOMEM);
	assert_non_null(strstr(e.msg, "initramfs"));
	image.initrd_size = 2; /* longer than the file */
	err_clear(&e);
	assert_int_equal(boot_load(&mem, &image, &entry, &e), -EIO);
	close(image.initrd);
	image.initrd = -1;
	memset(line, 'a', sizeof(line) - 1);
	image.cmdline = line;
	err_clear(&e);
	assert_int_equal(boot_load(&mem, &image, &entry, &e), -E2BIG);
	/* a note that is cut */
	add_note(k, 18, "abcd", 4);
	k->note.p_filesz -= 2;
	image.cmdline = "";
	image.protocol = BOOT_PVH;
	err_clear(&e);
	assert_int_equal(boot_load(&mem, &image, &entry, &e), -ENOEXEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(linux_gets_its_parameters, with_memory,
						without_memory),
		cmocka_unit_test_setup_teardown(memory_above_the_hole_is_told, with_memory,
						without_memory),
		cmocka_unit_test_setup_teardown(pvh_by_its_note, with_memory, without_memory),
		cmocka_unit_test_setup_teardown(linux_says_so_in_a_note, with_memory,
						without_memory),
		cmocka_unit_test_setup_teardown(multiboot_by_addresses, with_memory,
						without_memory),
		cmocka_unit_test_setup_teardown(hostile_multiboot_headers, with_memory,
						without_memory),
		cmocka_unit_test_setup_teardown(what_does_not_fit_is_named, with_memory,
						without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
