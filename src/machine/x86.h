/* x86-64 processors and their in-kernel interrupt controllers, as a machine with hardware virtualization
 * has them. */
#pragma once

#include "machine/boot.h"
#include "machine/cpuid.h"
#include "machine/memory.h"
#include "machine/vcpu.h"

/* Interrupt controllers and identity map, before the first vCPU. 0 or -errno. */
int x86_machine_init(struct machine *m, struct err *e);

/* One of `n` vCPUs: CPUID, MSRs, local APIC. MSRs that the host refuses are logged, counted and skipped. */
int x86_vcpu_init(struct machine *m, struct vcpu *v, const struct cpu_template *template,
		  unsigned n, struct err *e);

/* Writes GDT and page tables and puts the first vCPU at `entry` in the mode that it asks for. The others wait
 * for the kernel's INIT and SIPI. */
int x86_vcpu_start(struct vcpu *v, const struct memory *mem, const struct boot_entry *entry,
		   struct err *e);
