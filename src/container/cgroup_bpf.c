/*
 * A compiler from device rules to a program of type BPF_PROG_TYPE_CGROUP_DEVICE.
 *
 * The kernel asks the program for every open and mknod of a device: type, major, minor, and the wanted accesses
 * (read, write, mknod) as bits. The rules are an ordered list in which the later one wins, for each access bit
 * separately. So the program goes through them from the last to the first and keeps the bits that no rule has
 * decided yet (r3): a rule that fits and allows takes its bits away, and when none is left the answer is yes; a rule
 * that fits and denies one of the undecided bits answers no. What is left at the end is denied. A rule for all
 * devices and all accesses ends the list, since nothing before it can count.
 *
 * Registers: r2 type, r3 undecided access bits, r4 major, r5 minor, r0 the answer.
 *
 * Trust: rules were checked by the parser; the verifier checks the program. Threads: any. #syscalls: none
 */
#include "container/cgroup_bpf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/util.h"

enum { INSNS_PER_RULE = 10, INSNS_AROUND = 8, INSNS_MAX = 65536 };

/* Read, write and make a character device; minor -1: any. */
#define CHARACTER(number, least)                                                               \
	{                                                                                      \
		.allow = true, .type = 'c', .major = (number), .minor = (least), .read = true, \
		.write = true, .mknod = true                                                   \
	}

const struct oci_device_rule cgroup_default_devices[] = {
	{ .allow = true, .type = 'c', .major = -1, .minor = -1, .mknod = true },
	{ .allow = true, .type = 'b', .major = -1, .minor = -1, .mknod = true },
	CHARACTER(1, 3), /* null, zero, full, random, urandom */
	CHARACTER(1, 5),
	CHARACTER(1, 7),
	CHARACTER(1, 8),
	CHARACTER(1, 9),
	CHARACTER(5, 0), /* tty, ptmx, pts/N */
	CHARACTER(5, 2),
	CHARACTER(136, -1),
};
const size_t cgroup_default_devices_n = ARRAY_SIZE(cgroup_default_devices);

struct program {
	struct bpf_insn *v;
	size_t n;
};

static void emit(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off,
		 int32_t imm)
{
	p->v[p->n++] = (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm
	};
}

static int32_t access_bits(const struct oci_device_rule *r)
{
	return (r->read ? BPF_DEVCG_ACC_READ : 0) | (r->write ? BPF_DEVCG_ACC_WRITE : 0) |
	       (r->mknod ? BPF_DEVCG_ACC_MKNOD : 0);
}

bool cgroup_rule_covers_all(const struct oci_device_rule *r)
{
	return r->type == 'a' && r->major < 0 && r->minor < 0 && r->read && r->write && r->mknod;
}

/* Skips to the end of the rule, which is patched when it is known. */
static void skip_unless(struct program *p, uint8_t reg, int32_t value)
{
	emit(p, BPF_JMP | BPF_JNE | BPF_K, reg, 0, 0, value);
}

static void compile_rule(struct program *p, const struct oci_device_rule *r)
{
	size_t start = p->n;

	if (r->type == 'c' || r->type == 'b')
		skip_unless(p, BPF_REG_2,
			    r->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (r->major >= 0)
		skip_unless(p, BPF_REG_4, (int32_t)r->major);
	if (r->minor >= 0)
		skip_unless(p, BPF_REG_5, (int32_t)r->minor);
	size_t guards = p->n;

	if (r->allow) {
		emit(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_3, 0, 0, ~access_bits(r) & 7);
		emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_3, 0, 2, 0);
		emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
		emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	} else {
		emit(p, BPF_JMP | BPF_JSET | BPF_K, BPF_REG_3, 0, 1, access_bits(r));
		emit(p, BPF_JMP | BPF_JA, 0, 0, 2, 0);
		emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
		emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	}
	for (size_t i = start; i < guards; i++)
		p->v[i].off = (int16_t)(p->n - i - 1);
}

int cgroup_bpf_compile(const struct oci_device_rule *rules, size_t n, struct bpf_insn **out)
{
	struct program p = { 0 };
	bool open_end = true;

	if (n > (INSNS_MAX - INSNS_AROUND) / INSNS_PER_RULE)
		return -E2BIG;
	p.v = calloc(n * INSNS_PER_RULE + INSNS_AROUND, sizeof(*p.v));
	if (!p.v)
		return -ENOMEM;
	/* struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | type), major, minor } */
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, 0, 0);
	emit(&p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
	emit(&p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	emit(&p, BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, 4, 0);
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, 8, 0);
	for (size_t i = n; i-- > 0 && open_end;) {
		if (cgroup_rule_covers_all(&rules[i])) {
			emit(&p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, rules[i].allow);
			emit(&p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
			open_end = false;
		} else {
			compile_rule(&p, &rules[i]);
		}
	}
	if (open_end) {
		emit(&p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
		emit(&p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	}
	*out = p.v;
	return (int)p.n;
}
