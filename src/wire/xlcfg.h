/* Domains as Xen's xl.cfg(5) describes them, as far as they are known here. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "wire/xldisk.h"

#define XL_DISKS_MAX 14

enum xl_action { XL_DESTROY, XL_RESTART, XL_PRESERVE };

struct xl_domain {
	const char *name, *uuid; /* uuid: NULL or 36 characters */
	uint64_t memory;	 /* bytes */
	unsigned vcpus;
	const char *kernel, *ramdisk; /* ramdisk: NULL for none */
	const char *cmdline;	      /* root and extra, or cmdline itself */
	enum xl_action on_poweroff, on_reboot, on_crash;
	struct xl_disk disk[XL_DISKS_MAX];
	unsigned disks;
	/* What stands there and means nothing here: sentences, NULL-terminated. */
	const char *remarks[16];

	struct arena memory_;
};

/* Parses `n` bytes of text; `file` is what errors call it: "vm.cfg:4: memory: ...". 0 or -errno. On success
 * (and only then) `out` is to be freed. */
int xl_domain_parse(const char *text, size_t n, const char *file, struct xl_domain *out,
		    struct err *e);
void xl_domain_fini(struct xl_domain *d);

/* "destroy", "restart", "preserve". */
const char *xl_action_name(enum xl_action a);
