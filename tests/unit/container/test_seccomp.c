/*
 * Our filters answer as libseccomp's do.
 *
 * Profiles are given to both compilers, in the way runc and crun feed libseccomp, and both programs are run by an
 * interpreter for every number of every ABI with many argument values: the constants of the rules, their
 * neighbours, and the same in either half of the argument.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../test.h"
#include "base/util.h"
#include "bundle/seccomp.h"
#include "cbpf_vm.h"
#include "container/seccomp.h"
#include "container/syscalls.h"

enum { X32 = 0x40000000, PROGRAM_MAX = 1 << 20 };

static const uint32_t audit_arch[ABI_COUNT] = { AUDIT_ARCH_X86_64, AUDIT_ARCH_I386,
						AUDIT_ARCH_X86_64 };

/* --- libseccomp's side --- */

struct reference {
	struct sock_filter *insn;
	size_t n;
};

static uint32_t scmp_action(enum oci_seccomp_action a, const struct oci_num *errno_ret)
{
	uint32_t data = errno_ret->set ? (uint32_t)errno_ret->v : 1;

	switch (a) {
	case OCI_SECCOMP_KILL_THREAD:
		return SCMP_ACT_KILL_THREAD;
	case OCI_SECCOMP_KILL_PROCESS:
		return SCMP_ACT_KILL_PROCESS;
	case OCI_SECCOMP_TRAP:
		return SCMP_ACT_TRAP;
	case OCI_SECCOMP_ERRNO:
		return SCMP_ACT_ERRNO(data);
	case OCI_SECCOMP_TRACE:
		return SCMP_ACT_TRACE(data);
	case OCI_SECCOMP_ALLOW:
		return SCMP_ACT_ALLOW;
	case OCI_SECCOMP_LOG:
		return SCMP_ACT_LOG;
	case OCI_SECCOMP_NOTIFY:
		return SCMP_ACT_NOTIFY;
	}
	abort();
}

static enum scmp_compare scmp_op(enum oci_seccomp_op op)
{
	static const enum scmp_compare ops[] = {
		[OCI_CMP_NE] = SCMP_CMP_NE,
		[OCI_CMP_LT] = SCMP_CMP_LT,
		[OCI_CMP_LE] = SCMP_CMP_LE,
		[OCI_CMP_EQ] = SCMP_CMP_EQ,
		[OCI_CMP_GE] = SCMP_CMP_GE,
		[OCI_CMP_GT] = SCMP_CMP_GT,
		[OCI_CMP_MASKED_EQ] = SCMP_CMP_MASKED_EQ,
	};

	return ops[op];
}

/* 0, or what libseccomp said: it refuses some profiles that contradict themselves. */
static int feed(scmp_filter_ctx ctx, const struct oci_seccomp *p)
{
	uint32_t fallback = scmp_action(p->default_action, &p->default_errno_ret);

	for (size_t i = 0; i < p->rules_n; i++) {
		const struct oci_seccomp_rule *rule = &p->rules[i];
		uint32_t action = scmp_action(rule->action, &rule->errno_ret);
		struct scmp_arg_cmp cmp[6];
		unsigned int uses[6] = { 0 };
		int twice = 0;

		if (action == fallback)
			continue;
		for (size_t k = 0; k < rule->args_n; k++) {
			const struct oci_seccomp_arg *a = &rule->args[k];

			cmp[k] = (struct scmp_arg_cmp){ a->index, scmp_op(a->op), a->value,
							a->value_two };
			twice |= ++uses[a->index] > 1;
		}
		for (size_t k = 0; k < rule->names.n; k++) {
			int nr = seccomp_syscall_resolve_name(rule->names.v[k]), r = 0;

			if (nr == __NR_SCMP_ERROR)
				continue;
			if (!twice)
				r = seccomp_rule_add_array(ctx, action, nr,
							   (unsigned int)rule->args_n, cmp);
			for (size_t a = 0; twice && !r && a < rule->args_n; a++)
				r = seccomp_rule_add_array(ctx, action, nr, 1, &cmp[a]);
			if (r)
				return r;
		}
	}
	return 0;
}

