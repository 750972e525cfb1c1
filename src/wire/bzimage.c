/*
 * The Linux/x86 boot protocol (Documentation/arch/x86/boot.rst), as far as it tells where in a bzImage
 * the compressed vmlinux lies. What is inside is decompressed by a helper program, never here.
 *
 * Trust: every byte is hostile. Threads: none. #syscalls: none
 */
#include "wire/bzimage.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

/* Offsets of the setup header's fields in the file. */
enum {
	SETUP_SECTS = 0x1f1,
	BOOT_FLAG = 0x1fe,
	MAGIC = 0x202,
	PROTOCOL = 0x206,
	KERNEL_VERSION = 0x20e,
	LOADFLAGS = 0x211,
	XLOADFLAGS = 0x236,
	PAYLOAD_OFFSET = 0x248,
	PAYLOAD_LENGTH = 0x24c,
	INIT_SIZE = 0x260,
	HEADER_END = 0x268,
};

bool bzimage_detect(const uint8_t *p, size_t n)
{
	return n >= HEADER_END && le16_at(p + BOOT_FLAG) == 0xaa55 &&
	       memcmp(p + MAGIC, "HdrS", 4) == 0;
}

static void version_copy(const uint8_t *p, size_t n, struct bzimage *out)
{
	size_t at = (size_t)le16_at(p + KERNEL_VERSION) + 0x200, k = 0;

	if (at > 0x200) {
		for (; at < n && p[at] >= ' ' && p[at] < 0x7f && k < sizeof(out->version) - 1; at++)
			out->version[k++] = (char)p[at];
	}
	out->version[k] = '\0';
}

int bzimage_parse(const uint8_t *p, size_t n, uint64_t file_size, struct bzimage *out,
		  struct err *e)
{
	*out = (struct bzimage){ 0 };
	if (!bzimage_detect(p, n))
		return err_set(e, -EBADMSG, "not a bzImage");
	out->protocol = le16_at(p + PROTOCOL);
	/* 2.08 brought the payload's place, 2.10 init_size. */
	if (out->protocol < 0x020a || !(p[LOADFLAGS] & 1))
		return err_set(e, -ENOTSUP, "bzImage: boot protocol %u.%02u is older than 2.10",
			       out->protocol >> 8, out->protocol & 0xff);
	out->is_64bit = out->protocol >= 0x020c && (le16_at(p + XLOADFLAGS) & 1);
	version_copy(p, n, out);

	uint64_t sects = p[SETUP_SECTS] ? p[SETUP_SECTS] : 4;
	uint64_t start = (sects + 1) * 512 + le32_at(p + PAYLOAD_OFFSET);
	uint64_t size = le32_at(p + PAYLOAD_LENGTH);

	if (size < 16 || start > file_size || size > file_size - start)
		return err_set(e, -EBADMSG,
			       "bzImage: its kernel (%llu bytes at %llu) is not inside the file of "
			       "%llu bytes",
			       (unsigned long long)size, (unsigned long long)start,
			       (unsigned long long)file_size);
	out->payload_offset = start;
	out->payload_size = size;
	out->unpacked_max = le32_at(p + INIT_SIZE);
	return 0;
}
