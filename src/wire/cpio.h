/* The writer of cpio archives ("newc"): initramfs images. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

struct cpio_entry {
	const char *path; /* relative, parents first */
	uint32_t mode;	  /* with S_IFMT */
	const void *data; /* file content, or the target of a symbolic link */
	size_t size;
	uint32_t major, minor; /* device nodes */
};

/* Appends the entry; `ino` should differ between entries. 0 or the buffer's error. */
int cpio_add(struct buf *out, uint32_t ino, const struct cpio_entry *en);
/* Appends the trailer and pads to 512. 0 or the buffer's error. */
int cpio_end(struct buf *out);