static int reference_compile(const struct oci_seccomp *p, struct reference *out)
{
	scmp_filter_ctx ctx = seccomp_init(scmp_action(p->default_action, &p->default_errno_ret));

	assert_non_null(ctx);
	for (size_t i = 0; i < p->architectures.n; i++) {
		char name[32];

		/* "SCMP_ARCH_X86" -> "x86" */
		snprintf(name, sizeof(name), "%s", p->architectures.v[i] + 10);
		for (char *s = name; *s; s++)
			*s = (char)(*s >= 'A' && *s <= 'Z' ? *s + 32 : *s);
		int r = seccomp_arch_add(ctx, seccomp_arch_resolve_name(name));

		assert_true(r == 0 || r == -EEXIST);
	}
	int r = feed(ctx, p);

	if (!r) {
		int fd = memfd_create("bpf", MFD_CLOEXEC);

		assert_true(fd >= 0);
		r = seccomp_export_bpf(ctx, fd);
		off_t size = lseek(fd, 0, SEEK_END);

		assert_true(size >= 0 && size < PROGRAM_MAX);
		out->n = (size_t)size / sizeof(*out->insn);
		out->insn = malloc((size_t)size + 1);
		assert_int_equal(pread(fd, out->insn, (size_t)size, 0), size);
		close(fd);
	}
	seccomp_release(ctx);
	return r;
}

/* --- what the rules say, without any compiler --- */

static int cond_holds(const struct oci_seccomp_arg *a, uint64_t v, bool wide)
{
	uint64_t k = wide ? a->value : (uint32_t)a->value;

	if (!wide)
		v = (uint32_t)v;
	switch (a->op) {
	case OCI_CMP_NE:
		return v != k;
	case OCI_CMP_LT:
		return v < k;
	case OCI_CMP_LE:
		return v <= k;
	case OCI_CMP_EQ:
		return v == k;
	case OCI_CMP_GE:
		return v >= k;
	case OCI_CMP_GT:
		return v > k;
	case OCI_CMP_MASKED_EQ:
		return (v & k) == (k & a->value_two);
	}
	return 0;
}

/* Whether some rule for the call gives `verdict` to these arguments (or none holds, and it is the default). */
static int justified(const struct oci_seccomp *p, const struct seccomp_data *d, enum abi abi,
		     uint32_t verdict)
{
	uint32_t fallback = scmp_action(p->default_action, &p->default_errno_ret);
	int any = 0;

	for (size_t i = 0; i < p->rules_n; i++) {
		const struct oci_seccomp_rule *r = &p->rules[i];
		uint32_t action = scmp_action(r->action, &r->errno_ret);

		for (size_t k = 0; k < r->names.n; k++) {
			const struct syscall_entry *s = syscall_lookup(r->names.v[k]);
			unsigned int uses[6] = { 0 }, held = 0;
			bool twice = false;

			bool muxed = s && abi == ABI_I386 &&
				     d->nr == (s->mux == MUX_SOCKETCALL ? 102
					       : s->mux			? 117
									: -1);

			if (action == fallback || !s || (s->nr[abi] != (d->nr & ~X32) && !muxed))
				continue;
			for (size_t a = 0; a < r->args_n; a++) {
				held += (muxed && !r->args[a].index) ||
					cond_holds(&r->args[a], d->args[r->args[a].index],
						   abi == ABI_X86_64);
				twice |= ++uses[r->args[a].index] > 1;
			}
			bool holds = (twice ? held > 0 : held == r->args_n) &&
				     (!muxed || (uint32_t)d->args[0] == s->sub);
			any |= holds;
			if (holds && action == verdict)
				return 1;
		}
	}
	return !any && verdict == fallback;
}

/* --- comparison --- */

struct tally {
	bool contradict;
	unsigned long compared, unjustified;
	unsigned long profiles, refused;
};

static uint64_t interesting[512];
static unsigned int interesting_n;

static void find_interesting(const struct oci_seccomp *p)
{
	static const uint64_t always[] = { 0, 1, UINT32_MAX, (uint64_t)1 << 32, UINT64_MAX };

	interesting_n = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(always); i++)
		interesting[interesting_n++] = always[i];
	for (size_t i = 0; i < p->rules_n; i++) {
		for (size_t k = 0; k < p->rules[i].args_n; k++) {
			uint64_t v = p->rules[i].args[k].value, w = p->rules[i].args[k].value_two;
			const uint64_t near[] = { v,	   v - 1,	v + 1,
						  w,	   v | w,	v ^ ((uint64_t)1 << 32),
						  v << 32, (uint32_t)v, w ^ ((uint64_t)1 << 40) };

			for (unsigned int j = 0; j < ARRAY_SIZE(near); j++) {
				unsigned int seen = 0;

				while (seen < interesting_n && interesting[seen] != near[j])
					seen++;
				if (seen == interesting_n &&
				    interesting_n < ARRAY_SIZE(interesting))
					interesting[interesting_n++] = near[j];
			}
		}
	}
}

