/* SHA-256 (FIPS 180-4), with the CPU's own instructions where it has them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct sha256 {
	uint32_t state[8];
	uint64_t bytes; /* so far */
	uint8_t block[64];
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *p, size_t n);
/* The 32 bytes; the state is spent. */
void sha256_finish(struct sha256 *s, uint8_t out[32]);
