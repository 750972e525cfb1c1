/* What kind of CPU KVM gives a guest here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum cpu_kind {
	CPU_UNUSABLE,
	CPU_RING3, /* guests run deprivileged: SYSCALL in ring 3 stays in ring 3, ring 0 is interpreted */
	CPU_RING0, /* ordinary KVM: SYSCALL enters ring 0 */
};

struct cpu_probe {
	enum cpu_kind kind;
	uint64_t
		ring0_ns; /* what RING0_STEPS instructions took in ring 0, entry and exit included */
};

/* Instructions of the ring 0 measurement; more than this many ns each is not native speed. */
#define RING0_STEPS   8000u
#define RING0_SLOW_NS 20

/* Runs a few instructions in a throw-away VM (about 2 ms, or 10 where ring 0 is interpreted and `measure`
 * is wanted). 0, or -errno when KVM cannot be asked. A machine that fits neither kind is CPU_UNUSABLE with
 * the reason in `e`, and 0. */
int cpu_probe(int kvm, bool measure, struct cpu_probe *result, struct err *e);