static uint64_t rng_state = 88172645463325252u;

static uint32_t rng(uint32_t n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (uint32_t)(rng_state >> 20) % n;
}

/* The rules for the call in question. */
static void describe(const struct oci_seccomp *p, int nr, enum abi abi)
{
	for (size_t i = 0; i < p->rules_n; i++) {
		const struct oci_seccomp_rule *r = &p->rules[i];

		for (size_t k = 0; k < r->names.n; k++) {
			const struct syscall_entry *s = syscall_lookup(r->names.v[k]);

			if (!s || (s->nr[abi] != (nr & ~X32) && !(s->mux && abi == ABI_I386)))
				continue;
			print_error("rule %zu: %s -> %#x", i, r->names.v[k],
				    scmp_action(r->action, &r->errno_ret));
			for (size_t a = 0; a < r->args_n; a++)
				print_error(" arg%u op%d %#llx %#llx", r->args[a].index,
					    r->args[a].op, (unsigned long long)r->args[a].value,
					    (unsigned long long)r->args[a].value_two);
			print_error("\n");
		}
	}
}

/* Whether a rule for the call has a value of more than 32 bits. */
static bool upper_words(const struct oci_seccomp *p, int nr)
{
	for (size_t i = 0; i < p->rules_n; i++) {
		const struct oci_seccomp_rule *r = &p->rules[i];
		bool upper = false;

		for (size_t a = 0; a < r->args_n; a++)
			upper |= (r->args[a].value | r->args[a].value_two) >> 32 != 0;
		for (size_t k = 0; upper && k < r->names.n; k++) {
			const struct syscall_entry *s = syscall_lookup(r->names.v[k]);

			if (s && s->nr[ABI_X86_64] == nr)
				return true;
		}
	}
	return false;
}

static void compare_one(const struct oci_seccomp *p, const struct seccomp_program *ours,
			const struct reference *theirs, enum abi abi, const struct seccomp_data *d,
			struct tally *t)
{
	uint32_t a = cbpf_vm_run(cbpf_start(&ours->code), d, NULL);
	uint32_t b = cbpf_vm_run(theirs->insn, d, NULL);

	t->compared++;
	if (a == b)
		return;
	/* libseccomp 2.5 errs at times: it compares an upper word with what is still loaded from a lower one, and
	 * gives a value whose upper word is below the rules' to the rule that was added first instead of the
	 * narrowest. An answer that no rule gives is no yardstick, nor is the choice among contradicting rules
	 * with values of more than 32 bits. Ours is then held to the rules themselves. */
	if (justified(p, d, abi, a) &&
	    (!justified(p, d, abi, b) ||
	     (t->contradict && abi == ABI_X86_64 && upper_words(p, d->nr)))) {
		t->unjustified++;
		return;
	}
	describe(p, d->nr, abi);
	fail_msg("arch %#x nr %d args %#llx %#llx %#llx: ours %#x, libseccomp %#x", d->arch, d->nr,
		 (unsigned long long)d->args[0], (unsigned long long)d->args[1],
		 (unsigned long long)d->args[2], a, b);
}

/* Every number with every interesting value in each of the arguments that rules look at. */
static void compare(const struct oci_seccomp *p, const struct seccomp_program *ours,
		    const struct reference *theirs, unsigned int random_rounds, struct tally *t)
{
	static const int odd[] = { -1, -2, X32 - 1, X32 + 4095, 1 << 20 };

	assert_true(cbpf_vm_valid(cbpf_start(&ours->code), ours->code.n));
	assert_true(cbpf_vm_valid(theirs->insn, theirs->n));
	find_interesting(p);
	for (enum abi abi = 0; abi < ABI_COUNT; abi++) {
		for (int nr = 0; nr < 700 + (int)ARRAY_SIZE(odd); nr++) {
			struct seccomp_data d = { .arch = audit_arch[abi] };

			d.nr = nr >= 700 ? odd[nr - 700] : abi == ABI_X32 ? nr | X32 : nr;
			compare_one(p, ours, theirs, abi, &d, t);
			for (unsigned int i = 0; i < interesting_n; i++) {
				for (unsigned int arg = 0; arg < 6; arg++)
					d.args[arg] = interesting[i];
				compare_one(p, ours, theirs, abi, &d, t);
			}
			for (unsigned int i = 0; i < random_rounds; i++) {
				for (unsigned int arg = 0; arg < 6; arg++)
					d.args[arg] = interesting[rng(interesting_n)];
				compare_one(p, ours, theirs, abi, &d, t);
			}
		}
	}
	struct seccomp_data arm = { .arch = AUDIT_ARCH_AARCH64 };

	compare_one(p, ours, theirs, ABI_X86_64, &arm, t);
}

