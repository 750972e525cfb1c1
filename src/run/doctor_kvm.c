/*
 * Checks of the host's KVM. Nothing is started here but /dev/kvm itself; what has to be measured in a guest
 * is asked of machine/.
 *
 * Trust: answers come from the kernel. Threads: none.
 * #syscalls: openat ioctl close access read clone unshare
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "machine/probe.h"
#include "run/doctor_int.h"
#include "run/guest_wall.h"

void check_cpu(struct doctor_finding *f)
{
	cleanup_free char *info = doctor_read("/proc/cpuinfo");
	char *flags = info ? strstr(info, "\nflags") : NULL;

	if (flags)
		flags[1 + strcspn(flags + 1, "\n")] = '\0';
	bool vmx = doctor_has_word(flags, "vmx"), svm = doctor_has_word(flags, "svm");

	if (vmx || svm)
		doctor_pass(f, "the CPU has %s", vmx ? "VT-x (vmx)" : "AMD-V (svm)");
	else
		doctor_fail(f, "switch it on in the firmware or the outer hypervisor, or use --pv",
			    "the CPU shows no virtualization (vmx, svm)");
}

static int try_kvm_in_userns(void *arg)
{
	(void)arg;
	if (doctor_enter_userns(0))
		return 255;
	cleanup_fd int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd < 0 ? errno : 0;
}

void check_kvm_opens(struct doctor_finding *f)
{
	cleanup_fd int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		int code = errno;

		doctor_fail(f, guest_kvm_mend(code), "/dev/kvm: %s", strerror(code));
		return;
	}
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION) {
		doctor_fail(f, "use a Linux kernel's own KVM", "/dev/kvm speaks API %d, not %d",
			    version, KVM_API_VERSION);
		return;
	}
	int inside = doctor_in_child(try_kvm_in_userns, NULL);

	if (inside == 0 || inside == 255)
		doctor_pass(f, "/dev/kvm opens%s (API %d)",
			    inside ? "" : ", inside a user namespace too", version);
	else
		doctor_warn(f, "chmod 666 /dev/kvm, or run such instances as root",
			    "/dev/kvm opens here, but not inside a user namespace: %s",
			    strerror(inside > 0 ? inside : EIO));
}

void check_kvm_capabilities(struct doctor_finding *f)
{
	static const struct {
		int number;
		const char *name;
		bool must;
	} wanted[] = {
		{ KVM_CAP_USER_MEMORY, "USER_MEMORY", true },
		{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT", true },
		{ KVM_CAP_SYNC_REGS, "SYNC_REGS", true },
		{ KVM_CAP_XSAVE, "XSAVE", true },
		{ KVM_CAP_XCRS, "XCRS", true },
		{ KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS", true },
		{ KVM_CAP_IOEVENTFD, "IOEVENTFD", true },
		{ KVM_CAP_IRQCHIP, "IRQCHIP", false },
		{ KVM_CAP_IRQFD, "IRQFD", false },
		{ KVM_CAP_SPLIT_IRQCHIP, "SPLIT_IRQCHIP", false },
		{ KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER", false },
		{ KVM_CAP_READONLY_MEM, "READONLY_MEM", false },
		{ KVM_CAP_SET_GUEST_DEBUG, "SET_GUEST_DEBUG", false },
	};
	cleanup_fd int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	char missing[200] = "";
	bool must = false;

	if (fd < 0) {
		doctor_warn(f, "", "not looked at: KVM-02 failed");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		size_t used = strlen(missing);

		if (ioctl(fd, KVM_CHECK_EXTENSION, wanted[i].number) > 0)
			continue;
		must |= wanted[i].must;
		snprintf(missing + used, sizeof(missing) - used, " %s", wanted[i].name);
	}
	int vcpus = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	if (must)
		doctor_fail(f, "use a newer kernel", "KVM lacks:%s", missing);
	else if (missing[0])
		doctor_warn(f, "", "KVM lacks, and guests do without:%s", missing);
	else
		doctor_pass(f, "KVM has all that guests use; up to %d vCPUs", vcpus);
}

/* Opens /dev/kvm and asks it; a reason in `e` when it cannot be asked. */
static int probe(bool measure, struct cpu_probe *result, struct err *e)
{
	cleanup_fd int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd < 0 ? err_sys(e, -errno, "/dev/kvm") : cpu_probe(fd, measure, result, e);
}

void check_kvm_speed(struct doctor_finding *f)
{
	struct cpu_probe p = { 0 };
	struct err e = ERR_INIT;

	if (probe(true, &p, &e) < 0) {
		doctor_fail(f, "see KVM-02", "not measured: %s", e.msg);
		return;
	}
	double each = (double)p.ring0_ns / RING0_STEPS;

	if (p.ring0_ns && each <= RING0_SLOW_NS)
		doctor_pass(f, "guest ring 0 runs at native speed (%.2f ns an instruction)", each);
	else if (p.kind == CPU_RING0)
		doctor_warn(
			f, "",
			"guest ring 0 is the processor's own, but %.0f ns an instruction are slow: "
			"an emulated processor?",
			each);
	else
		doctor_fail(f, "use --pv, whose kernel runs in ring 3",
			    "guest ring 0 is interpreted (%.0f ns an instruction): kernels of "
			    "virtual machines do not boot",
			    each);
}

void check_pv_mode(struct doctor_finding *f)
{
	struct cpu_probe p = { 0 };
	struct err e = ERR_INIT;

	if (probe(false, &p, &e) < 0)
		doctor_fail(f, "see KVM-02", "not asked: %s", e.msg);
	else if (p.kind == CPU_RING3)
		doctor_pass(f, "pv guests run here with the shim in ring 3 (deprivileged KVM)");
	else if (p.kind == CPU_RING0)
		doctor_pass(f, "pv guests run here with the shim in ring 0 (ordinary KVM)");
	else
		doctor_fail(f, "use --isolation container, or vm", "no pv guests here: %s", e.msg);
}

void check_kvm_paging(struct doctor_finding *f)
{
	static const struct {
		const char *file, *what;
	} modes[] = {
		{ "/sys/module/kvm_intel/parameters/ept", "EPT" },
		{ "/sys/module/kvm_amd/parameters/npt", "NPT" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		cleanup_free char *on = doctor_read(modes[i].file);

		if (on && (streq(on, "Y") || streq(on, "1"))) {
			doctor_pass(f, "nested paging (%s)", modes[i].what);
			return;
		}
	}
	doctor_warn(f, "load kvm_intel with ept=1 or kvm_amd with npt=1, where the CPU has it",
		    "no nested paging (EPT, NPT): guests' page tables are shadowed");
}

void check_hypervisor(struct doctor_finding *f)
{
	unsigned a, b, c, d;
	char vendor[13] = "";

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 31)) {
		doctor_pass(f, "this host is not a guest");
		return;
	}
	__cpuid(0x40000000, a, b, c, d);
	memcpy(vendor, &b, 4);
	memcpy(vendor + 4, &c, 4);
	memcpy(vendor + 8, &d, 4);
	for (char *p = vendor; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	doctor_pass(f, "this host is itself a guest (of %s)", vendor[0] ? vendor : "unknown");
}
