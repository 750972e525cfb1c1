/*
 * The common ar archive: 60 bytes of text before each member. Only what deb(5) uses: short names.
 *
 * Trust: every byte is hostile. Threads: none. #syscalls: none
 */
#include "wire/ar.h"

#include <errno.h>
#include <string.h>

int ar_member_parse(const uint8_t h[AR_HEADER], struct ar_member *out)
{
	size_t n = 16;
	uint64_t size = 0;

	if (h[58] != 0x60 || h[59] != '\n')
		return -EBADMSG;
	while (n && (h[n - 1] == ' ' || h[n - 1] == '/'))
		n--;
	if (!n || memchr(h, '\0', n))
		return -EBADMSG;
	memcpy(out->name, h, n);
	out->name[n] = '\0';
	if (h[48] < '0' || h[48] > '9')
		return -EBADMSG;
	for (size_t i = 48; i < 58 && h[i] != ' '; i++) {
		if (h[i] < '0' || h[i] > '9')
			return -EBADMSG;
		size = size * 10 + (uint64_t)(h[i] - '0');
	}
	out->size = size;
	return 0;
}
