/* Members of an ar archive: Debian packages. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define AR_MAGIC      "!<arch>\n"
#define AR_MAGIC_SIZE 8u
#define AR_HEADER     60u

struct ar_member {
	char name[17]; /* without the padding and the '/' that GNU ar adds */
	uint64_t size; /* bytes of data, which follow the header; then a byte of padding when odd */
};

/* 0, or -EBADMSG. */
int ar_member_parse(const uint8_t header[AR_HEADER], struct ar_member *out);
