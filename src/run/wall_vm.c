/*
 * The vm wall: a guest under run/vm.c's machine. This file is the VMM process: what it was handed becomes a
 * struct vm_config, and it runs the machine.
 *
 * Trust: the guest is hostile; this process has nothing to lose but its descriptors. Threads: the main one
 * runs devices, one disks, one more a vCPU. #syscalls: none
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "machine/probe.h"
#include "run/guest_disk.h"
#include "run/guest_jail.h"
#include "run/guest_vmm.h"
#include "run/guest_wall.h"
#include "run/vm.h"

#define SHARE_TAG "share"

static void stats_text(void *machine, struct buf *b)
{
	static struct vm_stats s; /* too large for the stack of a jailed thread */
	uint64_t guest_ns;

	vm_stats(machine, &s);
	guest_ns = s.inside_ns - MIN(s.inside_ns, s.halted_ns);
	guest_vmm_stat(b, "setup_ns", s.setup_ns);
	guest_vmm_stat(b, "exits", s.exits);
	guest_vmm_stat(b, "exits.io", s.io);
	guest_vmm_stat(b, "exits.mmio", s.mmio);
	guest_vmm_stat(b, "unclaimed", s.unclaimed);
	guest_vmm_stat(b, "interrupted", s.interrupted);
	guest_vmm_stat(b, "guest_ns", guest_ns);
	guest_vmm_stat(b, "halted_ns", s.halted_ns);
	guest_vmm_stat(b, "msrs_refused", s.msrs_refused);
	for (unsigned i = 0; i < s.reasons; i++)
		buf_addf(b, "kernel.%s %llu\n", s.reason[i].name,
			 (unsigned long long)s.reason[i].count);
	guest_vmm_stat(b, "net.tx", s.net_tx);
	guest_vmm_stat(b, "net.rx", s.net_rx);
	guest_vmm_stat(b, "net.dropped", s.net_dropped);
	guest_vmm_stat(b, "balloon.target", s.balloon_target);
	guest_vmm_stat(b, "balloon.actual", s.balloon);
	guest_vmm_stat(b, "balloon.deflated", s.deflated);
	guest_vmm_stat(b, "balloon.reported", s.reported);
	guest_vmm_stat(b, "memory.free", s.memory_free);
	guest_vmm_stat(b, "memory.available", s.memory_available);
}

static void stop(void *machine)
{
	vm_stop(machine);
}

static void pause_machine(void *machine, bool paused)
{
	vm_pause(machine, paused);
}

static void set_memory(void *machine, uint64_t bytes)
{
	vm_set_memory(machine, bytes);
}

static void vsock(void *machine, bool answer, uint32_t port_or_id, int in, int out)
{
	if (answer)
		vm_vsock_answer(machine, port_or_id, in, out);
	else
		vm_vsock_open(machine, port_or_id, in, out);
}

static const struct guest_vmm_ops vmm_ops = { stop,	  pause_machine, stats_text,
					      set_memory, vsock,	 NULL };

static void __attribute__((noreturn)) report_end(const struct vm_result *res)
{
	static const char *const how[] = {
		[VM_END_POWEROFF] = "it powered off",
		[VM_END_REBOOT] = "it rebooted",
		[VM_END_BROKEN] = "it was stopped",
		[VM_END_STOPPED] = "it was told to stop",
	};

	static const enum guest_end ends[] = {
		[VM_END_POWEROFF] = GUEST_ENDED_POWEROFF,
		[VM_END_REBOOT] = GUEST_ENDED_REBOOT,
		[VM_END_BROKEN] = GUEST_ENDED_CRASH,
		[VM_END_STOPPED] = GUEST_ENDED_STOPPED,
	};

	guest_vmm_end(ends[res->end], how[res->end], res->reason);
}

static const int calls[] = {
#include "generated/jail_vm.h"
};

/* What is left of it to each kind of thread, from the tags of its files. */
static const int vcpu_calls[] = {
#include "generated/jail_vm_vcpu.h"
};
static const uint32_t vcpu_requests[] = {
#include "generated/jail_vm_vcpu_ioctls.h"
};
static const int block_calls[] = {
#include "generated/jail_vm_block.h"
};
static const uint32_t block_requests[] = {
#include "generated/jail_vm_block_ioctls.h"
};
static const int net_calls[] = {
#include "generated/jail_vm_net.h"
};
static const uint32_t net_requests[] = {
#include "generated/jail_vm_net_ioctls.h"
};
static const int main_calls[] = {
#include "generated/jail_vm_main.h"
};
_Static_assert(ARRAY_SIZE(vcpu_calls) <= 12 && ARRAY_SIZE(block_calls) <= 22 &&
		       ARRAY_SIZE(net_calls) <= 22 && ARRAY_SIZE(main_calls) <= 22,
	       "a thread of the machine may do too much");

