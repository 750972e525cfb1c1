/*
 * The back half of the seccomp compiler: collected verdicts become instructions.
 *
 * Numbers with the same verdict form ranges; a range with up to two odd numbers in it is kept as one, with a
 * test for each of them; and the ranges are found by binary search. x86-64 and x32 are one line of numbers, x32
 * from bit 30 on.
 *
 * A chain is emitted as nested groups: rules that begin with the same test share it, what follows hangs below, and a test
 * that fails goes on with the next group, which need not load the word again when it is the one just tested.
 * cbpf.c writes backwards, so everything here goes from last to first.
 *
 * Trust: see seccomp.c. Threads: none of its own. #syscalls: none
 */
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>

#include "base/util.h"
#include "container/seccomp_int.h"

enum { X32_BIT = 0x40000000, ODD_MAX = 2 };

#define NO_WORD UINT32_MAX

/* What libseccomp answers to an ABI that the profile does not list. */
#define BAD_ARCH SECCOMP_RET_KILL_THREAD

/* --- chains --- */

/* One test: a word against a value, or for comparisons and inequality on a wide ABI both words at once. */
struct step {
	uint32_t low, high; /* offsets of the words; high == NO_WORD: only one is looked at */
	uint8_t op;
	uint64_t value;
	uint32_t mask;
};

/* Where to enter a piece of code: `fresh` loads the word that it looks at, `loaded` expects it. */
struct entry {
	struct cbpf_target fresh, loaded;
	uint32_t word; /* NO_WORD: there is only `fresh` */
};

static uint32_t word_offset(unsigned int arg, bool high)
{
	return (uint32_t)(offsetof(struct seccomp_data, args) + 8 * arg + (high ? 4 : 0));
}

/* The `index`-th step of a rule; false when it has fewer. */
static bool step_at(const struct chain_rule *r, bool wide, unsigned int index, struct step *s)
{
	for (unsigned int i = 0; i < r->conds; i++) {
		const struct cond *c = &r->cond[i];
		bool words = c->op == OCI_CMP_EQ || c->op == OCI_CMP_MASKED_EQ;

		*s = (struct step){ .low = word_offset(c->arg, false),
				    .high = NO_WORD,
				    .op = c->op,
				    .value = (uint32_t)c->value,
				    .mask = (uint32_t)c->mask };
		if (wide && words) {
			if (c->mask >> 32 && index-- == 0) {
				s->low = word_offset(c->arg, true);
				s->value = c->value >> 32;
				s->mask = (uint32_t)(c->mask >> 32);
				return true;
			}
			if ((uint32_t)c->mask && index-- == 0)
				return true;
			continue;
		}
		if (index-- == 0) {
			if (wide) {
				s->high = word_offset(c->arg, true);
				s->value = c->value;
			}
			return true;
		}
	}
	return false;
}

static bool step_same(const struct step *a, const struct step *b)
{
	return a->low == b->low && a->high == b->high && a->op == b->op && a->value == b->value &&
	       a->mask == b->mask;
}

/* Whether the `index`-th step of `r` is `s`. */
static bool rule_has(const struct chain_rule *r, bool wide, unsigned int index,
		     const struct step *s)
{
	struct step mine;

	return step_at(r, wide, index, &mine) && step_same(&mine, s);
}

/* The test of one word that is in the accumulator. */
static struct cbpf_target emit_compare(struct cbpf *b, uint8_t op, uint32_t k,
				       struct cbpf_target yes, struct cbpf_target no)
{
	switch ((enum oci_seccomp_op)op) {
	case OCI_CMP_NE:
		return cbpf_jump(b, BPF_JEQ, k, no, yes);
	case OCI_CMP_LT:
		return cbpf_jump(b, BPF_JGE, k, no, yes);
	case OCI_CMP_LE:
		return cbpf_jump(b, BPF_JGT, k, no, yes);
	case OCI_CMP_GE:
		return cbpf_jump(b, BPF_JGE, k, yes, no);
	case OCI_CMP_GT:
		return cbpf_jump(b, BPF_JGT, k, yes, no);
	case OCI_CMP_EQ:
	case OCI_CMP_MASKED_EQ:
		break;
	}
	return cbpf_jump(b, BPF_JEQ, k, yes, no);
}

