/* The `info` file of an imported kernel: what it is and which modules guests load. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum { KERNELINFO_VERSION = 1 };

struct kernelinfo {
	char release[128];     /* "6.1.0-56-cloud-amd64" */
	char source[256];      /* file name that it came from */
	uint32_t wishes;       /* stamp of the module lists that it was imported with */
	bool xen_pv;	       /* boots behind the pv wall */
	struct strlist pv, vm; /* module names in load order */
};

void kernelinfo_fini(struct kernelinfo *k);
int kernelinfo_print(struct buf *out, const struct kernelinfo *k);
/* `text` is NUL-terminated. 0, or -EBADMSG with `e` set. */
int kernelinfo_parse(const char *text, struct kernelinfo *out, struct err *e);