static struct seccomp_program ours; /* 32 KB */

static void compile_and_compare(const struct oci_seccomp *p, unsigned int random_rounds,
				struct tally *t)
{
	struct reference theirs = { NULL, 0 };
	struct err e = ERR_INIT;

	if (container_seccomp_compile(p, &ours, &e))
		fail_msg("%s", e.msg);
	t->profiles++;
	if (reference_compile(p, &theirs)) {
		t->refused++;
		return;
	}
	compare(p, &ours, &theirs, random_rounds, t);
	free(theirs.insn);
}

/* --- random profiles --- */

enum { RULES = 40, NAMES = 6 };

struct random_profile {
	struct oci_seccomp p;
	struct oci_seccomp_rule rules[RULES];
	struct oci_seccomp_arg args[RULES][4];
	const char *names[RULES][NAMES + 1];
};

static uint64_t random_value(void)
{
	static const uint64_t some[] = { 0, 1, 2, 3, 5, 8, 0xff, 0x20000, 0x7e020000, UINT32_MAX };
	uint64_t v = some[rng(ARRAY_SIZE(some))];

	switch (rng(6)) {
	case 0:
		return v << 32 | rng(4);
	case 1:
		return (uint64_t)rng(3) << 32 | v;
	default:
		return v;
	}
}