/* Where a test of `word` goes on when it fails and the word is still loaded. */
static struct cbpf_target still_loaded(const struct entry *next, uint32_t word)
{
	return next->word == word ? next->loaded : next->fresh;
}

static struct entry emit_step(struct cbpf *b, const struct step *s, struct cbpf_target yes,
			      const struct entry *next)
{
	struct entry in = { .word = s->low };

	if (s->high != NO_WORD) {
		/* Both words: decided by the upper one unless it is equal. */
		uint32_t high = (uint32_t)(s->value >> 32);
		struct cbpf_target low = emit_compare(b, s->op, (uint32_t)s->value, yes,
						      still_loaded(next, s->low));
		struct cbpf_target no = still_loaded(next, s->high);

		low = cbpf_load(b, s->low, low);
		in.word = s->high;
		if (s->op == OCI_CMP_NE) {
			in.loaded = cbpf_jump(b, BPF_JEQ, high, low, yes);
		} else {
			bool up = s->op == OCI_CMP_GT || s->op == OCI_CMP_GE;
			struct cbpf_target equal = cbpf_jump(b, BPF_JEQ, high, low, up ? no : yes);

			in.loaded = cbpf_jump(b, BPF_JGT, high, up ? yes : no, equal);
		}
	} else if (s->op == OCI_CMP_MASKED_EQ && s->mask != UINT32_MAX) {
		if (s->value == 0) {
			in.loaded = cbpf_jump(b, BPF_JSET, s->mask, still_loaded(next, s->low),
					      yes);
		} else {
			struct cbpf_target t = cbpf_jump(b, BPF_JEQ, (uint32_t)s->value, yes,
							 next->fresh);

			in.loaded = cbpf_and(b, s->mask, t);
		}
	} else {
		in.loaded = emit_compare(b, s->op, (uint32_t)s->value, yes,
					 still_loaded(next, s->low));
	}
	in.fresh = cbpf_load(b, in.word, in.loaded);
	return in;
}

/* The rules [first, end), which agree in the steps before `index` and all have that one; `fail` is where it goes on
 * when none matches. */
static struct entry emit_rules(struct cbpf *b, const struct chain_rule *const *first,
			       const struct chain_rule *const *end, bool wide, unsigned int index,
			       struct cbpf_target fail)
{
	struct entry next = { .fresh = fail, .word = NO_WORD };

	while (end > first) {
		const struct chain_rule *const *group = end - 1, *const * done;
		struct step s, more;
		struct cbpf_target yes = next.fresh;

		step_at(*group, wide, index, &s);
		while (group > first && rule_has(group[-1], wide, index, &s))
			group--;
		/* The first rule that ends here decides; those after it cannot be reached. */
		for (done = group; done < end && step_at(*done, wide, index + 1, &more);)
			done++;
		if (done < end)
			yes = cbpf_ret((*done)->action);
		if (done > group)
			yes = emit_rules(b, group, done, wide, index + 1, yes).fresh;
		next = emit_step(b, &s, yes, &next);
		end = group;
	}
	return next;
}

static struct cbpf_target emit_chain(struct seccomp_compiler *c, struct cbpf *b, enum abi abi,
				     uint16_t head)
{
	unsigned int n = 0;

	for (uint16_t i = head; i; i = c->rules[i - 1].next)
		c->chain[n++] = &c->rules[i - 1];
	return emit_rules(b, c->chain, c->chain + n, abi == ABI_X86_64, 0,
			  cbpf_ret(c->default_action))
		.fresh;
}

/* --- ranges --- */

static void add_range(struct seccomp_compiler *c, uint32_t start, struct cbpf_target to)
{
	if (c->ranges_n && cbpf_same(c->ranges[c->ranges_n - 1].to, to))
		return;
	c->ranges[c->ranges_n++] = (struct seccomp_range){ start, to };
}

