/* What a kernel import parses: ar members, bzImages, modules; and what it writes: cpio, the info file. */
#include "../test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "wire/ar.h"
#include "wire/bzimage.h"
#include "wire/cpio.h"
#include "wire/kernelinfo.h"
#include "wire/modinfo.h"

#define GOOD_AR "data.tar.xz     0           0     0     100644  1234      `\n"

static const struct {
	size_t at;
	char byte;
} bad_ar[] = { { 58, 'x' }, { 59, 'x' }, { 48, ' ' }, { 48, '-' }, { 50, 'x' }, { 3, '\0' } };

static void test_ar(void **state)
{
	struct ar_member m;
	uint8_t h[AR_HEADER];

	memcpy(h, GOOD_AR, AR_HEADER);
	assert_int_equal(ar_member_parse(h, &m), 0);
	assert_string_equal(m.name, "data.tar.xz");
	assert_int_equal(m.size, 1234);
	h[11] = '/'; /* GNU ar's end of a name */
	assert_int_equal(ar_member_parse(h, &m), 0);
	assert_string_equal(m.name, "data.tar.xz");
	for (size_t i = 0; i < ARRAY_SIZE(bad_ar); i++) {
		memcpy(h, GOOD_AR, AR_HEADER);
		h[bad_ar[i].at] = (uint8_t)bad_ar[i].byte;
		assert_int_equal(ar_member_parse(h, &m), -EBADMSG);
	}
	memset(h, ' ', 16);
	assert_int_equal(ar_member_parse(h, &m), -EBADMSG);
}

static void put(uint8_t *p, size_t at, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[at + i] = (uint8_t)(v >> (8 * i));
}

enum { FILE_SIZE = 100000 };

static void good_bzimage(uint8_t p[BZIMAGE_HEAD])
{
	memset(p, 0, BZIMAGE_HEAD);
	p[0x1f1] = 2;
	put(p, 0x1fe, 0xaa55, 2);
	memcpy(p + 0x202, "HdrS", 4);
	put(p, 0x206, 0x20f, 2);
	put(p, 0x20e, 0x100, 2);
	p[0x211] = 1;
	put(p, 0x236, 1, 2);
	put(p, 0x248, 0x10, 4);
	put(p, 0x24c, 5000, 4);
	memcpy(p + 0x300, "6.1.0-x (me)", 13);
}

static const struct {
	const char *what;
	size_t at;
	uint64_t value;
	size_t n;
	int want;
} bad_bz[] = {
	{ "boot flag", 0x1fe, 0, 2, -EBADMSG },
	{ "magic", 0x202, 0, 4, -EBADMSG },
	{ "old protocol", 0x206, 0x209, 2, -ENOTSUP },
	{ "zImage", 0x211, 0, 1, -ENOTSUP },
	{ "payload too long", 0x24c, FILE_SIZE, 4, -EBADMSG },
	{ "payload beyond the end", 0x248, FILE_SIZE, 4, -EBADMSG },
	{ "payload far away", 0x248, 0xffffffff, 4, -EBADMSG },
	{ "no payload", 0x24c, 0, 4, -EBADMSG },
};

static void test_bzimage(void **state)
{
	uint8_t p[BZIMAGE_HEAD];
	struct bzimage bz;

	good_bzimage(p);
	assert_true(bzimage_detect(p, sizeof(p)));
	assert_int_equal(bzimage_parse(p, sizeof(p), FILE_SIZE, &bz, NULL), 0);
	assert_int_equal(bz.payload_offset, 3 * 512 + 0x10);
	assert_int_equal(bz.payload_size, 5000);
	assert_string_equal(bz.version, "6.1.0-x (me)");
	assert_true(bz.is_64bit);
	put(p, 0x20e, 0xffff, 2); /* a version outside is no version */
	assert_int_equal(bzimage_parse(p, sizeof(p), FILE_SIZE, &bz, NULL), 0);
	assert_string_equal(bz.version, "");
	assert_int_equal(bzimage_parse(p, 0x260, FILE_SIZE, &bz, NULL), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(bad_bz); i++) {
		struct err e = ERR_INIT;

		good_bzimage(p);
		put(p, bad_bz[i].at, bad_bz[i].value, bad_bz[i].n);
		if (bzimage_parse(p, sizeof(p), FILE_SIZE, &bz, &e) != bad_bz[i].want || !e.msg[0])
			fail_msg("%s", bad_bz[i].what);
	}
}

static const char info[] = "license=GPL\0depends=crc-32,b\0name=xen-net\0vermagic=6.1 SMP\0junk";
static const char names[] = "\0.modinfo\0.shstrtab";
enum {
	INFO_AT = 64,
	NAMES_AT = INFO_AT + sizeof(info),
	TABLE_AT = NAMES_AT + sizeof(names),
	MODULE = TABLE_AT + 192
};

static void good_module(uint8_t p[MODULE])
{
	memset(p, 0, MODULE);
	memcpy(p, "\177ELF\2\1\1", 7);
	put(p, 16, 1, 2);
	put(p, 18, 62, 2);
	put(p, 40, TABLE_AT, 8);
	put(p, 58, 64, 2);
	put(p, 60, 3, 2);
	put(p, 62, 2, 2);
	memcpy(p + INFO_AT, info, sizeof(info));
	memcpy(p + NAMES_AT, names, sizeof(names));
	put(p, TABLE_AT + 64, 1, 4);
	put(p, TABLE_AT + 64 + 4, 1, 4);
	put(p, TABLE_AT + 64 + 24, INFO_AT, 8);
	put(p, TABLE_AT + 64 + 32, sizeof(info), 8);
	put(p, TABLE_AT + 128, 10, 4);
	put(p, TABLE_AT + 128 + 4, 3, 4);
	put(p, TABLE_AT + 128 + 24, NAMES_AT, 8);
	put(p, TABLE_AT + 128 + 32, sizeof(names), 8);
}

