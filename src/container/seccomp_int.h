/* What the two halves of the seccomp compiler share: collected rules. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "container/cbpf.h"
#include "container/syscalls.h"
#include "wire/oci.h"

enum {
	NR_MAX = 1024,	    /* more than any ABI's numbers */
	CHAIN_RULES = 8192, /* rules with conditions, over all ABIs */
	ARGS = 6,
};

/* One condition on one argument. MASKED_EQ holds value & mask already. */
struct cond {
	uint8_t arg;
	uint8_t op; /* enum oci_seccomp_op */
	uint64_t value, mask;
};

/* A rule with conditions, on one number of one ABI. */
struct chain_rule {
	uint32_t action;
	uint16_t next; /* index + 1 of the next rule of the same number */
	uint8_t conds;
	struct cond cond[ARGS];
};

/* What is known of one number. */
struct verdict {
	bool decided;	/* `action` holds for all arguments */
	uint16_t chain; /* index + 1 of the first conditional rule */
	uint32_t action;
};

struct seccomp_compiler {
	const struct oci_seccomp *profile;
	uint32_t default_action;
	bool abi[ABI_COUNT]; /* listed */
	bool notify;
	unsigned int rules_n, rules_cap;
	struct chain_rule *rules;
	struct verdict nr[ABI_COUNT][NR_MAX];

	/* the emitter's */
	const struct chain_rule *chain[CHAIN_RULES];
	unsigned int ranges_n;
	struct seccomp_range {
		uint32_t start;
		struct cbpf_target to;
	} ranges[2 * NR_MAX + 4];
};

/* Writes the program for what was collected. */
void seccomp_emit(struct seccomp_compiler *c, struct cbpf *b);
