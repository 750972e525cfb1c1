/* What CPUID tells a guest: the host's answers, shaped. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>

/* Features that are withheld, so that guests see the same processor on different hosts. */
struct cpu_template;

/* "host" (all that KVM offers; also for NULL), "x86-64-v2", "x86-64-v3" (the levels of the x86-64 psABI).
 * NULL: there is none of this name. */
const struct cpu_template *cpu_template_find(const char *name);

/* For vCPU `index` of `n` in one package: features, identity, topology. */
void cpuid_shape(struct kvm_cpuid_entry2 *entry, size_t entries,
		 const struct cpu_template *template, unsigned index, unsigned n,
		 bool tsc_deadline);
