/* An assembler for seccomp's classic BPF that works from the end to the start. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

/* A place to jump to: an instruction that already stands, or "return this value", which is materialized
 * as near as a jump needs it. */
struct cbpf_target {
	bool ret;
	uint32_t v; /* the value; else the instruction, counted from the end, the last is 1 */
};

enum { CBPF_RETS = 16 };

struct cbpf {
	unsigned int n; /* instructions so far; they are the last `n` of `insn` */
	bool full;	/* there was no room; sticky */
	struct {
		uint32_t value;
		unsigned int at; /* 0: free */
	} rets[CBPF_RETS];	 /* the newest return of some values */
	unsigned int next_ret;
	struct sock_filter insn[BPF_MAXINSNS];
};

void cbpf_init(struct cbpf *b);

/* The program's first instruction; `n` follow from there. */
static inline const struct sock_filter *cbpf_start(const struct cbpf *b)
{
	return b->insn + BPF_MAXINSNS - b->n;
}

static inline struct cbpf_target cbpf_ret(uint32_t value)
{
	return (struct cbpf_target){ .ret = true, .v = value };
}

static inline bool cbpf_same(struct cbpf_target a, struct cbpf_target b)
{
	return a.ret == b.ret && a.v == b.v;
}

/* Each puts code before what stands and returns where it starts. */

/* `op` (BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET) between the accumulator and `k`. */
struct cbpf_target cbpf_jump(struct cbpf *b, uint16_t op, uint32_t k, struct cbpf_target yes,
			     struct cbpf_target no);
/* Loads the 32-bit word at `offset` of struct seccomp_data, then goes on with `then`. */
struct cbpf_target cbpf_load(struct cbpf *b, uint32_t offset, struct cbpf_target then);
/* accumulator &= mask, then `then`. */
struct cbpf_target cbpf_and(struct cbpf *b, uint32_t mask, struct cbpf_target then);
/* Makes `t` the program's first instruction. */
void cbpf_begin_at(struct cbpf *b, struct cbpf_target t);
