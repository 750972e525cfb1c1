/*
 * The seccomp compiler.
 *
 * A profile is a list of rules by name; a filter is a function from (ABI, number, arguments) to an action. The
 * way from one to the other has three steps:
 *
 *   collect  every rule is spread over the numbers of the three ABIs. A number ends up with one action, or
 *            with a chain of rules that look at arguments.
 *   order    the rules of a chain are put in the order in which libseccomp would try them, so that
 *            profiles whose rules contradict each other mean the same here.
 *   emit     neighbouring numbers with the same verdict become a range, and the ranges a binary search: about
 *            nine comparisons for any call, where a list would need hundreds. Chains hang off the search as
 *            short blocks, in which equal first tests are made once.
 *
 * 64-bit arguments are compared as two words, since BPF has no others; i386 and x32 compare the lower word only, as
 * libseccomp does. x32 shares x86-64's audit architecture and is told apart by bit 30 of the number.
 * Everything that the profile does not name gets the default action, and an ABI that it does not list the kill that
 * libseccomp calls its bad-architecture action.
 *
 * The scratch memory is one allocation, since the compiler runs in every start of a container: a few
 * microseconds for the default profile.
 *
 * Trust: a profile is the caller's, but checked as if hostile; its size is bounded by CHAIN_RULES and the kernel's limit
 * of 4096 instructions. Threads: none of its own. #syscalls: none
 */
#include "container/seccomp.h"

#include <assert.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "container/seccomp_int.h"