static const struct {
	const char *what;
	size_t at;
	uint64_t value;
	size_t n;
} bad_module[] = {
	{ "magic", 0, 0, 1 },
	{ "32 bits", 4, 1, 1 },
	{ "machine", 18, 40, 2 },
	{ "executable", 16, 2, 2 },
	{ "section size", 58, 40, 2 },
	{ "table beyond the end", 40, MODULE, 8 },
	{ "table wraps", 40, UINT64_MAX - 100, 8 },
	{ "too many sections", 60, 0xffff, 2 },
	{ "names' index", 62, 3, 2 },
	{ "names outside", TABLE_AT + 128 + 24, MODULE, 8 },
	{ "names wrap", TABLE_AT + 128 + 32, UINT64_MAX, 8 },
	{ "info outside", TABLE_AT + 64 + 24, MODULE, 8 },
	{ "info wraps", TABLE_AT + 64 + 32, UINT64_MAX - INFO_AT, 8 },
	{ "no file bytes", TABLE_AT + 64 + 4, 8, 4 },
	{ "name of the section outside", TABLE_AT + 64, 0xffffff, 4 },
};

static void test_module(void **state)
{
	uint8_t p[MODULE];
	struct modinfo m;

	good_module(p);
	assert_int_equal(modinfo_parse(p, sizeof(p), &m, NULL), 0);
	assert_string_equal(m.name, "xen_net");
	assert_string_equal(m.depends, "crc_32,b");
	assert_string_equal(m.vermagic, "6.1 SMP");
	for (size_t i = 0; i < ARRAY_SIZE(bad_module); i++) {
		struct err e = ERR_INIT;

		good_module(p);
		put(p, bad_module[i].at, bad_module[i].value, bad_module[i].n);
		if (modinfo_parse(p, sizeof(p), &m, &e) != -EBADMSG || !e.msg[0])
			fail_msg("%s", bad_module[i].what);
	}
	good_module(p);
	for (size_t n = 0; n < MODULE; n++)
		assert_int_equal(modinfo_parse(p, n, &m, NULL), -EBADMSG);
}

static void test_cpio(void **state)
{
	struct buf b = BUF_INIT(1 << 16);
	unsigned mode, size, name;

	assert_int_equal(
		cpio_add(&b, 1, &(struct cpio_entry){ .path = "dir", .mode = S_IFDIR | 0755 }), 0);
	size_t second = b.len;

	assert_int_equal(second % 4, 0);
	cpio_add(&b, 2,
		 &(struct cpio_entry){
			 .path = "dir/f", .mode = S_IFREG | 0644, .data = "12345", .size = 5 });
	assert_int_equal(cpio_end(&b), 0);
	assert_int_equal(b.len % 512, 0);
	assert_int_equal(sscanf(b.data + second,
				"070701%*8x%8x%*8x%*8x%*8x%*8x%8x%*8x%*8x%*8x%*8x%8x", &mode, &size,
				&name),
			 3);
	assert_int_equal(mode, S_IFREG | 0644);
	assert_int_equal(size, 5);
	assert_int_equal(name, 6);
	assert_string_equal(b.data + second + 110, "dir/f");
	assert_memory_equal(b.data + second + 116, "12345\0\0\0", 8);
	assert_memory_equal(b.data + second + 124, "070701", 6);
	buf_fini(&b);
}

#define LONG_NAME "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const char *const bad_info[] = {
	"",
	"warren-kernel 2\nrelease x\n",
	"release x\n",
	"warren-kernel 1\n",
	"warren-kernel 1\nrelease x\npv " LONG_NAME "\n",
};

static void test_info(void **state)
{
	struct kernelinfo k = { .release = "6.1",
				.source = "a b.deb",
				.xen_pv = true,
				.wishes = 0x12ab },
			  back;
	struct buf b = BUF_INIT(4096);

	strlist_add(&k.pv, "one");
	strlist_add(&k.pv, "two");
	assert_int_equal(kernelinfo_print(&b, &k), 0);
	assert_int_equal(kernelinfo_parse(buf_str(&b), &back, NULL), 0);
	assert_string_equal(back.release, "6.1");
	assert_string_equal(back.source, "a b.deb");
	assert_true(back.xen_pv);
	assert_int_equal(back.wishes, 0x12ab);
	assert_int_equal(back.pv.n, 2);
	assert_string_equal(back.pv.v[1], "two");
	assert_int_equal(back.vm.n, 0);
	kernelinfo_fini(&back);
	kernelinfo_fini(&k);
	for (size_t i = 0; i < ARRAY_SIZE(bad_info); i++)
		assert_int_equal(kernelinfo_parse(bad_info[i], &back, NULL), -EBADMSG);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ar),     cmocka_unit_test(test_bzimage),
		cmocka_unit_test(test_module), cmocka_unit_test(test_cpio),
		cmocka_unit_test(test_info),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
