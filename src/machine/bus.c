/*
 * Buses: a sorted table of address ranges, looked up by bisection at every exit for memory-mapped or port I/O.
 *
 * Trust: address and length are the guest's; an access that is not wholly inside one range goes nowhere.
 * Threads: built before vCPUs run, read by all of them after. #syscalls: none
 */
#include "machine/bus.h"

#include <errno.h>
#include <string.h>

/* The number of ranges that begin at or below `address`. */
static size_t rank(const struct bus *b, uint64_t address)
{
	size_t low = 0, high = b->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (b->ranges[mid]->base <= address)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int bus_add(struct bus *b, struct bus_range *r)
{
	size_t at = rank(b, r->base);

	if (b->n == BUS_MAX)
		return -ENOSPC;
	if (at && r->base - b->ranges[at - 1]->base < b->ranges[at - 1]->size)
		return -EEXIST;
	if (at < b->n && b->ranges[at]->base - r->base < r->size)
		return -EEXIST;
	memmove(&b->ranges[at + 1], &b->ranges[at], (b->n - at) * sizeof(b->ranges[0]));
	b->ranges[at] = r;
	b->n++;
	return 0;
}

int bus_access(const struct bus *b, uint64_t address, void *data, uint32_t len, bool is_write)
{
	size_t at = rank(b, address);
	struct bus_range *r = at ? b->ranges[at - 1] : NULL;

	if (!r || address - r->base >= r->size || len > r->size - (address - r->base)) {
		if (!is_write)
			memset(data, 0xff, len);
		return -ENXIO;
	}
	r->access(r, address - r->base, data, len, is_write);
	return 0;
}
