/*
 * What people ask of a guest that runs: every request goes to its monitor over guest.sock.
 *
 * A process that was started inside is stood for by a child of ours (the waiter): it ends when and as the
 * process inside does, hands on the signals that it gets and the sizes of its terminal; when it is killed,
 * the process inside is.
 *
 * Trust: as guest_client.c. Threads: none.
 * #syscalls: fork sendmsg recvfrom ppoll signalfd4 setsid ioctl openat
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "os/loop.h"
#include "os/sock.h"
#include "os/tty.h"
#include "run/guest_wall.h"

/* A request without payload and text. */
static int simple(struct instance *in, enum guest_ask ask, uint32_t arg, uint32_t flags,
		  struct err *e)
{
	struct guest_request rq = { .ask = ask, .arg = arg, .flags = flags };

	return guest_ask(in->dir, &rq, NULL, 0, NULL, e);
}

/* One agent frame of `type` without payload; REPLY into `text`. */
int guest_agent_ask(struct instance *in, enum agent_type type, const void *p, size_t n,
		    struct buf *text, struct err *e)
{
	struct guest_request rq = { .ask = GUEST_ASK_AGENT };
	struct buf frames = BUF_INIT(GUEST_PACKET_MAX);
	int r = agent_put_long(&frames, type, 0, p, n);

	r = r < 0 ? err_sys(e, r, "request to the guest")
		  : guest_ask(in->dir, &rq, frames.data, frames.len, text, e);
	buf_fini(&frames);
	return r;
}

int guest_start(struct instance *in, const struct oci_spec *spec, struct wall_process *p,
		struct err *e)
{
	int r = simple(in, GUEST_ASK_START, 0, 0, e);

	(void)spec, (void)p;
	if (r < 0)
		return r;
	in->status = INSTANCE_RUNNING;
	return instance_save(in, e);
}

int guest_kill(struct instance *in, int sig, bool all, struct err *e)
{
	int r = simple(in, GUEST_ASK_KILL, (uint32_t)sig, all ? AGENT_SIGNAL_ALL : 0, e);

	return r < 0 ? r : 0;
}

int guest_pause(struct instance *in, struct err *e)
{
	int r = simple(in, GUEST_ASK_PAUSE, 0, 0, e);

	if (r < 0)
		return r;
	in->status = INSTANCE_PAUSED;
	return instance_save(in, e);
}

int guest_resume(struct instance *in, struct err *e)
{
	int r = simple(in, GUEST_ASK_RESUME, 0, 0, e);

	if (r < 0)
		return r;
	in->status = INSTANCE_RUNNING;
	return instance_save(in, e);
}

int guest_paused(struct instance *in)
{
	int r = simple(in, GUEST_ASK_PAUSED, 0, 0, NULL);

	return r == -ESRCH ? 0 : r;
}

int guest_shutdown(struct instance *in, bool reboot, struct err *e)
{
	int r = simple(in, GUEST_ASK_SHUTDOWN, reboot ? GUEST_DOWN_REBOOT : GUEST_DOWN_POWEROFF, 0,
		       e);

	return r < 0 ? r : 0;
}

bool guest_kept(struct instance *in)
{
	return faccessat(in->dir, GUEST_KEPT, F_OK, 0) == 0;
}

bool guest_crashed(struct instance *in)
{
	return faccessat(in->dir, GUEST_END, F_OK, 0) == 0;
}

/* The monitor and its VMM, as the host sees them. */
int guest_pids(struct instance *in, pid_t **pids, struct err *e)
{
	*pids = NULL;
	if (in->pid <= 0)
		return 0;
	*pids = malloc(sizeof(**pids));
	if (!*pids)
		return err_sys(e, -ENOMEM, "pids");
	(*pids)[0] = in->pid;
	return 1;
}

int guest_boot_log(struct instance *in, int *fd, struct err *e)
{
	*fd = openat(in->dir, GUEST_BOOT_LOG, O_RDONLY | O_CLOEXEC);
	return *fd < 0 ? err_sys(e, -errno, "the kernel's log of '%.12s'", in->id) : 0;
}

void guest_end_reason(struct instance *in, struct buf *text)
{
	file_read(in->dir, GUEST_END, text); /* absent: it ended by itself */
}

int guest_machine_stats(struct instance *in, struct buf *text, struct err *e)
{
	struct guest_request rq = { .ask = GUEST_ASK_MACHINE };
	int r = guest_ask(in->dir, &rq, NULL, 0, text, e);

	return r < 0 ? r : 0;
}

