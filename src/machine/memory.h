/* Guest memory and its one door. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A guest-physical address: never mixed up with a host pointer, a frame number or a virtual address. */
typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(x)	((gpa_t){ (x) })
#define PAGE	4096u
#define PAGE_2M (2u << 20)
/* Where memory goes on above the hole for devices. */
#define MEMORY_HIGH (4ull << 30)

/* Guest-physical memory: [0, low), and what is left of `size` from MEMORY_HIGH on. Without a hole, `low` is all of it. */
struct memory {
	uint8_t *base; /* NULL: none */
	uint64_t size; /* bytes of RAM, wherever they lie */
	uint64_t low;
	int fd; /* memfd behind it, -1: anonymous or a private file mapping */
};

/* `size` is a multiple of 2 MB. `shared`: a memfd, so that another process may map it too; else
 * anonymous, with huge pages where the host gives them. 0 or -errno. */
int memory_init(struct memory *m, uint64_t size, bool shared, struct err *e);
/* A private copy-on-write view of `fd` from `offset`: a clone. */
int memory_init_file(struct memory *m, int fd, uint64_t offset, uint64_t size, struct err *e);
void memory_fini(struct memory *m);

/* Leaves [at, MEMORY_HIGH) to devices: what lay there lies above. After memory_init, before anybody looks. `at` is a
 * multiple of 2 MB. */
void memory_make_hole(struct memory *m, uint64_t at);

/* Copies `len` bytes of `fd` from `offset` to `gpa`. A copy, not a mapping of the file: it lands in huge pages, and
 * where KVM shadows the guest's page tables it then fills in eight neighbours at each fault, which it cannot do for
 * pages of a file. Nothing was written there yet: pages of zeroes stay unmade. 0, -EFAULT when it does not fit, else
 * -errno. */
int memory_load(struct memory *m, gpa_t gpa, int fd, uint64_t offset, uint64_t len);

/* The door: `len` bytes at `gpa`, or NULL when any byte of it is outside. The guest may change what is
 * there at any time: read a value once, judge the copy, use the copy. */
void *memory_at(const struct memory *m, gpa_t gpa, uint64_t len);

/* Gives the whole pages in a range that came through the door back to the host: they cost nothing, and read as zeroes
 * when they are touched again (in a clone: as its file). 0 or -errno. */
int memory_discard(const struct memory *m, void *at, uint64_t len);

/* Whole copies through the door. 0 or -EFAULT. */
int memory_read(const struct memory *m, gpa_t gpa, void *to, uint64_t len);
int memory_write(const struct memory *m, gpa_t gpa, const void *from, uint64_t len);