/* Appends the numbers of one ABI, emitting their chains. */
static void add_abi(struct seccomp_compiler *c, struct cbpf *b, enum abi abi, uint32_t base)
{
	unsigned int end = syscall_nr_end();

	for (unsigned int nr = 0; nr < end; nr++) {
		const struct verdict *v = &c->nr[abi][nr];
		struct cbpf_target to = cbpf_ret(c->default_action);

		if (v->decided)
			to = cbpf_ret(v->action);
		else if (v->chain)
			to = emit_chain(c, b, abi, v->chain);
		add_range(c, base + nr, to);
	}
	add_range(c, base + end, cbpf_ret(c->default_action));
}

/* How many ranges from `i` on make one leaf: 1, or a range with odd numbers inside, 3 or 5. */
static unsigned int leaf_size(const struct seccomp_compiler *c, unsigned int i)
{
	unsigned int n = 1;

	while (n < 1 + 2 * ODD_MAX && i + n + 1 < c->ranges_n &&
	       c->ranges[i + n + 1].start == c->ranges[i + n].start + 1 &&
	       cbpf_same(c->ranges[i + n + 1].to, c->ranges[i].to))
		n += 2;
	return n;
}

static struct cbpf_target emit_leaf(const struct seccomp_compiler *c, struct cbpf *b,
				    unsigned int i)
{
	struct cbpf_target t = c->ranges[i].to;

	for (unsigned int odd = leaf_size(c, i); odd > 1; odd -= 2)
		t = cbpf_jump(b, BPF_JEQ, c->ranges[i + odd - 2].start, c->ranges[i + odd - 2].to,
			      t);
	return t;
}

/* The search among leaves[first, end), each the index of its first range. */
static struct cbpf_target emit_search(const struct seccomp_compiler *c, struct cbpf *b,
				      const uint16_t *leaves, unsigned int first, unsigned int end)
{
	if (end - first == 1)
		return emit_leaf(c, b, leaves[first]);
	unsigned int mid = first + (end - first) / 2;
	struct cbpf_target right = emit_search(c, b, leaves, mid, end);
	struct cbpf_target left = emit_search(c, b, leaves, first, mid);

	return cbpf_jump(b, BPF_JGE, c->ranges[leaves[mid]].start, right, left);
}

static struct cbpf_target emit_ranges(const struct seccomp_compiler *c, struct cbpf *b)
{
	uint16_t leaves[2 * NR_MAX + 4];
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->ranges_n; i += leaf_size(c, i))
		leaves[n++] = (uint16_t)i;
	return cbpf_load(b, offsetof(struct seccomp_data, nr), emit_search(c, b, leaves, 0, n));
}

void seccomp_emit(struct seccomp_compiler *c, struct cbpf *b)
{
	struct cbpf_target other = cbpf_ret(BAD_ARCH);

	cbpf_init(b);
	if (c->abi[ABI_I386]) {
		c->ranges_n = 0;
		add_abi(c, b, ABI_I386, 0);
		other = cbpf_jump(b, BPF_JEQ, AUDIT_ARCH_I386, emit_ranges(c, b), other);
	}
	c->ranges_n = 0;
	add_abi(c, b, ABI_X86_64, 0);
	if (c->abi[ABI_X32]) {
		add_abi(c, b, ABI_X32, X32_BIT);
	} else {
		add_range(c, X32_BIT, cbpf_ret(BAD_ARCH));
		/* -1 is how a tracer skips a call; it belongs to no ABI. */
		add_range(c, UINT32_MAX, cbpf_ret(c->default_action));
	}
	struct cbpf_target native = emit_ranges(c, b);

	cbpf_begin_at(b, cbpf_load(b, offsetof(struct seccomp_data, arch),
				   cbpf_jump(b, BPF_JEQ, AUDIT_ARCH_X86_64, native, other)));
}
