/*
 * The foreground of `run` and `exec`: waits for the command, passes signals on, and stands between its terminal
 * and ours.
 *
 * Without a terminal this is one sigwaitinfo loop. With one, ours is put into raw mode, and bytes go both ways
 * until the command ends; what it wrote last is still read.
 *
 * Trust: bytes are passed on, not interpreted. Threads: none. #syscalls: rt_sigprocmask rt_sigtimedwait signalfd4
 * poll read write ioctl wait4 pidfd_send_signal
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "cli/oci.h"
#include "os/file.h"
#include "os/tty.h"

static void signals(sigset_t *set)
{
	sigfillset(set);
	/* What a broken program raises on itself stays deadly. */
	static const int own[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT };

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(set, own[i]);
}

void oci_block_signals(void)
{
	sigset_t set;

	signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static bool has_ended(struct wall_process *p, int *status)
{
	pid_t pid = waitpid(p->pid, status, WNOHANG);

	return pid == p->pid || (pid < 0 && errno == ECHILD);
}

static void resize(struct wall_process *p)
{
	uint16_t rows, cols;

	if (tty_size_get(0, &rows, &cols) == 0)
		tty_size_set(p->master, rows, cols);
}

/* A signal that came to us. */
static void pass_on(struct wall_process *p, int sig)
{
	if (sig == SIGWINCH && p->master >= 0)
		resize(p);
	else if (sig != SIGCHLD && sig != SIGPIPE && sig != SIGURG)
		pidfd_send_signal(p->pidfd, sig, NULL, 0);
}

static int wait_plain(struct wall_process *p)
{
	sigset_t set;
	int status = 0;

	signals(&set);
	while (!has_ended(p, &status)) {
		int sig = sigwaitinfo(&set, NULL);

		if (sig > 0)
			pass_on(p, sig);
	}
	return status;
}

/* One read and its writes. False at the end. */
static bool copy_some(int from, int to)
{
	char chunk[4096];
	ssize_t n = read(from, chunk, sizeof(chunk));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return n > 0 && write_full(to, chunk, (size_t)n) == 0;
}

static int wait_terminal(struct wall_process *p)
{
	__attribute__((cleanup(tty_restore))) struct tty_mode mode = TTY_MODE_INIT;
	bool input = true, output = true, ended = false;
	int status = 0;
	sigset_t set;

	signals(&set);
	cleanup_fd int sigs = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	tty_raw(&mode, 0);
	resize(p);
	while (!ended || output) {
		struct pollfd fds[3] = {
			{ .fd = output ? p->master : -1, .events = POLLIN },
			{ .fd = input && !ended ? 0 : -1, .events = POLLIN },
			{ .fd = sigs, .events = POLLIN },
		};
		struct signalfd_siginfo si;

		/* After the end, what is still on its way; somebody else may keep the terminal open. */
		int n = poll(fds, 3, ended ? 100 : -1);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			output = copy_some(p->master, 1);
		if (fds[1].revents)
			input = copy_some(0, p->master);
		while (read(sigs, &si, sizeof(si)) == sizeof(si))
			pass_on(p, (int)si.ssi_signo);
		ended = ended || has_ended(p, &status);
	}
	while (!ended) {
		int sig = sigwaitinfo(&set, NULL);

		if (sig > 0)
			pass_on(p, sig);
		ended = has_ended(p, &status);
	}
	return status;
}

int oci_wait(struct wall_process *p)
{
	int status = p->master >= 0 ? wait_terminal(p) : wait_plain(p);

	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
