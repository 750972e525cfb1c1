/* A pv guest from a kernel and disks, on this terminal: the one-line teaching form. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct lguest {
	uint64_t memory; /* bytes */
	unsigned vcpus;
	const char *kernel, *initrd; /* files; `initrd` may be NULL */
	struct strlist disks;	     /* raw images, /dev/xvda, ...; "FILE:ro" is read-only */
	const char *cmdline;
	bool isolated, no_patches, stats;
};

/* Runs it until it ends; its console is stdin and stdout, `^]` stops it. 0: power-off or reboot; 1: it crashed
 * or was stopped; -errno with `e` set when it could not be run. `report` gets lines for stderr: why it was
 * stopped, and the counters if wanted. */
int lguest_run(const struct lguest *g, struct buf *report, struct err *e);