/* Names that meet in few calls, so that rules do; with `contradict` the actions of one call differ too. */
static void make_profile(struct random_profile *r, bool contradict)
{
	static const char *const arch[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32" };
	static const char *archs[4];
	static const char *const hot[] = { "socket",	 "clone", "ioctl", "personality",
					   "mmap",	 "bind",  "semop", "prctl",
					   "socketcall", "ipc",	  "recv",  "setuid32" };
	size_t n = 0;

	memset(r, 0, sizeof(*r));
	for (unsigned int i = 0; i < 3; i++)
		if (rng(3))
			archs[n++] = arch[i];
	r->p.architectures = (struct oci_strings){ archs, n };
	r->p.default_action = (enum oci_seccomp_action)rng(7);
	if (r->p.default_action == OCI_SECCOMP_ERRNO && rng(2))
		r->p.default_errno_ret = (struct oci_num){ true, rng(134) };
	r->p.rules = r->rules;
	r->p.rules_n = 1 + rng(RULES - 1);
	for (size_t i = 0; i < r->p.rules_n; i++) {
		struct oci_seccomp_rule *rule = &r->rules[i];

		rule->names.n = 1 + rng(NAMES);
		rule->names.v = r->names[i];
		for (size_t k = 0; k < rule->names.n; k++) {
			unsigned int any = rng(520);
			const struct syscall_entry *s = syscall_at(any);

			r->names[i][k] = rng(3) ? hot[rng(ARRAY_SIZE(hot))]
					 : s && seccomp_syscall_resolve_name(syscall_name(s)) !=
								 __NR_SCMP_ERROR
						 ? syscall_name(s)
						 : "no_such_call";
		}
		rule->action = contradict ? (enum oci_seccomp_action)rng(7) : OCI_SECCOMP_ALLOW;
		if ((rule->action == OCI_SECCOMP_ERRNO || rule->action == OCI_SECCOMP_TRACE) &&
		    rng(2))
			rule->errno_ret = (struct oci_num){ true, rng(134) };
		rule->args = r->args[i];
		rule->args_n = rng(5) ? contradict ? 1 : 1 + rng(3) : 0;
		for (size_t k = 0; k < rule->args_n; k++)
			r->args[i][k] = (struct oci_seccomp_arg){
				.index = rng(3),
				.value = random_value(),
				.value_two = random_value(),
				.op = (enum oci_seccomp_op)rng(7),
			};
	}
}

static void random_profiles(bool contradict, unsigned int count, struct tally *t)
{
	static struct random_profile r;

	for (unsigned int i = 0; i < count; i++) {
		make_profile(&r, contradict);
		compile_and_compare(&r.p, 12, t);
	}
	print_message("    %lu profiles (%lu refused by libseccomp), %lu verdicts compared, "
		      "%lu of libseccomp's against the rules\n",
		      t->profiles, t->refused, t->compared, t->unjustified);
}

static void random_profiles_agree(void **state)
{
	struct tally t = { 0 };

	(void)state;
	random_profiles(false, 120, &t);
	assert_true(t.unjustified < t.compared / 10000);
}

static void contradicting_profiles_agree(void **state)
{
	struct tally t = { .contradict = true };

	(void)state;
	random_profiles(true, 240, &t);
	assert_true(t.unjustified < t.compared / 10000);
}

/* --- the default profile --- */

/* Drops the names that this libseccomp is too old for. */
static void keep_known(struct oci_seccomp *p)
{
	for (size_t i = 0; i < p->rules_n; i++) {
		struct oci_strings *names = &p->rules[i].names;
		size_t n = 0;

		for (size_t k = 0; k < names->n; k++)
			if (seccomp_syscall_resolve_name(names->v[k]) != __NR_SCMP_ERROR)
				names->v[n++] = names->v[k];
		names->n = n;
	}
}

static struct oci_spec *default_profile(uint64_t caps)
{
	struct json_object *o;
	struct oci_spec *spec;
	struct err e = ERR_INIT;

	assert_int_equal(bundle_seccomp_default(caps, &o, &e), 0);
	const char *text = json_object_to_json_string(o);

	if (oci_seccomp_parse(text, strlen(text), "default", &spec, &e))
		fail_msg("%s", e.msg);
	json_object_put(o);
	return spec;
}

#define CAP(n) (UINT64_C(1) << (n))

static void default_profile_agrees(void **state)
{
	/* docker's capabilities, none, all, and a few that change the profile */
	static const uint64_t caps[] = { 0xa80425fb, 0, UINT64_MAX, CAP(CAP_SYS_ADMIN),
					 CAP(CAP_BPF) | CAP(CAP_SYSLOG) | CAP(CAP_SYS_NICE) };
	struct tally t = { 0 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(caps); i++) {
		struct oci_spec *spec = default_profile(caps[i]);

		keep_known(spec->linux_->seccomp);
		compile_and_compare(spec->linux_->seccomp, 12, &t);
		oci_spec_free(spec);
	}
	assert_int_equal(t.refused, 0);
	assert_int_equal(t.unjustified, 0);
}

static uint32_t verdict(const struct seccomp_program *p, uint32_t arch, int nr, uint64_t arg0)
{
	struct seccomp_data d = { .arch = arch, .nr = nr, .args = { arg0 } };

	return cbpf_vm_run(cbpf_start(&p->code), &d, NULL);
}

/* The points that people rely on, by hand: not by comparison. */
static void default_profile_says(void **state)
{
	struct oci_spec *spec = default_profile(0xa80425fb);
	const uint32_t allow = SECCOMP_RET_ALLOW, eperm = SECCOMP_RET_ERRNO | 1,
		       enosys = SECCOMP_RET_ERRNO | 38;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(container_seccomp_compile(spec->linux_->seccomp, &ours, &e), 0);
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 0, 0), allow);	    /* read */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 165, 0), eperm);	    /* mount */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 435, 0), enosys);	    /* clone3 */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 272, 0), eperm);	    /* unshare */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 41, 2), allow);	    /* AF_INET */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 41, 38), eperm);	    /* AF_ALG */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 41, 40), eperm);	    /* AF_VSOCK */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 56, 0x11), allow);	    /* fork */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 56, 0x10000000), eperm); /* NEWUSER */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 135, 0x20000), allow);
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 135, 0x40000), eperm); /* no ASLR */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 135, (uint64_t)1 << 32), eperm);
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, 462, 0), allow); /* mseal */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_X86_64, X32 | 0, 0), allow);
	assert_int_equal(verdict(&ours, AUDIT_ARCH_I386, 3, 0), allow);	 /* read */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_I386, 21, 0), eperm); /* mount */
	assert_int_equal(verdict(&ours, AUDIT_ARCH_AARCH64, 0, 0), SECCOMP_RET_KILL_THREAD);
	oci_spec_free(spec);
}

