/* Health checks: what is asked of a running instance again and again, and what is made of the answers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "run/registry.h"
#include "wire/image.h"

/* The options --health-*; a zeroed struct is none. Times in ns. */
struct health_wish {
	const char *cmd, *retries;
	uint64_t interval, timeout, start_period, start_interval;
	bool none; /* --no-healthcheck */
};

/* Writes the check into the record: the wishes over what the image says (NULL: no image). 0 or -errno. */
int health_settle(const struct health_wish *wish, const struct image_health *image,
		  struct record *rec, struct err *e);
/* A new run begins. */
int health_begin(struct record *rec);
/* Milliseconds until the next check; 0: there is none. */
uint32_t health_next_ms(const struct record *rec);
/* Asks once and writes the answer down; `*next_ms`: as above. 0 or -errno. */
int health_ask(const char *root, const char *id, uint32_t *next_ms, struct err *e);
