/* What a program without a kernel has (bare_start.S): a console, and virtio devices behind MMIO registers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/virtio.h"

/* Called in ring 3 or ring 0. Returning powers off. */
void main(char *arguments);

enum bare_call { BARE_OFF, BARE_PUT, BARE_TRIPLE_FAULT, BARE_PORT };

static inline void bare(enum bare_call what, uint64_t a, uint64_t b)
{
	__asm__ volatile("int3" : "+a"(what), "+D"(a), "+S"(b)::"rdx", "memory");
}

void say(const char *text);
void say_number(uint64_t n);
/* The number behind `key` ("mmio=0x1000") in the command line, or `otherwise`. */
uint64_t argument(const char *arguments, const char *key, uint64_t otherwise);
/* Whether `word` is one of the words of the command line. */
bool has_word(const char *arguments, const char *word);

/* A device's registers. */
struct device {
	uint64_t base;
	uint32_t id; /* 0: none */
};

uint32_t reg_read(const struct device *d, uint32_t offset);
void reg_write(const struct device *d, uint32_t offset, uint32_t value);

enum { RING = 128, AREAS = 3 };

/* A split ring. */
struct ring {
	struct virtq_desc desc[RING];
	uint16_t avail_flags, avail_idx, avail[RING], used_event;
	uint8_t pad[4096 - (RING * 16 + 6 + 2 * RING) % 4096];
	volatile uint16_t used_flags, used_idx;
	volatile struct virtq_used_elem used[RING];
	volatile uint16_t avail_event;
	uint8_t end[4096 - (6 + 8 * RING) % 4096];
} __attribute__((aligned(4096)));

/* Resets and negotiates VERSION_1 and what of `features` is offered. False when the device does not agree. */
bool device_start(const struct device *d, uint64_t features);
/* Places queue `n`, emptied. Its size; 0: no such queue. */
uint32_t device_queue(const struct device *d, unsigned n, struct ring *r);
void device_go(const struct device *d);
