/*
 * exec: a process beside the instance's own, made by the wall and waited for by this program.
 *
 * There is no keeper in between: the new process is our child. Its streams are pipes (or a terminal of its
 * own), never our descriptors themselves, so that nothing in an instance can reach the caller's terminal
 * or files through them. Signals that come to us go to it.
 *
 * A command that runs on without us (-d) is the child of a minder, a copy of this program with nothing of the
 * caller's. Without one it would be left to the host's first process, and a dead process that nobody has waited for
 * keeps the container's pid namespace, and with it the container, from ending.
 *
 * Trust: /etc/passwd is read in the instance's root, which is hostile: through openat2 that cannot leave
 * it. Threads: one. #syscalls: pipe2 poll read write signalfd4 rt_sigprocmask waitid pidfd_send_signal openat2
 * clone setsid chdir dup2 close_range prctl wait4
 */
#include "run/execute.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "os/loop.h"
#include "os/tty.h"
#include "run/events.h"
#include "run/inside.h"
#include "run/status.h"
#include "wire/passwd.h"

enum { PIECE = 16384, MEMORY_MAX = 1 << 20, PASSWD_MAX = 1 << 20 };

struct relay {
	const struct execute *x;
	struct wall_process p;
	struct tty_mode mode;
	struct detach_keys keys;
	int signals;
	int in, out[2]; /* our ends; with a terminal all are its master */
	bool input_open;
	uint64_t deadline;			     /* 0: none */
	unsigned char wait[PIECE + DETACH_KEYS_MAX]; /* input that was not taken yet */
	size_t wait_at, wait_n;
};

static const char *own_env(struct arena *a, const char *pair)
{
	if (strchr(pair, '='))
		return pair;
	const char *value = getenv(pair);

	return value ? arena_printf(a, "%s=%s", pair, value) : NULL;
}

static bool same_key(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strcspn(b, "=") == n && memcmp(a, b, n) == 0;
}

/* The instance's environment, then ours in its place or behind it. */
static int make_env(struct arena *a, const struct execute *x, const struct oci_strings *base,
		    struct oci_strings *out)
{
	const char **v = arena_calloc(a, base->n + x->env.n + 2, sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (; n < base->n; n++)
		v[n] = base->v[n];
	for (size_t i = 0; i < x->env.n; i++) {
		const char *pair = own_env(a, x->env.v[i]);
		size_t at = 0;

		if (!pair)
			continue;
		while (at < n && !same_key(v[at], pair))
			at++;
		v[at] = pair;
		n += at == n;
	}
	if (x->tty) {
		size_t at = 0;

		while (at < n && !same_key(v[at], "TERM="))
			at++;
		if (at == n)
			v[n++] = "TERM=xterm";
	}
	*out = (struct oci_strings){ v, n };
	return 0;
}

static int read_inside(const struct execute *x, const char *path, struct buf *b)
{
	cleanup_fd int root = inside_root(x->s, NULL);

	if (root < 0)
		return root;
	cleanup_fd int fd = inside_open(root, path, O_RDONLY | O_NONBLOCK, 0);

	return fd < 0 ? fd : read_all(fd, b);
}

/* "user[:group]" becomes numbers, by the files of the instance. */
static int find_user(struct arena *a, const struct execute *x, struct oci_process *p, struct err *e)
{
	cleanup_with(buf_fini) struct buf passwd = BUF_INIT(PASSWD_MAX),
					  group = BUF_INIT(PASSWD_MAX);
	struct user_ids ids;
	int r;

	if (x->s->wall->user) {
		r = x->s->wall->user(&x->s->in, x->user, &ids, e);
	} else {
		/* What cannot be read names nobody. */
		if (read_inside(x, "/etc/passwd", &passwd))
			passwd.len = 0;
		if (read_inside(x, "/etc/group", &group))
			group.len = 0;
		r = user_find(x->user, buf_str(&passwd), passwd.len, buf_str(&group), group.len,
			      &ids, e);
	}
	if (r)
		return r;
	uint32_t *groups = arena_calloc(a, ids.groups_n + 1, sizeof(*groups));

	if (!groups)
		return err_sys(e, -ENOMEM, "user '%s'", x->user);
	memcpy(groups, ids.groups, ids.groups_n * sizeof(*groups));
	p->uid = ids.uid;
	p->gid = ids.gid;
	p->additional_gids = groups;
	p->additional_gids_n = ids.groups_n;
	return 0;
}

/* Root has the instance's capabilities, another user those that a set-user-id program may give it. */
static void decide_caps(const struct execute *x, const struct oci_caps *base, struct oci_caps *caps,
			uint32_t uid)
{
	*caps = base ? *base : (struct oci_caps){ 0 };
	if (x->privileged)
		caps->bounding = (1ull << 41) - 1;
	if (x->privileged || uid == 0)
		caps->effective = caps->permitted = caps->bounding;
	else if (x->user)
		caps->effective = caps->permitted = caps->ambient = caps->inheritable = 0;
}

static int make_process(struct arena *a, const struct execute *x, const struct oci_process *base,
			struct oci_process *p, struct oci_caps *caps, struct err *e)
{
	*p = *base;
	for (p->args.n = 0; x->args[p->args.n]; p->args.n++)
		;
	p->args.v = (const char **)(uintptr_t)x->args;
	p->terminal = x->tty;
	p->rows = p->cols = 0;
	if (x->tty && tty_size_get(STDOUT_FILENO, &p->rows, &p->cols))
		tty_size_get(STDIN_FILENO, &p->rows, &p->cols);
	if (x->workdir)
		p->cwd = x->workdir;
	int r = make_env(a, x, &base->env, &p->env);

