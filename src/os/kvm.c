/*
 * /dev/kvm, thinly.
 *
 * Trust: none to decide here; arguments are the caller's. Threads: any; KVM_RUN and register calls belong on the
 * vCPU's own thread. #syscalls: ioctl
 * #syscalls(start): pread64 close
 * #syscalls(main): pread64 close
 * #ioctls(main): KVM_GET_STATS_FD
 */
#include "os/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"

#define STAT_NAME_MAX 128u

static int call(int fd, unsigned long request, const void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

static int call_n(int fd, unsigned long request, unsigned long n)
{
	int r = ioctl(fd, request, n);

	return r < 0 ? -errno : r;
}

int kvm_api_version(int kvm)
{
	return call_n(kvm, KVM_GET_API_VERSION, 0);
}

int kvm_vm_create(int kvm)
{
	return call_n(kvm, KVM_CREATE_VM, 0);
}

int kvm_vcpu_mmap_size(int kvm)
{
	return call_n(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
}

int kvm_supported_cpuid(int kvm, struct kvm_cpuid2 *cpuid)
{
	return call(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
}

int kvm_check(int fd, unsigned capability)
{
	return call_n(fd, KVM_CHECK_EXTENSION, capability);
}

int kvm_memory_region(int vm, uint32_t slot, uint64_t gpa, uint64_t size, void *host,
		      uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uint64_t)(uintptr_t)host,
	};

	return call(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

int kvm_vcpu_create(int vm, unsigned index)
{
	return call_n(vm, KVM_CREATE_VCPU, index);
}

int kvm_ioeventfd(int vm, int eventfd, uint64_t gpa, uint32_t len, bool match, uint64_t value,
		  bool remove)
{
	struct kvm_ioeventfd event = {
		.datamatch = value,
		.addr = gpa,
		.len = len,
		.fd = eventfd,
		.flags = (match ? (uint32_t)KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (remove ? (uint32_t)KVM_IOEVENTFD_FLAG_DEASSIGN : 0),
	};

	return call(vm, KVM_IOEVENTFD, &event);
}

int kvm_run(int vcpu)
{
	return call_n(vcpu, KVM_RUN, 0);
}

int kvm_get_regs(int vcpu, struct kvm_regs *regs)
{
	return call(vcpu, KVM_GET_REGS, regs);
}

int kvm_set_regs(int vcpu, const struct kvm_regs *regs)
{
	return call(vcpu, KVM_SET_REGS, regs);
}

int kvm_get_sregs(int vcpu, struct kvm_sregs *sregs)
{
	return call(vcpu, KVM_GET_SREGS, sregs);
}

int kvm_set_sregs(int vcpu, const struct kvm_sregs *sregs)
{
	return call(vcpu, KVM_SET_SREGS, sregs);
}

int kvm_set_cpuid(int vcpu, const struct kvm_cpuid2 *cpuid)
{
	return call(vcpu, KVM_SET_CPUID2, cpuid);
}

int kvm_set_msrs(int vcpu, const struct kvm_msrs *msrs)
{
	return call(vcpu, KVM_SET_MSRS, msrs);
}

int kvm_set_xcrs(int vcpu, const struct kvm_xcrs *xcrs)
{
	return call(vcpu, KVM_SET_XCRS, xcrs);
}

int kvm_get_tsc_khz(int vcpu)
{
	return call_n(vcpu, KVM_GET_TSC_KHZ, 0);
}

int kvm_get_events(int vcpu, struct kvm_vcpu_events *events)
{
	return call(vcpu, KVM_GET_VCPU_EVENTS, events);
}

int kvm_set_events(int vcpu, const struct kvm_vcpu_events *events)
{
	return call(vcpu, KVM_SET_VCPU_EVENTS, events);
}

int kvm_stats_open(int fd)
{
	return call_n(fd, KVM_GET_STATS_FD, 0);
}

int kvm_stats_read(int stats, kvm_stat_fn *fn, void *arg)
{
	struct kvm_stats_header h;

	if (stats < 0)
		return stats;
	if (pread(stats, &h, sizeof(h), 0) != sizeof(h) || h.name_size > STAT_NAME_MAX)
		return -EIO;
	for (uint32_t i = 0; i < h.num_desc; i++) {
		char text[sizeof(struct kvm_stats_desc) + STAT_NAME_MAX + 1] = { 0 };
		struct kvm_stats_desc d;
		uint64_t value;
		size_t size = sizeof(d) + h.name_size;

		if (pread(stats, text, size, (off_t)(h.desc_offset + i * size)) != (ssize_t)size)
			return -EIO;
		memcpy(&d, text, sizeof(d));
		if (d.size != 1 || pread(stats, &value, sizeof(value),
					 (off_t)(h.data_offset + d.offset)) != sizeof(value))
			continue;
		fn(arg, text + sizeof(d), value);
	}
	return 0;
}

int kvm_stats_each(int fd, kvm_stat_fn *fn, void *arg)
{
	cleanup_fd int stats = kvm_stats_open(fd);

	return kvm_stats_read(stats, fn, arg);
}

int kvm_set_tss_addr(int vm, uint32_t address)
{
	return call_n(vm, KVM_SET_TSS_ADDR, address);
}

int kvm_irqchip_create(int vm)
{
	return call_n(vm, KVM_CREATE_IRQCHIP, 0);
}

int kvm_irqfd(int vm, int eventfd, uint32_t gsi)
{
	struct kvm_irqfd arg = { .fd = (uint32_t)eventfd, .gsi = gsi };

	return call(vm, KVM_IRQFD, &arg);
}

int kvm_get_lapic(int vcpu, struct kvm_lapic_state *lapic)
{
	return call(vcpu, KVM_GET_LAPIC, lapic);
}

int kvm_set_lapic(int vcpu, const struct kvm_lapic_state *lapic)
{
	return call(vcpu, KVM_SET_LAPIC, lapic);
}
