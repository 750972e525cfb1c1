/* A seccomp profile all the way to verdicts: the program that comes out is one that the kernel would take, and answers
 * every call. */
#include <errno.h>
#include <linux/audit.h>

#include "../tests/unit/container/cbpf_vm.h"
#include "container/seccomp.h"
#include "container/syscalls.h"
#include "fuzz.h"

static struct seccomp_program program; /* 32 KB */

static void run_all(const struct oci_seccomp *p)
{
	static const uint32_t arch[] = { AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64 };
	const struct sock_filter *start = cbpf_start(&program.code);

	FUZZ_CHECK(cbpf_vm_valid(start, program.code.n));
	for (unsigned int a = 0; a < 3; a++) {
		for (int nr = -1; nr < 600; nr += 7) {
			struct seccomp_data d = { .arch = arch[a], .nr = nr };
			unsigned int steps;

			for (size_t i = 0; i < p->rules_n && i < 4; i++)
				for (size_t k = 0; k < p->rules[i].args_n; k++)
					d.args[p->rules[i].args[k].index] =
						p->rules[i].args[k].value;
			cbpf_vm_run(start, &d, &steps);
			FUZZ_CHECK(steps <= program.code.n);
		}
	}
}

/* A rule without conditions that comes first for its call decides it. */
static void check_first_rule(const struct oci_seccomp *p)
{
	if (!p->rules_n || p->rules[0].args_n || p->rules[0].action != OCI_SECCOMP_ALLOW)
		return;
	for (size_t i = 0; i < p->rules[0].names.n; i++) {
		const struct syscall_entry *s = syscall_lookup(p->rules[0].names.v[i]);
		struct seccomp_data d = { .arch = AUDIT_ARCH_X86_64 };

		if (!s || s->nr[ABI_X86_64] < 0)
			continue;
		d.nr = s->nr[ABI_X86_64];
		FUZZ_CHECK(cbpf_vm_run(cbpf_start(&program.code), &d, NULL) == SECCOMP_RET_ALLOW);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *json = fuzz_string(data, size);
	struct oci_spec *spec = NULL;
	struct err e = ERR_INIT;

	if (oci_seccomp_parse(json, size, "profile", &spec, &e) == 0) {
		const struct oci_seccomp *p = spec->linux_->seccomp;
		int r = container_seccomp_compile(p, &program, &e);

		if (r) {
			FUZZ_CHECK_ERROR(r, e);
		} else {
			run_all(p);
			check_first_rule(p);
		}
		oci_spec_free(spec);
	}
	free(json);
	return 0;
}
