/*
 * The pv wall: a guest under pv/'s machine. This file is the VMM process: what it was handed becomes a
 * struct pv_config, it locks itself up, and runs the machine. Orders of the monitor (pause, statistics)
 * come over a socket that the machine's own loop watches.
 *
 * Trust: the guest is hostile; from pv_new() on this process has nothing to lose but its descriptors.
 * Threads: the main one runs devices, one more a vCPU, one more a disk. #syscalls: none
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "pv/pv.h"
#include "run/guest_disk.h"
#include "run/guest_jail.h"
#include "run/guest_vmm.h"
#include "run/guest_wall.h"

static void add_stat(void *text, const char *name, uint64_t value)
{
	guest_vmm_stat(text, name, value);
}

static void add_host_stat(void *text, const char *name, uint64_t value)
{
	buf_addf(text, "kvm.%s %llu\n", name, (unsigned long long)value);
}

static void stats_text(void *machine, struct buf *b)
{
	static struct pv_stats stats; /* too large for the stack of a jailed thread */

	pv_stats(machine, &stats);
	pv_stats_each(&stats, add_stat, b);
	pv_host_stats(machine, add_host_stat, b); /* older hosts have none */
}

static void stop(void *machine)
{
	pv_stop(machine);
}

static void pause_machine(void *machine, bool paused)
{
	pv_pause(machine, paused);
}

static void shutdown_machine(void *machine, enum guest_down how)
{
	/* A guest whose store is full of its own making is not asked. */
	if (pv_ask_shutdown(machine, how == GUEST_DOWN_REBOOT ? "reboot" : "poweroff") < 0)
		return;
}

static const struct guest_vmm_ops vmm_ops = { stop, pause_machine, stats_text,
					      NULL, NULL,	   shutdown_machine };

/* Why it ended, unless it simply went down. */
static void __attribute__((noreturn)) report_end(const struct pv_result *res)
{
	static const char *const how[] = {
		[PV_END_POWEROFF] = "it powered off",	  [PV_END_REBOOT] = "it rebooted",
		[PV_END_CRASH] = "its kernel crashed",	  [PV_END_BROKEN] = "it was stopped",
		[PV_END_STOPPED] = "it was told to stop",
	};

	static const enum guest_end ends[] = {
		[PV_END_POWEROFF] = GUEST_ENDED_POWEROFF, [PV_END_REBOOT] = GUEST_ENDED_REBOOT,
		[PV_END_CRASH] = GUEST_ENDED_CRASH,	  [PV_END_BROKEN] = GUEST_ENDED_CRASH,
		[PV_END_STOPPED] = GUEST_ENDED_STOPPED,
	};

	guest_vmm_end(ends[res->end], how[res->end], res->reason);
}

static const int calls[] = {
#include "generated/jail_pv.h"
};

/* What is left of it to each kind of thread, from the tags of its files. */
static const int vcpu_calls[] = {
#include "generated/jail_pv_vcpu.h"
};
static const uint32_t vcpu_requests[] = {
#include "generated/jail_pv_vcpu_ioctls.h"
};
static const int disk_calls[] = {
#include "generated/jail_pv_disk.h"
};
static const uint32_t disk_requests[] = {
#include "generated/jail_pv_disk_ioctls.h"
};
static const int main_calls[] = {
#include "generated/jail_pv_main.h"
};
static const uint32_t main_requests[] = {
#include "generated/jail_pv_main_ioctls.h"
};
_Static_assert(ARRAY_SIZE(vcpu_calls) <= 12 && ARRAY_SIZE(disk_calls) <= 22 &&
		       ARRAY_SIZE(main_calls) <= 22,
	       "a thread of the machine may do too much");

static int confine(enum pv_thread thread)
{
	static const struct guest_jail_list list[] = {
		[PV_THREAD_VCPU] = { vcpu_calls, ARRAY_SIZE(vcpu_calls), vcpu_requests,
				     ARRAY_SIZE(vcpu_requests) },
		[PV_THREAD_DISK] = { disk_calls, ARRAY_SIZE(disk_calls), disk_requests,
				     ARRAY_SIZE(disk_requests) },
		[PV_THREAD_DEVICES] = { main_calls, ARRAY_SIZE(main_calls), main_requests,
					ARRAY_SIZE(main_requests) },
	};

	return guest_jail_thread(&list[thread]);
}

static void run_machine(struct guest_machine *g)
{
	struct err *e = &guest_vmm.report.err;
	struct pv_result result = { 0 };

	guest_vmm_init(g, &vmm_ops);
	if (guest_jail_enter(calls, ARRAY_SIZE(calls), e) < 0)
		guest_vmm_fail();
	struct pv_config c = {
		.kvm = g->kvm,
		.kernel = g->kernel.vmlinux,
		.initrd = g->kernel.initramfs,
		.cmdline = g->cmdline,
		.memory = g->memory,
		.vcpus = g->vcpus,
		.mode = g->isolated ? PV_MEMORY_ISOLATED : PV_MEMORY_MERGED,
		.console = { { g->console, g->console, false }, { g->agent, g->agent, true } },
		.consoles = g->agent >= 0 ? 2 : 1,
		.start = guest_vmm_watch,
		.confine = confine,
	};

	for (unsigned i = 0; i < g->shares; i++) {
		int line = g->share[i].line;

		c.console[c.consoles++] = (struct pv_console_config){ line, line, true };
	}

	if (g->root >= 0) {
		c.disk[0].block = block_raw_new(steal_fd(&g->root), true, e);
		if (!c.disk[0].block)
			guest_vmm_fail();
		c.disk[0].name = "xvda";
		c.disks = 1;
	}
	if (g->upper >= 0) {
		c.disk[1].block = block_raw_new(steal_fd(&g->upper), false, e);
		if (!c.disk[1].block)
			guest_vmm_fail();
		c.disk[1].name = "xvdb";
		c.disks = 2;
	}
	for (unsigned i = 0; i < g->disks; i++) {
		c.disk[c.disks].block = guest_disk_block(&g->disk[i], block_raw_new, e);
		if (!c.disk[c.disks].block)
			guest_vmm_fail();
		c.disk[c.disks++].name = g->disk[i].name;
	}
	struct pv_domain *d = pv_new(&c, e);

	guest_vmm.machine = d;
	if (!d || pv_run(d, &result, e) < 0)
		guest_vmm_fail();
	report_end(&result);
}

static int probe(struct err *e)
{
	cleanup_fd int fd = -1;

	return guest_kvm_open(&fd, e);
}

static int ready(const char *kernel, struct err *e)
{
	int r = probe(e);

	return r ? r : guest_ready("pv", kernel, e);
}

static const struct guest_kind kind = {
	.name = "pv",
	.arguments =
		"console=hvc0 quiet noreplace-smp clocksource=tsc tsc=reliable cryptomgr.notests",
	.root_device = "/dev/xvda",
	.upper_device = "/dev/xvdb",
	.disk_prefix = "xvd",
	.line_device = "line:",
	.share_device = "line:",
	.share_first = GUEST_LINE_SHARES,
	.vmm = run_machine,
};

static int create(struct instance *in, const struct wall_create *a, struct wall_process *p,
		  struct err *e)
{
	return guest_create(&kind, in, a, p, e);
}

extern const struct wall_ops wall_pv;
const struct wall_ops wall_pv = {
	.name = "pv",
	.summary = "a guest kernel of its own, paravirtual: needs /dev/kvm but no VT-x or AMD-V",
	.probe = probe,
	.ready = ready,
	.create = create,
	GUEST_WALL_OPS,
};
