/* Device rules as BPF: the compiled program, run by a small interpreter, against what the rules mean. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "container/cgroup_bpf.h"

/* Runs the program for one request, as the kernel would. Anything it should not contain fails the test. */
static int run_program(const struct bpf_insn *p, int n, char type, int access, uint32_t major,
		       uint32_t minor)
{
	uint32_t ctx[3] = { (uint32_t)access << 16 |
				    (type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR),
			    major, minor };
	uint64_t r[10] = { 0 };

	for (int pc = 0, steps = 0; steps < 100000; pc++, steps++) {
		assert_true(pc >= 0 && pc < n);
		const struct bpf_insn *i = &p[pc];
		uint64_t *d = &r[i->dst_reg];
		int64_t imm = i->imm;

		switch (i->code) {
		case BPF_LDX | BPF_MEM | BPF_W:
			assert_true(i->src_reg == 1 && i->off % 4 == 0 && i->off >= 0 &&
				    i->off <= 8);
			*d = ctx[i->off / 4];
			break;
		case BPF_ALU64 | BPF_MOV | BPF_X:
			*d = r[i->src_reg];
			break;
		case BPF_ALU64 | BPF_MOV | BPF_K:
			*d = (uint64_t)imm;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			*d = (uint32_t)*d & (uint32_t)imm;
			break;
		case BPF_ALU | BPF_RSH | BPF_K:
			*d = (uint32_t)*d >> imm;
			break;
		case BPF_JMP | BPF_JNE | BPF_K:
			pc += *d != (uint64_t)imm ? i->off : 0;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			pc += *d & (uint64_t)imm ? i->off : 0;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->off;
			break;
		case BPF_JMP | BPF_EXIT:
			return (int)r[0];
		default:
			fail_msg("instruction %d: code %#x", pc, i->code);
		}
	}
	fail();
	return -1;
}

/* What the rules mean, one access bit at a time: the last rule that fits decides. */
static int verdict(const struct oci_device_rule *rules, size_t n, char type, int access,
		   int64_t major, int64_t minor)
{
	for (int bit = 1; bit <= 4; bit <<= 1) {
		bool allowed = false;

		if (!(access & bit))
			continue;
		for (size_t i = 0; i < n; i++) {
			const struct oci_device_rule *r = &rules[i];
			int bits = r->mknod * BPF_DEVCG_ACC_MKNOD + r->read * BPF_DEVCG_ACC_READ +
				   r->write * BPF_DEVCG_ACC_WRITE;

			if ((r->type == 'a' || r->type == type) &&
			    (r->major < 0 || r->major == major) &&
			    (r->minor < 0 || r->minor == minor) && (bits & bit))
				allowed = r->allow;
		}
		if (!allowed)
			return 0;
	}
	return 1;
}

static void compare_all(const struct oci_device_rule *rules, size_t n)
{
	struct bpf_insn *p = NULL;
	int len = cgroup_bpf_compile(rules, n, &p);

	assert_true(len > 0);
	for (int type = 0; type < 2; type++)
		for (int access = 1; access < 8; access++)
			for (uint32_t major = 0; major < 4; major++)
				for (uint32_t minor = 0; minor < 4; minor++) {
					char t = type ? 'b' : 'c';
					int want = verdict(rules, n, t, access, major, minor);
					int got = run_program(p, len, t, access, major, minor);

					if (want != got)
						fail_msg("%c %u:%u access %d: %d, not %d", t, major,
							 minor, access, got, want);
				}
	free(p);
}

static void nothing_allows_nothing(void **state)
{
	compare_all(NULL, 0);
}

static void defaults_allow_null_and_not_memory(void **state)
{
	struct bpf_insn *p = NULL;
	int n = cgroup_bpf_compile(cgroup_default_devices, cgroup_default_devices_n, &p);

	assert_true(n > 0);
	assert_int_equal(run_program(p, n, 'c', 6, 1, 3), 1);	/* /dev/null, read and write */
	assert_int_equal(run_program(p, n, 'c', 2, 1, 1), 0);	/* /dev/mem */
	assert_int_equal(run_program(p, n, 'c', 1, 1, 1), 1);	/* mknod of it is harmless */
	assert_int_equal(run_program(p, n, 'c', 6, 136, 9), 1); /* a terminal */
	assert_int_equal(run_program(p, n, 'b', 2, 8, 0), 0);	/* a disk */
	free(p);
}

/* Every verdict of many small rule lists from a fixed sequence. */
static void agrees_with_the_meaning(void **state)
{
	uint32_t seed = 12345;

	for (int round = 0; round < 3000; round++) {
		struct oci_device_rule rules[6];
		size_t n = 0;

		while (n < ARRAY_SIZE(rules)) {
			seed = seed * 1664525 + 1013904223;
			uint32_t x = seed >> 8;

			rules[n++] = (struct oci_device_rule){
				.allow = x & 1,
				.type = "abc"[(x >> 1) % 3],
				.major = (int)((x >> 3) % 5) - 1,
				.minor = (int)((x >> 6) % 5) - 1,
				.read = x >> 9 & 1,
				.write = x >> 10 & 1,
				.mknod = x >> 11 & 1,
			};
		}
		compare_all(rules, 1 + seed % n);
	}
}

static void a_flood_of_rules_is_refused(void **state)
{
	struct oci_device_rule *rules = calloc(10000, sizeof(*rules));
	struct bpf_insn *p = NULL;

	assert_non_null(rules);
	assert_int_equal(cgroup_bpf_compile(rules, 10000, &p), -E2BIG);
	free(rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_allows_nothing),
		cmocka_unit_test(defaults_allow_null_and_not_memory),
		cmocka_unit_test(agrees_with_the_meaning),
		cmocka_unit_test(a_flood_of_rules_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
