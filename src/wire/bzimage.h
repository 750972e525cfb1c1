/* The x86 boot image: where its compressed kernel lies. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* How many bytes from the start hold everything that bzimage_parse reads. */
#define BZIMAGE_HEAD 4096u

struct bzimage {
	uint16_t protocol; /* 0x020f: 2.15 */
	char version[128]; /* "6.1.0-56-cloud-amd64 (...)", "" when absent; printable */
	uint64_t payload_offset, payload_size; /* in the file; a size word ends it */
	uint64_t unpacked_max;		       /* no honest payload is larger when unpacked */
	bool is_64bit;
};

/* True when the bytes look like a bzImage at all. */
bool bzimage_detect(const uint8_t *p, size_t n);

/* `p` is the start of the file (at least BZIMAGE_HEAD bytes or all of it), `file_size` its whole size.
 * 0, or -EBADMSG, -ENOTSUP with `e` set. */
int bzimage_parse(const uint8_t *p, size_t n, uint64_t file_size, struct bzimage *out,
		  struct err *e);