	if (!r && x->user)
		r = find_user(a, x, p, e);
	if (!r) {
		decide_caps(x, base->caps, caps, p->uid);
		p->caps = caps;
	}
	return r;
}

static int open_streams(struct relay *r, int child[3], struct err *e)
{
	const struct execute *x = r->x;
	int fds[2];

	for (int i = 0; i < 3; i++) {
		bool pipe_wanted = !x->detach && (i || x->interactive);

		if (!pipe_wanted) {
			child[i] = open("/dev/null", (i ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
			if (child[i] < 0)
				return err_sys(e, -errno, "/dev/null");
			continue;
		}
		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_sys(e, -errno, "pipe");
		child[i] = fds[i ? 1 : 0];
		if (i)
			r->out[i - 1] = fds[0];
		else
			r->in = fds[1];
	}
	return 0;
}

static void take_signal(struct relay *r)
{
	struct signalfd_siginfo info;
	uint16_t rows, cols;

	if (read(r->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH) {
		if (r->x->tty && !tty_size_get(STDIN_FILENO, &rows, &cols))
			tty_size_set(r->p.master, rows, cols);
	} else if (info.ssi_signo != SIGCHLD) {
		syscall(SYS_pidfd_send_signal, r->p.pidfd, (int)info.ssi_signo, NULL, 0);
	}
}

static void close_input(struct relay *r)
{
	r->input_open = false;
	if (!r->x->tty)
		close_fd(&r->in);
}

static void push_input(struct relay *r)
{
	while (r->wait_at < r->wait_n) {
		ssize_t n = write(r->in, r->wait + r->wait_at, r->wait_n - r->wait_at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			close_input(r);
			break;
		}
		r->wait_at += (size_t)n;
	}
	r->wait_at = r->wait_n = 0;
}

/* True when the detach keys were typed. */
static bool take_input(struct relay *r)
{
	unsigned char piece[PIECE];
	ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
	bool left = false;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (n <= 0) {
		close_input(r);
		return false;
	}
	if (r->x->tty) {
		left = detach_keys_feed(&r->keys, piece, (size_t)n, r->wait, &r->wait_n);
	} else {
		memcpy(r->wait, piece, (size_t)n);
		r->wait_n = (size_t)n;
	}
	push_input(r);
	return left;
}

/* One piece of output; closes the stream at its end. */
static void take_output(struct relay *r, int i)
{
	static char piece[PIECE];
	ssize_t n = read(r->out[i], piece, sizeof(piece));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	struct buf *to = r->x->capture;

	if (n > 0 && to) {
		buf_add(to, piece, MIN((size_t)n, to->max - to->len));
		return;
	}
	if (n > 0 && write_full(i ? STDERR_FILENO : STDOUT_FILENO, piece, (size_t)n) != -EPIPE)
		return;
	close_fd(&r->out[i]);
}

/* After the end, what the pipes still hold; somebody else may keep them open. */
static void drain(struct relay *r)
{
	for (int i = 0; i < 2; i++) {
		struct pollfd p = { .fd = r->out[i], .events = POLLIN };

		while (r->out[i] >= 0 && poll(&p, 1, 0) > 0) {
			take_output(r, i);
			p.fd = r->out[i];
		}
	}
}

/* Milliseconds for poll; -1: for ever. */
static int time_left(const struct relay *r)
{
	uint64_t now = now_ns();

	if (!r->deadline)
		return -1;
	return now >= r->deadline ? 0
				  : (int)MIN((r->deadline - now) / 1000000 + 1, (uint64_t)INT_MAX);
}

/* True: the user left. */
static bool converse(struct relay *r)
{
	for (;;) {
		bool waits = r->wait_at < r->wait_n;
		struct pollfd p[] = {
			{ .fd = r->p.pidfd, .events = POLLIN },
			{ .fd = r->signals, .events = POLLIN },
			{ .fd = r->input_open && !waits ? STDIN_FILENO : -1, .events = POLLIN },
			{ .fd = waits ? r->in : -1, .events = POLLOUT },
			{ .fd = r->out[0], .events = POLLIN },
			{ .fd = r->out[1], .events = POLLIN },
		};

		int left = time_left(r);

		if (!left) {
			*r->x->timed_out = true;
			syscall(SYS_pidfd_send_signal, r->p.pidfd, SIGKILL, NULL, 0);
			return false;
		}
		if (poll(p, ARRAY_SIZE(p), left) < 0 && errno != EINTR)
			return false;
		if (p[1].revents)
			take_signal(r);
		if (p[3].revents)
			push_input(r);
		if (p[2].revents && take_input(r))
			return true;
		for (int i = 0; i < 2; i++)
			if (p[4 + i].revents)
				take_output(r, i);
		if (p[0].revents) {
			drain(r);
			return false;
		}
	}
}

static void choose_signals(sigset_t *set)
{
	static const int wanted[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH
	};

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		sigaddset(set, wanted[i]);
}

static int collect(struct relay *r, int *status, struct err *e)
{
	siginfo_t info;

	if (waitid(P_PID, (id_t)r->p.pid, &info, WEXITED) < 0)
		return err_sys(e, -errno, "wait for the command");
	*status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	return 0;
}

static int attend(struct relay *r, int *status, struct err *e)
{
	sigset_t set, before;
	int s;

	choose_signals(&set);
	sigprocmask(SIG_BLOCK, NULL, &before);
	r->signals = signal_fd_open(&set);
	signal(SIGPIPE, SIG_IGN);
	r->input_open = r->x->interactive;
	if (r->x->tty) {
		r->in = r->p.master;
		r->out[0] = fcntl(r->p.master, F_DUPFD_CLOEXEC, 3);
		if (r->x->interactive && isatty(STDIN_FILENO))
			tty_raw(&r->mode, STDIN_FILENO);
	}
	if (r->in >= 0)
		fcntl(r->in, F_SETFL, fcntl(r->in, F_GETFL) | O_NONBLOCK);
	*status = 0;
	s = converse(r) ? 0 : collect(r, status, e);
	tty_restore(&r->mode);
	close_fd(&r->signals);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return s;
}

static int begin(struct relay *r, int *status, struct err *e)
{
	const struct execute *x = r->x;
	cleanup_with(arena_fini) struct arena arena = ARENA_INIT(MEMORY_MAX);
	struct oci_process process;
	struct oci_caps caps;
	struct wall_exec we = WALL_EXEC_INIT;
	struct oci_spec *spec = NULL;
	int s = instance_load_config(&x->s->in, &spec, e);

	if (!s && !spec->process)
		s = err_set(
			e, -EOPNOTSUPP,
			"'%s' is a domain: there is no agent of Warren's inside. Use its console",
			x->s->rec.name);
	if (!s)
		s = make_process(&arena, x, spec->process, &process, &caps, e);
	if (!s && !x->tty)
		s = open_streams(r, we.stdio, e);
	if (!s) {
		we.spec = spec;
		we.process = &process;
		s = x->s->wall->exec(&x->s->in, &we, &r->p, e);
		if (s)
			*status = exit_status_for(s, e);
	}
	for (int i = 0; i < 3; i++)
		close_fd(&we.stdio[i]);
	oci_spec_free(spec);
	return s;
}

static void emit_die(const struct execute *x, int status)
{
	char code[32];

	snprintf(code, sizeof(code), "exitCode=%d", status);
	event_emit(x->root, x->s, "exec_die", (const char *const[]){ code, NULL });
}

/* What the minder says once the command runs, or why it does not. */
struct begun {
	int result, status;
	struct err err;
};

__attribute__((noreturn)) static void mind(struct relay *r, int report)
{
	struct begun b = { .err = ERR_INIT };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), code = 0;

	prctl(PR_SET_NAME, "warren-exec");
	setsid();
	b.result = begin(r, &b.status, &b.err);
	if (write_full(report, &b, sizeof(b)) || b.result || null < 0)
		_exit(0);
	dup2(r->p.master >= 0 ? r->p.master : null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	close_range(3, ~0u, 0);
	if (chdir("/") < 0)
		_exit(0);
	/* A terminal that nobody reads would block who writes to it; it hangs up as the command ends. */
	for (char piece[256]; read(STDIN_FILENO, piece, sizeof(piece)) > 0 || errno == EINTR;)
		errno = 0;
	while (waitpid(r->p.pid, &code, __WALL) < 0 && errno == EINTR)
		continue;
	emit_die(r->x, WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code));
	_exit(0);
}

/* Returns when the command runs, as the minder's child. */
static int begin_minded(struct relay *r, int *status, struct err *e)
{
	struct begun b;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "pipe");
	pid_t pid = fork();

	if (!pid)
		mind(r, ends[1]);
	close(ends[1]);
	cleanup_fd int report = ends[0];

	if (pid < 0)
		return err_sys(e, -errno, "fork");
	if (read_full(report, &b, sizeof(b)) != (ssize_t)sizeof(b))
		return err_set(e, -ECHILD, "the process that starts the command died");
	*status = b.status;
	if (b.result && e)
		*e = b.err;
	return b.result;
}

int execute_run(const struct execute *x, int *status, struct err *e)
{
	static struct relay r;
	char command[256];
	int s;

	*status = 125;
	if (!subject_alive(x->s))
		return err_set(e, -ESRCH, "'%s' is not running", x->s->rec.name);
	if (wall_status(&x->s->in) == INSTANCE_PAUSED)
		return err_set(e, -EBUSY, "'%s' is paused; unpause it first", x->s->rec.name);
	if (!x->s->wall->exec)
		return err_set(e, -EOPNOTSUPP, "the %s wall has no exec", x->s->wall->name);
	r = (struct relay){ .x = x,
			    .p = WALL_PROCESS_INIT,
			    .mode = TTY_MODE_INIT,
			    .keys = x->keys,
			    .signals = -1,
			    .deadline = x->timeout_ns ? now_ns() + x->timeout_ns : 0,
			    .in = -1,
			    .out = { -1, -1 } };
	/* What runs in a guest has no process here to wait for. */
	s = x->detach && !x->s->wall->guest ? begin_minded(&r, status, e) : begin(&r, status, e);
	if (s)
		goto out;
	snprintf(command, sizeof(command), "exec_start: %s", x->args[0]);
	event_emit(x->root, x->s, command, NULL);
	if (x->detach) {
		*status = 0;
		goto out;
	}
	s = attend(&r, status, e);
	emit_die(x, *status);
out:
	for (int i = 0; i < 2; i++)
		close_fd(&r.out[i]);
	if (!x->tty)
		close_fd(&r.in);
	wall_process_fini(&r.p);
	return s;
}