int guest_console(struct instance *in, int in_fd, int out_fd, struct err *e)
{
	struct guest_request rq = { .ask = GUEST_ASK_CONSOLE };
	cleanup_fd int sock = guest_connect(in->dir, e);

	if (sock < 0)
		return sock;
	int r = guest_send(sock, &rq, NULL, 0, (const int[2]){ in_fd, out_fd }, 2, e);

	if (r == 0)
		r = guest_answer(sock, NULL, NULL, e);
	return r < 0 ? r : steal_fd(&sock);
}

int64_t guest_oom_kills(struct instance *in)
{
	return faccessat(in->dir, GUEST_OOM, F_OK, 0) == 0;
}

int guest_cleanup(struct instance *in, const struct oci_spec *spec, bool force, struct err *e)
{
	cleanup_fd int pidfd = instance_pidfd(in);

	(void)spec;
	if (pidfd >= 0 && !force)
		return err_set(e, -EBUSY, "the guest is running");
	if (pidfd >= 0) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };

		/* The VMM dies with its monitor. */
		pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
		if (poll(&p, 1, 10000) == 0)
			return err_set(e, -EBUSY, "the guest's monitor does not die");
	}
	in->status = INSTANCE_STOPPED;
	unlinkat(in->dir, GUEST_SOCKET, 0);
	return 0;
}

/* ---- processes inside ---- */

void guest_exit_like(int status)
{
	struct rlimit none = { 0, 0 };
	sigset_t all;

	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status));
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	signal(WTERMSIG(status), SIG_DFL);
	sigfillset(&all);
	kill(getpid(), WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	_exit(128 + WTERMSIG(status));
}

static void forward(int sock, const struct buf *frame)
{
	struct guest_request rq = { .ask = GUEST_ASK_FORWARD };
	struct err ignored = ERR_INIT;

	guest_send(sock, &rq, frame->data, frame->len, NULL, 0, &ignored);
}

static void forward_signals(int sock, int sigfd, int terminal)
{
	struct signalfd_siginfo si;

	while (read(sigfd, &si, sizeof(si)) == sizeof(si)) {
		struct buf b = BUF_INIT(64);
		uint16_t rows, cols;

		if (si.ssi_signo != SIGWINCH)
			agent_put_signal(&b, 0, (int)si.ssi_signo, 0);
		else if (terminal >= 0 && tty_size_get(terminal, &rows, &cols) == 0)
			agent_put_resize(&b, 0, rows, cols);
		if (b.len)
			forward(sock, &b);
		buf_fini(&b);
	}
}

/* The child that stands for a process inside. */
static void __attribute__((noreturn)) waiter(int sock, int terminal)
{
	static const int signals[] = { SIGTERM, SIGINT,	 SIGHUP,   SIGQUIT,
				       SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT };
	sigset_t set;
	uint32_t status = 0;

	setsid();
	prctl(PR_SET_NAME, "warren-exec");
	if (terminal >= 0)
		ioctl(terminal, TIOCSCTTY, 0);
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	int sigfd = signal_fd_open(&set);
	struct pollfd p[2] = { { .fd = sock, .events = POLLIN },
			       { .fd = sigfd, .events = POLLIN } };

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			_exit(125);
		if (p[1].revents)
			forward_signals(sock, sigfd, terminal);
		if (!p[0].revents)
			continue;
		int r = guest_answer(sock, &status, NULL, NULL);

		if (r < 0) /* the guest is gone, and what ran in it */
			guest_exit_like(SIGKILL);
		if (r == AGENT_EXIT)
			guest_exit_like((int)status);
	}
}

/* Forks the waiter, which keeps only the socket and the terminal. */
static int fork_waiter(struct wall_process *p, int sock, int terminal, struct err *e)
{
	p->pid = fork();
	if (p->pid < 0)
		return err_sys(e, -errno, "fork");
	if (p->pid == 0) {
		int s = fcntl(sock, F_DUPFD, 10),
		    t = terminal < 0 ? -1 : fcntl(terminal, F_DUPFD, 10);
		int null = open("/dev/null", O_RDWR);

		for (int i = 0; i < 3; i++)
			dup2(null, i);
		dup2(s, 3);
		if (t >= 0)
			dup2(t, 4);
		syscall(SYS_close_range, t >= 0 ? 5u : 4u, ~0u, 0);
		waiter(3, t >= 0 ? 4 : -1);
	}
	p->pidfd = pidfd_open(p->pid, 0);
	return p->pidfd < 0 ? err_sys(e, -errno, "pidfd_open") : 0;
}

/* Sends EXEC with the descriptors and waits until it runs. */
static int exec_send(int sock, const struct oci_process *pr, const int fds[3], unsigned n,
		     struct err *e)
{
	struct guest_request rq = { .ask = GUEST_ASK_AGENT, .arg = pr->terminal };
	struct buf json = BUF_INIT(GUEST_PACKET_MAX / 2), frames = BUF_INIT(GUEST_PACKET_MAX);
	int r = oci_process_print(pr, &json);

