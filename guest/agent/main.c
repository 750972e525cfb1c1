/*
 * warren-agent: PID 1 of a pv or vm guest. It brings the guest up, greets the host over the control
 * channel, makes the container that config.json describes, and then carries what the host asks for:
 * input, output, signals, further processes, copies, statistics, shutdown.
 *
 * One thread, one event loop; processes are started by container/ and waited for here. If the agent
 * cannot go on, the guest is switched off with the reason on its console.
 *
 * For tests it also runs on a host: `warren-agent warren.control=fd:3 warren.rootdir=DIR`, then it
 * leaves the machine as it is.
 *
 * Trust: the host is trusted, what runs in the guest is not. Threads: none.
 * #syscalls: wait4 signalfd epoll_wait
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"

static void child_ended(struct loop_fd *w, uint32_t events)
{
	struct agent *a = container_of(w, struct agent, signals);
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	(void)events;
	while (read(w->fd, &si, sizeof(si)) == sizeof(si))
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		list_for_each_safe (pos, &a->streams) {
			struct stream *s = list_item(pos, struct stream, link);

			if (s->c.pid == pid && !s->exited) {
				stream_exited(s, status);
				break;
			}
		}
	}
}

static int watch_children(struct agent *a, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	int fd = signal_fd_open(&set);

	if (fd < 0)
		return err_sys(e, fd, "guest: signalfd");
	a->signals = (struct loop_fd){ .fd = fd, .fn = child_ended };
	int r = loop_watch(&a->loop, &a->signals, EPOLLIN);

	return r < 0 ? err_sys(e, r, "guest: event loop") : 0;
}

/* A kernel whose console is a module starts us without descriptors 0 to 2: holds their places, so that nothing else
 * gets these numbers. */
static void hold_descriptors(void)
{
	int fd;

	do
		fd = open("/", O_RDONLY | O_DIRECTORY);
	while (fd >= 0 && fd < 3);
	if (fd >= 3)
		close(fd);
}

/* Now there are devices: what we say goes to the console, or to the kernel's log. */
static void open_console(void)
{
	struct stat st;
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < 3; i++)
		if (fstat(i, &st) == 0 && S_ISDIR(st.st_mode))
			dup2(fd, i);
	close_fd(&fd);
}

static int bring_up(struct agent *a, bool guest, struct err *e)
{
	struct err modules = ERR_INIT;
	int r = 0;

	if (guest) {
		setup_modules(&a->options, &modules); /* while the initramfs is there */
		r = setup_early(e);
		open_console();
	}
	if (r == 0)
		r = channel_open(a, e);
	if (r < 0)
		return r;
	if (modules.code)
		channel_log(a, "%s", modules.msg);
	if (guest)
		setup_cgroups();
	a->root_ready = setup_root(&a->options, &a->root_error) == 0;
	if (a->root_ready)
		a->root_ready = share_start_all(&a->options, &a->root_error) == 0;
	if (a->root_ready && guest)
		a->root_ready = net_setup(&a->options, &a->root_error) == 0;
	a->bundle_dir = open(AGENT_BUNDLE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->bundle_dir < 0 && a->root_ready)
		r = err_sys(e, -errno, "guest: '%s'", AGENT_BUNDLE);
	return r;
}

/* Until the host says that it is over, or the channel breaks. */
static int serve(struct agent *a)
{
	int r = 0;

	while (r == 0 && !a->loop.stopping && !(a->going_down && a->tx.len == 0))
		r = loop_once(&a->loop, -1);
	return r < 0 ? r : a->loop.stopping ? a->loop.result : 0;
}

static void test_options(struct agent *a, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *fd = str_after(argv[i], "warren.control=fd:");
		const char *root = str_after(argv[i], "warren.rootdir=");

		if (fd) {
			uint64_t n = 0;

			if (str_to_u64(fd, &n) == 0)
				a->control = (int)n;
			fcntl(a->control, F_SETFL, O_NONBLOCK);
		}
		if (root)
			snprintf(a->options.lower, sizeof(a->options.lower), "%s", root);
	}
}

int main(int argc, char **argv)
{
	static struct agent a = { .control = -1, .bundle_dir = -1 };
	struct err e = ERR_INIT;
	bool guest = argc < 2 || !str_after(argv[1], "warren.");

	if (guest)
		hold_descriptors();
	snprintf(a.options.control, sizeof(a.options.control), "/dev/hvc1");
	list_init(&a.streams);
	if (!guest)
		test_options(&a, argc, argv);
	umask(022);
	int r = loop_init(&a.loop);

	if (r < 0)
		err_sys(&e, r, "guest: event loop");
	if (r == 0)
		r = watch_children(&a, &e);
	if (r == 0)
		r = bring_up(&a, guest, &e);
	if (r < 0)
		fprintf(stderr, "warren-agent: %s\n", e.msg);
	else
		r = serve(&a);
	if (guest)
		setup_shutdown(a.down_mode);
	return r < 0;
}