/* Figures for a reader of the log, and a bound that only a blunder exceeds. */
static void default_profile_is_small_and_quick(void **state)
{
	struct oci_spec *spec = default_profile(0xa80425fb);
	struct timespec from, to;
	struct err e = ERR_INIT;
	long best = 0;
	unsigned int steps, worst = 0;

	(void)state;
	for (unsigned int i = 0; i < 50; i++) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		assert_int_equal(container_seccomp_compile(spec->linux_->seccomp, &ours, &e), 0);
		clock_gettime(CLOCK_MONOTONIC, &to);
		long ns = (to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec;

		if (!i || ns < best)
			best = ns;
	}
	for (int nr = 0; nr < 470; nr++) {
		struct seccomp_data d = { .arch = AUDIT_ARCH_X86_64, .nr = nr };

		cbpf_vm_run(cbpf_start(&ours.code), &d, &steps);
		worst = steps > worst ? steps : worst;
	}
	print_message("    %u instructions, compiled in %ld us, at most %u steps a call\n",
		      ours.code.n, best / 1000, worst);
	assert_true(ours.code.n < 600);
	assert_true(best < 3000000);
	assert_true(worst < 60);
	oci_spec_free(spec);
}

/* --- what is refused --- */

static void wrong_profiles_are_refused(void **state)
{
	static const struct {
		const char *json, *error;
	} wrong[] = {
		{ "{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", "defaultAction" },
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":1}",
		  "defaultErrnoRet" },
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_Z80\"]}",
		  "architectures[0]" },
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"NO_FLAG\"]}", "flags[0]" },
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
		  "\"action\":\"SCMP_ACT_LOG\",\"errnoRet\":1}]}",
		  "syscalls[0].errnoRet" },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct oci_spec *spec;
		struct err e = ERR_INIT;

		if (oci_seccomp_parse(wrong[i].json, strlen(wrong[i].json), "profile", &spec, &e))
			fail_msg("%s", e.msg);
		assert_true(container_seccomp_compile(spec->linux_->seccomp, &ours, &e) < 0);
		if (!strstr(e.msg, wrong[i].error))
			fail_msg("'%s' does not name '%s'", e.msg, wrong[i].error);
		oci_spec_free(spec);
	}
}

/* A filter that cannot fit, and one that has more rules than the compiler takes. */
static void too_large_is_refused(void **state)
{
	enum { MANY = 9000 };
	static struct oci_seccomp_rule rules[MANY];
	static struct oci_seccomp_arg args[MANY];
	static const char *name[] = { "ioctl" };
	struct oci_seccomp p = { .default_action = OCI_SECCOMP_ERRNO, .rules = rules };
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned int i = 0; i < MANY; i++) {
		args[i] = (struct oci_seccomp_arg){ .index = 1,
						    .value = (uint64_t)i << 32 | i,
						    .op = OCI_CMP_EQ };
		rules[i] = (struct oci_seccomp_rule){ .names = { name, 1 },
						      .action = OCI_SECCOMP_ALLOW,
						      .args = &args[i],
						      .args_n = 1 };
	}
	p.rules_n = 3000;
	assert_int_equal(container_seccomp_compile(&p, &ours, &e), -E2BIG);
	assert_non_null(strstr(e.msg, "4096 instructions"));
	p.rules_n = MANY;
	assert_int_equal(container_seccomp_compile(&p, &ours, &e), -E2BIG);
	p.rules_n = 600;
	assert_int_equal(container_seccomp_compile(&p, &ours, &e), 0);
	assert_true(cbpf_vm_valid(cbpf_start(&ours.code), ours.code.n));
	for (unsigned int i = 0; i < 700; i++) {
		struct seccomp_data d = { .arch = AUDIT_ARCH_X86_64, .nr = 16 };

		d.args[1] = (uint64_t)i << 32 | i;
		assert_int_equal(cbpf_vm_run(cbpf_start(&ours.code), &d, NULL),
				 i < 600 ? SECCOMP_RET_ALLOW : (SECCOMP_RET_ERRNO | 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_profile_agrees),
		cmocka_unit_test(default_profile_says),
		cmocka_unit_test(default_profile_is_small_and_quick),
		cmocka_unit_test(wrong_profiles_are_refused),
		cmocka_unit_test(too_large_is_refused),
		cmocka_unit_test(random_profiles_agree),
		cmocka_unit_test(contradicting_profiles_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
