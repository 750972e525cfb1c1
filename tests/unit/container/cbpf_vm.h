/* What a classic BPF program answers, computed the slow and obvious way. Shared by the seccomp tests and the
 * fuzz target. */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The rules of the kernel's checker for seccomp programs, as far as our and libseccomp's use goes. */
static inline int cbpf_vm_valid(const struct sock_filter *p, size_t n)
{
	if (!n || n > BPF_MAXINSNS || BPF_CLASS(p[n - 1].code) != BPF_RET)
		return 0;
	for (size_t i = 0; i < n; i++) {
		size_t left = n - i - 1;

		switch (p[i].code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (p[i].k % 4 || p[i].k >= sizeof(struct seccomp_data))
				return 0;
			break;
		case BPF_RET | BPF_K:
		case BPF_ALU | BPF_AND | BPF_K:
			break;
		case BPF_JMP | BPF_JA:
			if (p[i].k >= left)
				return 0;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
		case BPF_JMP | BPF_JGT | BPF_K:
		case BPF_JMP | BPF_JGE | BPF_K:
		case BPF_JMP | BPF_JSET | BPF_K:
			if (p[i].jt >= left || p[i].jf >= left)
				return 0;
			break;
		default:
			return 0;
		}
	}
	return 1;
}

/* The verdict of a valid program; `steps` may be NULL. */
static inline uint32_t cbpf_vm_run(const struct sock_filter *p, const struct seccomp_data *d,
				   unsigned int *steps)
{
	uint32_t a = 0;

	for (unsigned int count = 1;; p++, count++) {
		int jump;

		switch (p->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&a, (const char *)d + p->k, 4);
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= p->k;
			continue;
		case BPF_RET | BPF_K:
			if (steps)
				*steps = count;
			return p->k;
		case BPF_JMP | BPF_JA:
			p += p->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			jump = a == p->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			jump = a > p->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			jump = a >= p->k;
			break;
		default:
			jump = (a & p->k) != 0;
			break;
		}
		p += jump ? p->jt : p->jf;
	}
}
