/* Address ranges and who answers there: memory-mapped I/O and ports. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded by a device. */
struct bus_range {
	uint64_t base, size;
	/* `len` is 1..8 and the whole access lies inside the range. Bytes as the guest sees them. */
	void (*access)(struct bus_range *r, uint64_t offset, void *data, uint32_t len,
		       bool is_write);
};

enum { BUS_MAX = 64 };

struct bus {
	struct bus_range *ranges[BUS_MAX]; /* sorted by base, disjoint */
	size_t n;
};

/* 0; -EEXIST when it overlaps another, -ENOSPC when the bus is full. Before vCPUs run. */
int bus_add(struct bus *b, struct bus_range *r);

/* Finds who answers and lets it. 0; -ENXIO when nobody does: then reads give all ones. */
int bus_access(const struct bus *b, uint64_t address, void *data, uint32_t len, bool is_write);
