/* What a kernel module says of itself: the .modinfo section. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct modinfo {
	char name[56];
	char depends[512];  /* "a,b,c": modules to load before; "" for none */
	char vermagic[128]; /* "6.1.0-56-cloud-amd64 SMP preempt mod_unload" */
};

/* Names use '_' only. 0, or -EBADMSG with `e` set. */
int modinfo_parse(const uint8_t *p, size_t n, struct modinfo *out, struct err *e);
