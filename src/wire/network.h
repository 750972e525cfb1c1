/* What --network says. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* A guest's small network behind passt. Questions to DNS go to the host's own name server. */
#define PASST_BITS    "24"
#define PASST_ADDRESS "10.0.2.15"
#define PASST_GATEWAY "10.0.2.2"
#define PASST_DNS     "10.0.2.3"

enum network_kind {
	NETWORK_PRIVATE, /* one of its own */
	NETWORK_HOST,
	NETWORK_NONE,
	NETWORK_TAP, /* an interface of the host that is there already; for guests */
};

enum { NETWORK_NAME_MAX = 15, NETWORK_QUEUES_MAX = 8 };

struct network_wish {
	enum network_kind kind;
	char tap[NETWORK_NAME_MAX + 1];
	char address[20], gateway[16]; /* "10.0.0.2/24", "10.0.0.1"; "": none */
	uint8_t mac[6];
	bool has_mac;
	unsigned queues;
};

/* "private", "host", "none", or "tap:NAME" with any of ",ip=ADDRESS/BITS", ",gw=ADDRESS", ",mac=ADDRESS",
 * ",queues=NUMBER". 0, or -EINVAL naming the word. */
int network_parse(const char *text, struct network_wish *w, struct err *e);

/* "10.0.0.2/24" as address and netmask, in the host's byte order. 0 or -EINVAL. */
int network_address(const char *text, uint32_t *address, uint32_t *mask);
/* "10.0.0.1". 0 or -EINVAL. */
int network_ipv4(const char *text, uint32_t *address);
