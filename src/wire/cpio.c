/*
 * Archives that the kernel unpacks into its first root (Linux, driver-api/early-userspace/buffer-format):
 * "newc", everything in eight hexadecimal digits, names and data padded to four.
 *
 * Trust: our own input. Threads: none. #syscalls: none
 */
#include "wire/cpio.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static void pad(struct buf *out, size_t to)
{
	static const char zeroes[512];

	buf_add(out, zeroes, -out->len & (to - 1));
}

int cpio_add(struct buf *out, uint32_t ino, const struct cpio_entry *en)
{
	size_t name = strlen(en->path) + 1;

	if (en->size > UINT32_MAX)
		return -EFBIG;
	buf_addf(out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ino, en->mode,
		 0, 0, S_ISDIR(en->mode) ? 2 : 1, 0, (unsigned)en->size, 0, 0, en->major, en->minor,
		 (unsigned)name, 0);
	buf_add(out, en->path, name);
	pad(out, 4);
	buf_add(out, en->data, en->size);
	pad(out, 4);
	return out->error;
}

int cpio_end(struct buf *out)
{
	cpio_add(out, 0, &(struct cpio_entry){ .path = "TRAILER!!!" });
	pad(out, 512);
	return out->error;
}
