/*
 * warren lguest: the pv wall without anything around it.
 *
 * Opens what the machine needs, hands it over and waits. Where a terminal is, it is put into raw mode with `^]`
 * as the way out.
 *
 * Trust: names are the user's; what the guest does is pv/'s matter. Threads: the caller's, which serves the
 * devices. #syscalls: openat ioctl signalfd4 read write rt_sigprocmask close
 */
#include "run/pv_lguest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "pv/pv.h"

struct session {
	struct pv_domain *domain;
	struct loop_fd signals;
	struct termios before;
	bool raw;
};

static void on_signal(struct loop_fd *s, uint32_t events)
{
	struct session *n = container_of(s, struct session, signals);

	(void)events;
	pv_stop(n->domain);
}

static int on_start(struct loop *loop, void *arg)
{
	struct session *n = arg;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	int fd = signal_fd_open(&set);

	if (fd < 0)
		return fd;
	n->signals = (struct loop_fd){ .fd = fd, .fn = on_signal };
	return loop_watch(loop, &n->signals, EPOLLIN);
}

static void terminal_raw(struct session *n)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &n->before) < 0)
		return;
	t = n->before;
	cfmakeraw(&t);
	t.c_lflag |= ISIG;
	t.c_oflag |= OPOST;
	memset(t.c_cc, _POSIX_VDISABLE, sizeof(t.c_cc));
	t.c_cc[VQUIT] = 0x1d; /* ^] */
	t.c_cc[VMIN] = 1;
	n->raw = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
}

static void session_fini(struct session *n)
{
	if (n->raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &n->before);
	close_fd(&n->signals.fd);
}

static int open_disk(const char *arg, unsigned index, struct pv_disk_config *disk, struct err *e)
{
	static const char *const names[PV_DISKS_MAX] = { "xvda", "xvdb", "xvdc", "xvdd",
							 "xvde", "xvdf", "xvdg", "xvdh",
							 "xvdi", "xvdj", "xvdk", "xvdl",
							 "xvdm", "xvdn", "xvdo", "xvdp" };
	bool read_only = str_ends(arg, ":ro");
	cleanup_free char *path = strndup(arg, strlen(arg) - (read_only ? 3 : 0));

	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "disk '%s'", path);
	disk->name = names[index];
	disk->block = block_raw_new(fd, read_only, e);
	return disk->block ? 0 : err_wrap(e, "disk '%s'", path);
}

static void add_counts(struct buf *out, const char *what, const uint64_t *v, size_t n)
{
	buf_adds(out, what);
	for (size_t i = 0; i < n; i++)
		if (v[i])
			buf_addf(out, " %zu:%llu", i, (unsigned long long)v[i]);
	buf_addc(out, '\n');
}

static void add_stats(struct buf *out, const struct pv_stats *s)
{
	const struct {
		const char *name;
		uint64_t v;
	} line[] = {
		{ "exits", s->exits },
		{ "interrupted", s->interrupted },
		{ "injected", s->injected },
		{ "retried", s->retried },
		{ "syscalls", s->user_syscalls },
		{ "table-updates", s->mmu_updates },
		{ "multicalls", s->multicalls },
		{ "upcalls", s->upcalls },
		{ "flushes", s->flushes },
		{ "refused", s->refused },
	};

	buf_addf(out, "set-up-ms %.1f\nidle-ms %.1f\n", (double)s->setup_ns / 1e6,
		 (double)s->idle_ns / 1e6);
	for (size_t i = 0; i < ARRAY_SIZE(line); i++)
		buf_addf(out, "%s %llu\n", line[i].name, (unsigned long long)line[i].v);
	add_counts(out, "hypercalls", s->hypercalls, ARRAY_SIZE(s->hypercalls));
	add_counts(out, "traps", s->traps, ARRAY_SIZE(s->traps));
	add_counts(out, "services", s->ops, ARRAY_SIZE(s->ops));
}

static void add_host_stat(void *arg, const char *name, uint64_t value)
{
	buf_addf(arg, "kvm-%s %llu\n", name, (unsigned long long)value);
}

static int run(const struct lguest *g, const struct pv_config *c, struct session *n,
	       struct buf *report, struct err *e)
{
	struct pv_result result;

	n->domain = pv_new(c, e);
	if (!n->domain)
		return err_wrap(e, "%s", g->kernel);
	terminal_raw(n);
	int r = pv_run(n->domain, &result, e);

	if (!r && g->stats) {
		add_stats(report, &result.stats);
		pv_host_stats(n->domain, add_host_stat, report);
	}
	pv_free(n->domain);
	session_fini(n);
	n->raw = false;
	if (r)
		return r;
	if (result.end == PV_END_POWEROFF || result.end == PV_END_REBOOT)
		return 0;
	buf_addf(report, "%s\n", result.reason);
	return 1;
}

int lguest_run(const struct lguest *g, struct buf *report, struct err *e)
{
	struct session n = { .signals.fd = -1 };
	cleanup_fd int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		return err_sys(e, -errno, "/dev/kvm");
	cleanup_fd int kernel = open(g->kernel, O_RDONLY | O_CLOEXEC);

	if (kernel < 0)
		return err_sys(e, -errno, "kernel '%s'", g->kernel);
	cleanup_fd int initrd = g->initrd ? open(g->initrd, O_RDONLY | O_CLOEXEC) : -1;

	if (g->initrd && initrd < 0)
		return err_sys(e, -errno, "initramfs '%s'", g->initrd);
	struct pv_config c = {
		.kvm = kvm,
		.kernel = kernel,
		.initrd = initrd,
		.cmdline = g->cmdline,
		.memory = g->memory,
		.vcpus = g->vcpus,
		.mode = g->isolated ? PV_MEMORY_ISOLATED : PV_MEMORY_MERGED,
		.console = { { STDIN_FILENO, STDOUT_FILENO, false } },
		.consoles = 1,
		.no_patches = g->no_patches,
		.start = on_start,
		.arg = &n,
	};
	int r = g->disks.n > PV_DISKS_MAX ? err_set(e, -EINVAL, "more than %d disks", PV_DISKS_MAX)
					  : 0;

	for (; !r && c.disks < g->disks.n; c.disks++)
		r = open_disk(g->disks.v[c.disks], c.disks, &c.disk[c.disks], e);
	if (!r)
		r = run(g, &c, &n, report, e);
	session_fini(&n);
	for (unsigned i = 0; i < PV_DISKS_MAX; i++)
		block_free(c.disk[i].block);
	return r;
}