	if (r == 0)
		r = agent_put_long(&frames, AGENT_EXEC, 0, json.data, json.len);
	r = r < 0 ? err_sys(e, r, "the process's description")
		  : guest_send(sock, &rq, frames.data, frames.len, fds, n, e);
	buf_fini(&json);
	buf_fini(&frames);
	return r < 0 ? r : guest_answer(sock, NULL, NULL, e);
}

int guest_exec(struct instance *in, const struct wall_exec *x, struct wall_process *p,
	       struct err *e)
{
	const struct oci_process *pr = x->process ? x->process : x->spec->process;
	cleanup_fd int sock = guest_connect(in->dir, e);
	cleanup_fd int slave = -1;
	int fds[3], r;

	if (sock < 0)
		return sock;
	for (int i = 0; i < 3; i++)
		fds[i] = x->stdio[i] >= 0 ? x->stdio[i] : i;
	if (pr->terminal) {
		r = guest_terminal(pr, x->console_socket, &p->master, &slave, e);
		if (r < 0)
			return r;
		fds[0] = fds[1] = slave;
	}
	r = exec_send(sock, pr, fds, pr->terminal ? 2 : 3, e);
	return r < 0 ? r : fork_waiter(p, sock, slave, e);
}

int guest_copy(struct instance *in, bool put, bool follow, const char *path, int fd, struct err *e)
{
	struct guest_request rq = { .ask = GUEST_ASK_AGENT };
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	cleanup_fd int sock = guest_connect(in->dir, e);
	struct buf frame = BUF_INIT(8192);
	uint32_t status = 0;

	if (sock < 0)
		return sock;
	int r = agent_put(&frame, put ? AGENT_PUT : AGENT_GET,
			  follow && !put ? AGENT_GET_FOLLOW : 0, 0, path, strlen(path));
	const int fds[3] = { put ? fd : null, put ? null : fd, null };

	r = r < 0 ? err_sys(e, r, "cp") : guest_send(sock, &rq, frame.data, frame.len, fds, 3, e);
	buf_fini(&frame);
	while (r >= 0 && r != AGENT_EXIT)
		r = guest_answer(sock, &status, NULL, e);
	if (r >= 0 && status)
		return err_set(e, -EIO, "cp: the guest's side failed (%u)", status);
	return r < 0 ? r : 0;
}

/* ---- figures and limits ---- */

int guest_stats(struct instance *in, struct oci_stats *st, struct err *e)
{
	struct buf text = BUF_INIT(AGENT_REQUEST_MAX);
	int r = guest_agent_ask(in, AGENT_STATS, NULL, 0, &text, e);

	if (r >= 0)
		r = oci_stats_parse(buf_str(&text), text.len, st, e);
	buf_fini(&text);
	return r < 0 ? r : 0;
}

/* What the container may not use any more, the machine gives back, where it has a balloon; without a limit it may
 * have all that it began with. */
static int fit_machine(struct instance *in, int64_t limit, struct err *e)
{
	uint64_t most = (uint64_t)UINT32_MAX << 20, want = most;

	if (limit > 0)
		want = MIN(GUEST_MEMORY_KERNEL + (uint64_t)limit, most);
	return simple(in, GUEST_ASK_MEMORY, (uint32_t)(want >> 20), 0, e);
}

/* A machine has what it was started with; a container cannot be promised more. */
static int check_limit(struct instance *in, int64_t limit, struct err *e)
{
	struct oci_spec *spec = NULL;
	uint64_t memory;
	unsigned vcpus;
	int r = instance_load_config(in, &spec, e);

	if (r == 0)
		r = guest_size(spec, &memory, &vcpus, e);
	oci_spec_free(spec);
	if (r < 0 || (uint64_t)limit <= memory)
		return r;
	return err_set(
		e, -EOPNOTSUPP,
		"memory: its machine has had %llu MB since its start, and gets no more. Fix: stop "
		"it, update it, start it again",
		(unsigned long long)memory >> 20);
}

int guest_update(struct instance *in, const struct oci_resources *r, struct err *e)
{
	struct buf json = BUF_INIT(GUEST_PACKET_MAX / 2);
	int rc = r->memory.limit.set && r->memory.limit.v > 0
			 ? check_limit(in, r->memory.limit.v, e)
			 : 0;

	if (rc == 0)
		rc = oci_resources_print(r, &json);
	else
		return rc;
	rc = rc < 0 ? err_sys(e, rc, "update")
		    : guest_agent_ask(in, AGENT_UPDATE, json.data, json.len, NULL, e);
	buf_fini(&json);
	if (rc >= 0 && r->memory.limit.set)
		rc = fit_machine(in, r->memory.limit.v, e);
	return rc < 0 ? rc : 0;
}
