/*
 * The pv wall: a guest under pv/'s machine. This file is the VMM process: what it was handed becomes a
 * struct pv_config, it locks itself up, and runs the machine. Orders of the monitor (pause, statistics)
 * come over a socket that the machine's own loop watches.
 *
 * Trust: the guest is hostile; from pv_new() on this process has nothing to lose but its descriptors.
 * Threads: the main one runs devices, one more a vCPU. #syscalls: recvfrom sendto exit_group
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "pv/pv.h"
#include "run/guest_wall.h"

/* The process is one VMM. */
static struct {
	struct guest_machine *g;
	struct pv_domain *domain;
	struct loop_fd orders;
	struct pv_stats stats;
	struct guest_report report;
} vmm;

static void tell(enum guest_report_kind kind)
{
	vmm.report.kind = kind;
	/* Without a monitor there is nobody to tell and soon no VMM: it dies with its parent. */
	if (send(vmm.g->control, &vmm.report, sizeof(vmm.report), MSG_NOSIGNAL) < 0)
		_exit(1);
}

static void add_counts(struct buf *b, const char *name, const uint64_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (v[i])
			buf_addf(b, "%s.%zu %llu\n", name, i, (unsigned long long)v[i]);
	}
}

static void report_stats(void)
{
	const struct pv_stats *s = &vmm.stats;
	const struct {
		const char *name;
		uint64_t value;
	} plain[] = {
		{ "setup_ns", s->setup_ns },
		{ "exits", s->exits },
		{ "interrupted", s->interrupted },
		{ "events_injected", s->injected },
		{ "events_retried", s->retried },
		{ "idle_ns", s->idle_ns },
		{ "user_syscalls", s->user_syscalls },
		{ "table_updates", s->mmu_updates },
		{ "multicalls", s->multicalls },
		{ "upcalls", s->upcalls },
		{ "flushes", s->flushes },
		{ "refused", s->refused },
	};
	struct buf b = BUF_INIT(sizeof(vmm.report.text) - 1);

	pv_stats(vmm.domain, &vmm.stats);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		buf_addf(&b, "%s %llu\n", plain[i].name, (unsigned long long)plain[i].value);
	add_counts(&b, "hypercall", s->hypercalls, ARRAY_SIZE(s->hypercalls));
	add_counts(&b, "trap", s->traps, ARRAY_SIZE(s->traps));
	add_counts(&b, "service", s->ops, ARRAY_SIZE(s->ops));
	vmm.report.text_len = (uint32_t)b.len;
	memcpy(vmm.report.text, buf_str(&b), b.len);
	buf_fini(&b);
	tell(GUEST_REPORT_STATS);
}

static void order_came(struct loop_fd *w, uint32_t events)
{
	struct guest_order o;
	ssize_t n = recv(w->fd, &o, sizeof(o), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != (ssize_t)sizeof(o)) {
		pv_stop(vmm.domain);
		return;
	}
	switch (o.kind) {
	case GUEST_ORDER_PAUSE:
	case GUEST_ORDER_RESUME:
		pv_pause(vmm.domain, o.kind == GUEST_ORDER_PAUSE);
		break;
	case GUEST_ORDER_STATS:
		report_stats();
		break;
	default:
		pv_stop(vmm.domain);
	}
}

static int watch_orders(struct loop *loop, void *arg)
{
	(void)arg;
	vmm.orders = (struct loop_fd){ .fd = vmm.g->control, .fn = order_came };
	return loop_watch(loop, &vmm.orders, EPOLLIN);
}

static void __attribute__((noreturn)) fail(void)
{
	tell(GUEST_REPORT_FAILED);
	_exit(1);
}

/* Why it ended, unless it simply went down. */
static void report_end(const struct pv_result *res)
{
	static const char *const how[] = {
		[PV_END_POWEROFF] = "it powered off",	  [PV_END_REBOOT] = "it rebooted",
		[PV_END_CRASH] = "its kernel crashed",	  [PV_END_BROKEN] = "it was stopped",
		[PV_END_STOPPED] = "it was told to stop",
	};

	vmm.report.crashed = res->end == PV_END_CRASH || res->end == PV_END_BROKEN;
	err_set(&vmm.report.err, vmm.report.crashed ? -EFAULT : -ESHUTDOWN, "%s%s%s", how[res->end],
		res->reason[0] ? ": " : "", res->reason);
	tell(GUEST_REPORT_ENDED);
}

static void run_machine(struct guest_machine *g)
{
	struct err *e = &vmm.report.err;
	struct pv_result result = { 0 };

	vmm.g = g;
	prctl(PR_SET_NAME, "warren-vmm");
	struct pv_config c = {
		.kvm = g->kvm,
		.kernel = g->kernel.vmlinux,
		.initrd = g->kernel.initramfs,
		.cmdline = g->cmdline,
		.memory = g->memory,
		.vcpus = g->vcpus,
		.mode = g->isolated ? PV_MEMORY_ISOLATED : PV_MEMORY_MERGED,
		.console = { { g->console, g->console }, { g->agent, g->agent } },
		.consoles = 2,
		.start = watch_orders,
	};

	c.disk[0].block = block_raw_new(steal_fd(&g->root), true, e);
	if (!c.disk[0].block)
		fail();
	c.disk[0].name = "xvda";
	c.disks = 1;
	vmm.domain = pv_new(&c, e);
	if (!vmm.domain || pv_run(vmm.domain, &result, e) < 0)
		fail();
	report_end(&result);
	_exit(0);
}

static int probe(struct err *e)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "/dev/kvm");
	close(fd);
	return 0;
}

static const struct guest_kind kind = {
	.name = "pv",
	.arguments =
		"console=hvc0 quiet noreplace-smp clocksource=tsc tsc=reliable cryptomgr.notests",
	.root_device = "/dev/xvda",
	.agent_device = "/dev/hvc1",
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
	.create = create,
	.start = guest_start,
	.kill = guest_kill,
	.exec = guest_exec,
	.pause = guest_pause,
	.resume = guest_resume,
	.paused = guest_paused,
	.update = guest_update,
	.stats = guest_stats,
	.pids = guest_pids,
	.cleanup = guest_cleanup,
};
