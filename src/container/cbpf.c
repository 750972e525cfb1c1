/*
 * Classic BPF, assembled backwards.
 *
 * Conditional jumps only go forward, and at most 255 instructions. Written from the last instruction to
 * the first, every target is known when a jump to it is written: one pass, no labels to patch. Where a target
 * is too far, a return is written again and any other target gets a long jump (`ja`) in between. Code that is
 * to follow in line ("then") costs nothing when it was written last, and a `ja` otherwise.
 *
 * Trust: the caller's numbers come from a profile; the only thing they can do is fill the array, which is
 * noted in `full` and makes everything after it a no-op. Threads: none of its own. #syscalls: none
 */
#include "container/cbpf.h"

#include <string.h>

void cbpf_init(struct cbpf *b)
{
	b->n = 0;
	b->full = false;
	b->next_ret = 0;
	memset(b->rets, 0, sizeof(b->rets));
}

static struct cbpf_target put(struct cbpf *b, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (b->n == BPF_MAXINSNS) {
		b->full = true;
		return (struct cbpf_target){ .v = b->n };
	}
	b->n++;
	b->insn[BPF_MAXINSNS - b->n] = (struct sock_filter){ code, jt, jf, k };
	return (struct cbpf_target){ .v = b->n };
}

static struct cbpf_target put_ret(struct cbpf *b, uint32_t value)
{
	struct cbpf_target t = put(b, BPF_RET | BPF_K, 0, 0, value);
	unsigned int i;

	for (i = 0; i < CBPF_RETS; i++)
		if (!b->rets[i].at || b->rets[i].value == value)
			break;
	if (i == CBPF_RETS)
		i = b->next_ret++ % CBPF_RETS;
	b->rets[i].value = value;
	b->rets[i].at = t.v;
	return t;
}

/* How far a jump reaches that is written next. */
static bool in_reach(const struct cbpf *b, unsigned int at)
{
	return b->n - at <= 255;
}

/* An instruction that stands, for `t`, within reach of the next jump. */
static struct cbpf_target settle(struct cbpf *b, struct cbpf_target t)
{
	if (t.ret) {
		for (unsigned int i = 0; i < CBPF_RETS; i++)
			if (b->rets[i].at && b->rets[i].value == t.v && in_reach(b, b->rets[i].at))
				return (struct cbpf_target){ .v = b->rets[i].at };
		return put_ret(b, t.v);
	}
	if (in_reach(b, t.v))
		return t;
	return put(b, BPF_JMP | BPF_JA, 0, 0, b->n - t.v);
}

struct cbpf_target cbpf_jump(struct cbpf *b, uint16_t op, uint32_t k, struct cbpf_target yes,
			     struct cbpf_target no)
{
	struct cbpf_target y, n;

	/* Settling one may push the other out of reach, once. */
	do {
		y = settle(b, yes);
		n = settle(b, no);
	} while (!in_reach(b, y.v) && !b->full);
	if (b->full)
		return y;
	return put(b, BPF_JMP | op | BPF_K, (uint8_t)(b->n - y.v), (uint8_t)(b->n - n.v), k);
}

/* Makes `t` the instruction that the next one written falls into. */
static void fall_into(struct cbpf *b, struct cbpf_target t)
{
	if (t.ret)
		put_ret(b, t.v);
	else if (t.v != b->n)
		put(b, BPF_JMP | BPF_JA, 0, 0, b->n - t.v);
}

struct cbpf_target cbpf_load(struct cbpf *b, uint32_t offset, struct cbpf_target then)
{
	fall_into(b, then);
	return put(b, BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
}

struct cbpf_target cbpf_and(struct cbpf *b, uint32_t mask, struct cbpf_target then)
{
	fall_into(b, then);
	return put(b, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
}

void cbpf_begin_at(struct cbpf *b, struct cbpf_target t)
{
	fall_into(b, t);
}
