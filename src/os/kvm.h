/* KVM's ioctls, one thin function each. All return 0 or a useful value, else -errno. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* On the /dev/kvm descriptor. */
int kvm_api_version(int kvm);
int kvm_vm_create(int kvm);
int kvm_vcpu_mmap_size(int kvm);
/* `cpuid->nent` is the room on entry, the number filled on return. */
int kvm_supported_cpuid(int kvm, struct kvm_cpuid2 *cpuid);

/* On a VM; kvm_check also on /dev/kvm. */
int kvm_check(int fd, unsigned capability);
int kvm_memory_region(int vm, uint32_t slot, uint64_t gpa, uint64_t size, void *host,
		      uint32_t flags);
int kvm_vcpu_create(int vm, unsigned index);
/* Writes of `len` bytes to `gpa` signal `eventfd` without an exit; with `match`, only of `value`. */
int kvm_ioeventfd(int vm, int eventfd, uint64_t gpa, uint32_t len, bool match, uint64_t value,
		  bool remove);
/* Interrupt controllers in the kernel, before the first vCPU; `address` is three pages that Intel wants. */
int kvm_set_tss_addr(int vm, uint32_t address);
int kvm_irqchip_create(int vm);
/* A signal on `eventfd` is an edge on `gsi`. */
int kvm_irqfd(int vm, int eventfd, uint32_t gsi);

/* On a vCPU. kvm_run gives -EINTR when a signal ended it. */
int kvm_run(int vcpu);
int kvm_get_regs(int vcpu, struct kvm_regs *regs);
int kvm_set_regs(int vcpu, const struct kvm_regs *regs);
int kvm_get_sregs(int vcpu, struct kvm_sregs *sregs);
int kvm_set_sregs(int vcpu, const struct kvm_sregs *sregs);
int kvm_set_cpuid(int vcpu, const struct kvm_cpuid2 *cpuid);
/* The number of MSRs set; less than `msrs->nmsrs` names the first that was refused. */
int kvm_set_msrs(int vcpu, const struct kvm_msrs *msrs);
int kvm_set_xcrs(int vcpu, const struct kvm_xcrs *xcrs);
int kvm_get_lapic(int vcpu, struct kvm_lapic_state *lapic);
int kvm_set_lapic(int vcpu, const struct kvm_lapic_state *lapic);
int kvm_get_tsc_khz(int vcpu);
int kvm_get_events(int vcpu, struct kvm_vcpu_events *events);
int kvm_set_events(int vcpu, const struct kvm_vcpu_events *events);

/* Calls `fn` for each counter of a VM or a vCPU that is a plain number. 0, or -errno where KVM has none. */
typedef void kvm_stat_fn(void *arg, const char *name, uint64_t value);
int kvm_stats_each(int fd, kvm_stat_fn *fn, void *arg);
/* The same in two steps: a descriptor of the counters, or -errno, and one reading. */
int kvm_stats_open(int fd);
int kvm_stats_read(int stats, kvm_stat_fn *fn, void *arg);
