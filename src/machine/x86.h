/* x86-64 processors and their in-kernel interrupt controllers, as a machine with hardware virtualization
 * has them. */
#pragma once

#include "machine/linux.h"
#include "machine/memory.h"
#include "machine/vcpu.h"

/* Interrupt controllers and identity map, before the first vCPU. 0 or -errno. */
int x86_machine_init(struct machine *m, struct err *e);

/* One of `n` vCPUs: CPUID, MSRs, local APIC. MSRs that the host refuses are logged and skipped. */
int x86_vcpu_init(struct machine *m, struct vcpu *v, unsigned n, struct err *e);

/* Writes GDT and page tables and puts the first vCPU into long mode at `entry`. The others wait for the
 * kernel's INIT and SIPI. */
int x86_vcpu_start(struct vcpu *v, const struct memory *mem, const struct linux_entry *entry,
		   struct err *e);
