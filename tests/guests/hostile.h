/* What the cases of the hostile guest share. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pv/layout.h"
#include "wire/xen.h"

#define BASE 0xffffffff80000000ull /* of the kernel's mapping: virtual minus guest-physical */

extern struct xen_start_info *si;

long hypercall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);
void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

void say(const char *text);
void say_number(const char *what, long v);
void send(uint32_t port);
/* What the VMM does about a ring happens on its own time: give it some. */
void settle(void);
void put_message(struct xen_store_ring *r, uint32_t type, const void *p, uint32_t len,
		 uint32_t claim);

/* hostile_blk.c: a driver of the first disk that breaks rules, and one that does not */
void blk_ungranted(void);
void blk_requests(void);
void blk_indices(void);
void blk_flood(void);
void blk_reader(void);
