/* A line: a fast byte pipe between a pv guest's agent and the host, in pages that the guest grants (docs/FORMATS.md).
 *
 * Page 0 is this header, then LINE_PAGES pages of bytes from the guest, then as many to it. Indices count bytes and
 * run freely; a byte's place is its index modulo LINE_BYTES. Each side writes only its own indices. A side that
 * found no room, or nothing, sets its `wait` to 1 and looks again; whoever moves an index sends an event when the
 * other's `wait` is set, and clears it. The guest allocates the pages and an event channel for domain 0 and writes
 * "data/line/<n>/ref" (the grant of page 0), then "data/line/<n>/port". */
#pragma once

#include <stdint.h>

enum {
	LINE_PAGES = 16,
	LINE_PAGE = 4096,
	LINE_BYTES = LINE_PAGES * LINE_PAGE,
	LINE_GRANTS = 1 + 2 * LINE_PAGES,
	LINE_VERSION = 1,
};

struct line_half {
	uint32_t prod; /* written by whoever sends */
	uint32_t pad0[15];
	uint32_t cons; /* written by whoever receives */
	uint32_t pad1[15];
};

struct line_header {
	uint32_t version;
	uint32_t guest_waits, host_waits;
	uint32_t pad[13];
	struct line_half out; /* guest to host */
	struct line_half in;  /* host to guest */
	uint32_t grant[2 * LINE_PAGES];
};

_Static_assert(sizeof(struct line_header) == 64 + 256 + 4 * 32, "wire/line.h");
