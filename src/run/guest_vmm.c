/*
 * The VMM process: orders of the monitor (pause, statistics, stop) come over a socket that the machine's own
 * loop watches; failures and the guest's end are reported over it.
 *
 * Trust: the monitor's orders; the guest never speaks here. Threads: the machine's device loop.
 * #syscalls(main): recvmsg write exit_group
 * #syscalls(start): prctl rt_sigaction
 */
#include "run/guest_vmm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/sock.h"

struct guest_vmm guest_vmm;

static void tell(enum guest_report_kind kind)
{
	guest_vmm.report.kind = kind;
	/* Without a monitor there is nobody to tell and soon no VMM: it dies with its parent. */
	if (write(guest_vmm.g->control, &guest_vmm.report, sizeof(guest_vmm.report)) < 0)
		_exit(1);
}

void guest_vmm_stat(struct buf *text, const char *name, uint64_t value)
{
	buf_addf(text, "%s %llu\n", name, (unsigned long long)value);
}

static void report_stats(void)
{
	struct guest_report *r = &guest_vmm.report;
	struct buf b = BUF_INIT(sizeof(r->text) - 1);

	guest_vmm.ops->stats(guest_vmm.machine, &b);
	r->text_len = (uint32_t)b.len;
	memcpy(r->text, buf_str(&b), b.len);
	buf_fini(&b);
	tell(GUEST_REPORT_STATS);
}

static void order_came(struct loop_fd *w, uint32_t events)
{
	struct guest_order o;
	int fds[2] = { -1, -1 };
	size_t fds_n = 2;
	ssize_t n = sock_recv(w->fd, &o, sizeof(o), fds, &fds_n, MSG_DONTWAIT);

	(void)events;
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n != (ssize_t)sizeof(o)) {
		guest_vmm.ops->stop(guest_vmm.machine);
		return;
	}
	switch (o.kind) {
	case GUEST_ORDER_PAUSE:
	case GUEST_ORDER_RESUME:
		guest_vmm.ops->pause(guest_vmm.machine, o.kind == GUEST_ORDER_PAUSE);
		break;
	case GUEST_ORDER_STATS:
		report_stats();
		break;
	case GUEST_ORDER_MEMORY:
		if (guest_vmm.ops->memory)
			guest_vmm.ops->memory(guest_vmm.machine, o.value);
		break;
	case GUEST_ORDER_VSOCK_OPEN:
	case GUEST_ORDER_VSOCK_ANSWER:
		if (guest_vmm.ops->vsock)
			guest_vmm.ops->vsock(guest_vmm.machine, o.kind == GUEST_ORDER_VSOCK_ANSWER,
					     (uint32_t)o.value, fds[0], fds[1]);
		break;
	case GUEST_ORDER_SHUTDOWN:
		if (guest_vmm.ops->shutdown)
			guest_vmm.ops->shutdown(guest_vmm.machine, (enum guest_down)o.value);
		break;
	default:
		guest_vmm.ops->stop(guest_vmm.machine);
	}
}

void guest_vmm_init(struct guest_machine *g, const struct guest_vmm_ops *ops)
{
	guest_vmm.g = g;
	guest_vmm.ops = ops;
	prctl(PR_SET_NAME, "warren-vmm");
	signal(SIGPIPE, SIG_IGN); /* the other end of a line may die first */
}

int guest_vmm_watch(struct loop *loop, void *arg)
{
	(void)arg;
	guest_vmm.orders = (struct loop_fd){ .fd = guest_vmm.g->control, .fn = order_came };
	tell(GUEST_REPORT_BUILT);
	return loop_watch(loop, &guest_vmm.orders, EPOLLIN);
}

void guest_vmm_vsock(uint32_t id, uint32_t port, void *arg)
{
	const struct guest_vsock_wish w = { GUEST_REPORT_VSOCK, id, port };

	(void)arg;
	if (write(guest_vmm.g->control, &w, sizeof(w)) < 0)
		_exit(1);
}

void guest_vmm_fail(void)
{
	struct err why = guest_vmm.report.err;

	/* The loaders' word for a file that is no kernel for this machine. */
	if (why.code == -ENOEXEC)
		err_set(&guest_vmm.report.err, why.code,
			"kernel '%s': vmlinux: %s. Fix: import a whole one (warren kernel import), "
			"or "
			"name another",
			guest_vmm.g->kernel_name, why.msg);
	tell(GUEST_REPORT_FAILED);
	_exit(1);
}

void guest_vmm_end(enum guest_end end, const char *how, const char *reason)
{
	guest_vmm.report.end = end;
	err_set(&guest_vmm.report.err, end == GUEST_ENDED_CRASH ? -EFAULT : -ESHUTDOWN, "%s%s%s",
		how, reason[0] ? ": " : "", reason);
	tell(GUEST_REPORT_ENDED);
	_exit(0);
}