static uint32_t action_value(enum oci_seccomp_action action, const struct oci_num *errno_ret)
{
	uint32_t data = (uint32_t)(errno_ret->set ? errno_ret->v : EPERM) & SECCOMP_RET_DATA;

	switch (action) {
	case OCI_SECCOMP_KILL_THREAD:
		return SECCOMP_RET_KILL_THREAD;
	case OCI_SECCOMP_KILL_PROCESS:
		return SECCOMP_RET_KILL_PROCESS;
	case OCI_SECCOMP_TRAP:
		return SECCOMP_RET_TRAP;
	case OCI_SECCOMP_ERRNO:
		return SECCOMP_RET_ERRNO | data;
	case OCI_SECCOMP_TRACE:
		return SECCOMP_RET_TRACE | data;
	case OCI_SECCOMP_ALLOW:
		return SECCOMP_RET_ALLOW;
	case OCI_SECCOMP_LOG:
		return SECCOMP_RET_LOG;
	case OCI_SECCOMP_NOTIFY:
		return SECCOMP_RET_USER_NOTIF;
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static int check_errno(enum oci_seccomp_action action, const struct oci_num *errno_ret,
		       const char *member, struct err *e)
{
	if (!errno_ret->set)
		return 0;
	if (action != OCI_SECCOMP_ERRNO && action != OCI_SECCOMP_TRACE)
		return err_set(e, -EINVAL, "linux.seccomp: %s: this action takes no error number",
			       member);
	if (errno_ret->v < 0 || errno_ret->v > SECCOMP_RET_DATA)
		return err_set(e, -EINVAL, "linux.seccomp: %s: %lld is out of range", member,
			       (long long)errno_ret->v);
	return 0;
}

static void compiler_free(struct seccomp_compiler **c)
{
	if (*c)
		free((*c)->rules);
	free(*c);
}

static int new_rule(struct seccomp_compiler *c, struct chain_rule **out, struct err *e)
{
	if (c->rules_n == c->rules_cap) {
		unsigned int cap = c->rules_cap ? c->rules_cap * 4 : 64;

		if (cap > CHAIN_RULES)
			cap = CHAIN_RULES;
		if (c->rules_n == cap)
			return err_set(e, -E2BIG,
				       "linux.seccomp: more than %d rules with conditions",
				       CHAIN_RULES);
		struct chain_rule *p = realloc(c->rules, cap * sizeof(*p));

		if (!p)
			return err_sys(e, -ENOMEM, "linux.seccomp");
		c->rules = p;
		c->rules_cap = cap;
	}
	*out = &c->rules[c->rules_n++];
	return 0;
}

/* A test as libseccomp's tree has it: rules are ordered by comparing these, first to last. */
struct node {
	unsigned int arg; /* argument * 2, + 1 for the upper word */
	unsigned int rank;
	uint32_t datum, mask;
	bool descending; /* larger data first */
	uint8_t op;	 /* the comparison made, NE and EQ being one */
};

static bool is_equality(uint8_t op)
{
	return op == OCI_CMP_EQ || op == OCI_CMP_NE || op == OCI_CMP_MASKED_EQ;
}

/* The `depth`-th test of a rule; false when it has fewer. */
static bool node_at(const struct chain_rule *r, bool wide, unsigned int depth, struct node *n)
{
	unsigned int words = wide ? 2 : 1;

	if (depth / words >= r->conds)
		return false;
	const struct cond *c = &r->cond[depth / words];
	bool high = wide && depth % 2 == 0;

	n->arg = c->arg * 2u + high;
	n->rank = is_equality(c->op) ? 3 : c->op == OCI_CMP_LT || c->op == OCI_CMP_LE ? 2 : 1;
	n->descending = n->rank != 2;
	n->mask = (uint32_t)(high ? c->mask >> 32 : c->mask);
	n->datum = (uint32_t)(high ? c->value >> 32 : c->value) & n->mask;
	switch (c->op) {
	case OCI_CMP_NE:
		n->op = OCI_CMP_EQ;
		break;
	case OCI_CMP_LT:
		n->op = high ? OCI_CMP_GT : OCI_CMP_GE;
		break;
	case OCI_CMP_LE:
	case OCI_CMP_GE:
		n->op = high || c->op == OCI_CMP_LE ? OCI_CMP_GT : OCI_CMP_GE;
		break;
	default:
		n->op = c->op;
	}
	return true;
}

static bool node_same(const struct node *a, const struct node *b)
{
	return a->arg == b->arg && a->op == b->op && a->datum == b->datum && a->mask == b->mask;
}

/* Whether `a` belongs before `b` on one level. */
static bool node_before(const struct node *a, const struct node *b)
{
	if (a->arg != b->arg)
		return a->arg > b->arg;
	if (a->rank != b->rank)
		return a->rank > b->rank;
	return a->descending ? a->datum > b->datum : a->datum < b->datum;
}

/* Puts rule `index` into the chain of `v`. On each level the rule goes before the first test that it
 * precedes, or below the one that it equals; so rules that share their first tests stay together. */
static void chain_insert(struct seccomp_compiler *c, struct verdict *v, bool wide,
			 unsigned int index)
{
	struct chain_rule *fresh = &c->rules[index];
	uint16_t *at = &v->chain, end = 0; /* the part of the chain under consideration */
	struct node mine, theirs;

	for (unsigned int depth = 0; node_at(fresh, wide, depth, &mine); depth++) {
		bool below = false;

		for (; *at != end; at = &c->rules[*at - 1].next) {
			if (!node_at(&c->rules[*at - 1], wide, depth, &theirs))
				continue;
			below = node_same(&theirs, &mine);
			if (below || node_before(&mine, &theirs))
				break;
		}
		if (!below)
			goto insert;
		uint16_t stop = *at;

		while (stop != end && node_at(&c->rules[stop - 1], wide, depth, &theirs) &&
		       node_same(&theirs, &mine))
			stop = c->rules[stop - 1].next;
		end = stop;
	}
	/* The others have all of our tests: the first of equals counts. */
	while (*at != end)
		at = &c->rules[*at - 1].next;
insert:
	fresh->next = *at;
	*at = (uint16_t)(index + 1);
}

/* Adds a rule for one number. `cond` has `n` entries, by ascending argument. */
static int add_rule(struct seccomp_compiler *c, enum abi abi, unsigned int nr, uint32_t action,
		    const struct cond *cond, unsigned int n, struct err *e)
{
	struct verdict *v = &c->nr[abi][nr];
	bool wide = abi == ABI_X86_64;
	struct chain_rule *r = NULL;

	if (v->decided)
		return 0;
	int ret = new_rule(c, &r, e);

	if (ret)
		return ret;
	r->action = action;
	r->conds = 0;
	for (unsigned int i = 0; i < n; i++)
		if (wide ? cond[i].mask != 0 : (uint32_t)cond[i].mask != 0)
			r->cond[r->conds++] = cond[i];
	if (!r->conds) {
		c->rules_n--;
		v->decided = true;
		v->action = action;
		v->chain = 0;
		return 0;
	}
	chain_insert(c, v, wide, c->rules_n - 1);
	return 0;
}

/* One rule of the profile for one name: all numbers that it stands for. */
static int spread_rule(struct seccomp_compiler *c, const struct syscall_entry *s, uint32_t action,
		       const struct cond *cond, unsigned int n, struct err *e)
{
	for (enum abi abi = 0; abi < ABI_COUNT; abi++) {
		int r = 0;

		if (!c->abi[abi])
			continue;
		if (abi == ABI_I386 && s->mux) {
			/* The multiplexer's number for the call takes the place of argument 0; what was
			 * asked of the other arguments stays, as in libseccomp. */
			const struct syscall_entry *m = syscall_lookup(
				s->mux == MUX_SOCKETCALL ? "socketcall" : "ipc");
			struct cond muxed[ARGS + 1] = {
				{ .op = OCI_CMP_EQ, .value = s->sub, .mask = UINT64_MAX }
			};
			unsigned int k = 1;

			for (unsigned int i = 0; i < n; i++)
				if (cond[i].arg)
					muxed[k++] = cond[i];
			if (m && m->nr[abi] >= 0)
				r = add_rule(c, abi, (unsigned int)m->nr[abi], action, muxed, k, e);
		}
		if (!r && s->nr[abi] >= 0)
			r = add_rule(c, abi, (unsigned int)s->nr[abi], action, cond, n, e);
		if (r)
			return r;
	}
	return 0;
}

static struct cond cond_of(const struct oci_seccomp_arg *a)
{
	struct cond c = { .arg = (uint8_t)a->index,
			  .op = (uint8_t)a->op,
			  .value = a->value,
			  .mask = UINT64_MAX };

	if (a->op == OCI_CMP_MASKED_EQ) {
		c.mask = a->value;
		c.value = a->value_two & a->value;
	}
	return c;
}

/* A rule's conditions by ascending argument. 0: two of them look at one argument, so each is a rule. */
static unsigned int sort_conds(const struct oci_seccomp_rule *rule, struct cond out[ARGS])
{
	const struct oci_seccomp_arg *by_arg[ARGS] = { NULL };
	unsigned int n = 0;

	for (size_t i = 0; i < rule->args_n; i++) {
		if (by_arg[rule->args[i].index])
			return 0;
		by_arg[rule->args[i].index] = &rule->args[i];
	}
	for (unsigned int i = 0; i < ARGS; i++)
		if (by_arg[i])
			out[n++] = cond_of(by_arg[i]);
	return n;
}

static int collect_rule(struct seccomp_compiler *c, const struct oci_seccomp_rule *rule,
			size_t index, struct err *e)
{
	uint32_t action = action_value(rule->action, &rule->errno_ret);
	struct cond cond[ARGS];
	char member[64];

	snprintf(member, sizeof(member), "syscalls[%zu].errnoRet", index);
	int r = check_errno(rule->action, &rule->errno_ret, member, e);

	if (r)
		return r;
	for (size_t i = 0; i < rule->args_n; i++)
		if (rule->args[i].index >= ARGS)
			return err_set(
				e, -EINVAL,
				"linux.seccomp: syscalls[%zu].args[%zu].index: %u is not 0 to 5",
				index, i, rule->args[i].index);
	if (action == c->default_action)
		return 0;
	unsigned int n = sort_conds(rule, cond);

	for (size_t i = 0; i < rule->names.n; i++) {
		const struct syscall_entry *s = syscall_lookup(rule->names.v[i]);

		if (!s)
			continue;
		if (rule->action == OCI_SECCOMP_NOTIFY)
			c->notify = true;
		if (n || !rule->args_n) {
			r = spread_rule(c, s, action, cond, n, e);
		} else {
			for (size_t k = 0; !r && k < rule->args_n; k++) {
				struct cond one = cond_of(&rule->args[k]);

				r = spread_rule(c, s, action, &one, 1, e);
			}
		}
		if (r)
			return r;
	}
	return 0;
}

static int collect_architectures(struct seccomp_compiler *c, struct err *e)
{
	static const char *const foreign[] = {
		"AARCH64", "ARM",      "LOONGARCH64", "M68K",	"MIPS",	    "MIPS64", "MIPS64N32",
		"MIPSEL",  "MIPSEL64", "MIPSEL64N32", "PARISC", "PARISC64", "PPC",    "PPC64",
		"PPC64LE", "RISCV64",  "S390",	      "S390X",	"SH",	    "SHEB",
	};
	const struct oci_strings *list = &c->profile->architectures;

	c->abi[ABI_X86_64] = true; /* the host's own is always in force */
	for (size_t i = 0; i < list->n; i++) {
		const char *name = str_after(list->v[i], "SCMP_ARCH_");
		bool known = false;

		if (!name)
			name = "";
		if (streq(name, "X86_64") || streq(name, "NATIVE"))
			known = true;
		else if (streq(name, "X86"))
			known = c->abi[ABI_I386] = true;
		else if (streq(name, "X32"))
			known = c->abi[ABI_X32] = true;
		for (size_t k = 0; !known && k < ARRAY_SIZE(foreign); k++)
			known = streq(name, foreign[k]);
		if (!known)
			return err_set(
				e, -EINVAL,
				"linux.seccomp: architectures[%zu]: '%s' is not an architecture", i,
				list->v[i]);
	}
	return 0;
}

static int collect_flags(const struct oci_seccomp *p, unsigned int *flags, struct err *e)
{
	static const struct {
		const char *name;
		unsigned int bit;
	} known[] = {
		{ "SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC },
		{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
		{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
		{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
		  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
	};

	*flags = 0;
	for (size_t i = 0; i < p->flags.n; i++) {
		size_t k = 0;

		while (k < ARRAY_SIZE(known) && !streq(p->flags.v[i], known[k].name))
			k++;
		if (k == ARRAY_SIZE(known))
			return err_set(e, -EINVAL, "linux.seccomp: flags[%zu]: '%s' is not a flag",
				       i, p->flags.v[i]);
		*flags |= known[k].bit;
	}
	return 0;
}

int container_seccomp_compile(const struct oci_seccomp *profile, struct seccomp_program *out,
			      struct err *e)
{
	cleanup_with(compiler_free) struct seccomp_compiler *c = calloc(1, sizeof(*c));

	if (!c)
		return err_sys(e, -ENOMEM, "linux.seccomp");
	assert(syscall_nr_end() <= NR_MAX);
	c->profile = profile;
	int r = check_errno(profile->default_action, &profile->default_errno_ret, "defaultErrnoRet",
			    e);

	if (r)
		return r;
	if (profile->default_action == OCI_SECCOMP_NOTIFY)
		return err_set(
			e, -EINVAL,
			"linux.seccomp: defaultAction: SCMP_ACT_NOTIFY would stop the command "
			"before its listener is there");
	c->default_action = action_value(profile->default_action, &profile->default_errno_ret);
	r = collect_architectures(c, e);
	if (!r)
		r = collect_flags(profile, &out->flags, e);
	for (size_t i = 0; !r && i < profile->rules_n; i++)
		r = collect_rule(c, &profile->rules[i], i, e);
	if (r)
		return r;
	seccomp_emit(c, &out->code);
	if (out->code.full)
		return err_set(e, -E2BIG,
			       "linux.seccomp: needs more than the %d instructions of a filter",
			       BPF_MAXINSNS);
	out->notify = c->notify;
	if (c->notify) {
		out->flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
		if (out->flags & SECCOMP_FILTER_FLAG_TSYNC)
			out->flags |= SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
	} else {
		out->flags &= ~(unsigned int)SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	}
	return 0;
}