int vm_wall_confine(enum vm_thread thread)
{
	static const struct guest_jail_list list[] = {
		[VM_THREAD_VCPU] = { vcpu_calls, ARRAY_SIZE(vcpu_calls), vcpu_requests,
				     ARRAY_SIZE(vcpu_requests) },
		[VM_THREAD_BLOCK] = { block_calls, ARRAY_SIZE(block_calls), block_requests,
				      ARRAY_SIZE(block_requests) },
		[VM_THREAD_NET] = { net_calls, ARRAY_SIZE(net_calls), net_requests,
				    ARRAY_SIZE(net_requests) },
		[VM_THREAD_DEVICES] = { main_calls, ARRAY_SIZE(main_calls), NULL, 0 },
	};

	return guest_jail_thread(&list[thread]);
}

static void add_share(struct vm_config *c, const struct guest_share *share)
{
	struct vm_share_config *s = &c->share[c->shares];

	snprintf(s->tag, sizeof(s->tag), SHARE_TAG "%u", c->shares++);
	s->in = share->line;
	s->out = share->line_out;
}

static void run_machine(struct guest_machine *g)
{
	struct err *e = &guest_vmm.report.err;
	struct vm_result result;

	guest_vmm_init(g, &vmm_ops);
	if (guest_jail_enter(calls, ARRAY_SIZE(calls), e) < 0)
		guest_vmm_fail();
	struct vm_config c = {
		.kvm = g->kvm,
		.kernel = g->kernel.vmlinux,
		.initrd = g->kernel.initramfs,
		.cmdline = g->cmdline,
		.memory = g->memory,
		.vcpus = g->vcpus,
		.cpu = g->cpu[0] ? g->cpu : NULL,
		.port = { { "console", true, g->console, g->console },
			  { "agent", false, g->agent, g->agent } },
		.ports = 2,
		.disks = 1,
		.start = guest_vmm_watch,
		.confine = vm_wall_confine,
		.vsock_wanted = guest_vmm_vsock,
	};

	for (unsigned i = 0; i < g->shares; i++)
		add_share(&c, &g->share[i]);
	c.disk[0] = block_raw_new(steal_fd(&g->root), true, e);
	if (!c.disk[0])
		guest_vmm_fail();
	if (g->upper >= 0) {
		c.disk[c.disks] = block_raw_new(steal_fd(&g->upper), false, e);
		if (!c.disk[c.disks++])
			guest_vmm_fail();
	}
	if (c.disks + g->disks > VM_DISKS_MAX) {
		err_set(e, -E2BIG, "%u disks: behind the vm wall there are %u at most", g->disks,
			VM_DISKS_MAX - c.disks);
		guest_vmm_fail();
	}
	for (unsigned i = 0; i < g->disks; i++) {
		c.disk[c.disks] = guest_disk_block(&g->disk[i], block_uring_new, e);
		if (!c.disk[c.disks++])
			guest_vmm_fail();
	}
	c.net = guest_net_port(&g->net, e);
	if (!c.net && g->net.kind != GUEST_NET_NONE)
		guest_vmm_fail();
	memcpy(c.mac, g->net.mac, sizeof(c.mac));
	c.mtu = g->net.mtu;
	struct vm *v = vm_new(&c, e);

	guest_vmm.machine = v;
	if (!v || vm_run(v, &result, e) < 0)
		guest_vmm_fail();
	report_end(&result);
}

/* Ring 0 must be the processor's own: an interpreted one cannot run a stock kernel. */
static int probe(struct err *e)
{
	struct cpu_probe p;
	struct err why = ERR_INIT;
	cleanup_fd int kvm = -1;
	int r = guest_kvm_open(&kvm, e);

	if (r)
		return r;
	r = cpu_probe(kvm, false, &p, &why);
	if (r)
		return err_sys(e, r, "KVM cannot be asked");
	if (p.kind == CPU_RING0)
		return 0;
	return err_set(e, -ENOTSUP,
		       "this host's KVM runs guests without hardware virtualization: a stock "
		       "kernel cannot "
		       "boot behind the vm wall. Fix: use --isolation pv [KVM-03]");
}

static int ready(const char *kernel, struct err *e)
{
	int r = probe(e);

	return r ? r : guest_ready("vm", kernel, e);
}

static const struct guest_kind kind = {
	.name = "vm",
	.arguments = "console=hvc0 quiet pci=off cryptomgr.notests random.trust_cpu=on",
	.root_device = "/dev/vda",
	.upper_device = "/dev/vdb",
	.disk_prefix = "vd",
	.line_device = "/dev/vport0p",
	.vsock = true,
	.share_device = "virtiofs:" SHARE_TAG,
	.network = true,
	.vmm = run_machine,
};

static int create(struct instance *in, const struct wall_create *a, struct wall_process *p,
		  struct err *e)
{
	int r = probe(e);

	return r ? r : guest_create(&kind, in, a, p, e);
}

extern const struct wall_ops wall_vm;
const struct wall_ops wall_vm = {
	.name = "vm",
	.summary = "a guest kernel of its own behind hardware virtualization: VT-x or AMD-V",
	.probe = probe,
	.ready = ready,
	.create = create,
	GUEST_WALL_OPS,
};
