/*
 * The client's side of an attached instance: three descriptors of ours, one socket to its keeper.
 *
 * One poll loop, because input may be a file or /dev/null, which epoll refuses. Output is written as it
 * comes, blocking: whoever reads our output slowly slows the instance down. Input is read only when the
 * last piece was taken by the socket. Signals are read from a signalfd and sent on through a connection of
 * their own, since the main one may be full of input.
 *
 * Trust: what the keeper sends is checked by wire/control. Threads: one.
 * #syscalls: poll read write signalfd4 rt_sigprocmask ioctl sendmsg recvmsg
 */
#include "run/attach.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"
#include "os/loop.h"
#include "os/tty.h"
#include "run/link.h"
#include "wire/control.h"

enum { PIECE = 16384, GO_ON = 1000 };

struct session {
	struct attach *a;
	struct tty_mode mode;
	int signals;
	bool input_open;
	unsigned char input[PIECE + DETACH_KEYS_MAX];
	size_t input_n; /* read but not sent yet */
	bool input_waits, end_waits;
	struct link_packet packet;
};

static void send_size(struct session *s)
{
	struct control_msg m = { .type = CONTROL_RESIZE };
	uint16_t rows, cols;

	if (tty_size_get(STDOUT_FILENO, &rows, &cols) && tty_size_get(STDIN_FILENO, &rows, &cols))
		return;
	m.a = rows;
	m.b = cols;
	if (link_send(s->a->link, &m, MSG_DONTWAIT) == -EAGAIN) {
		cleanup_fd int other = link_open(s->a->subject, NULL);

		if (other >= 0)
			link_send(other, &m, MSG_DONTWAIT);
	}
}

static void take_signal(struct session *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH) {
		if (s->a->tty)
			send_size(s);
		return;
	}
	link_once(s->a->subject,
		  &(struct control_msg){ .type = CONTROL_SIGNAL, .a = info.ssi_signo }, NULL);
}

static void send_input(struct session *s)
{
	struct control_msg m = { .type = CONTROL_STDIN, .body = s->input, .n = s->input_n };

	if (s->input_waits) {
		if (link_send(s->a->link, &m, MSG_DONTWAIT) == -EAGAIN)
			return;
		s->input_waits = false;
	}
	if (s->end_waits) {
		m.n = 0;
		if (link_send(s->a->link, &m, MSG_DONTWAIT) == -EAGAIN)
			return;
		s->end_waits = false;
	}
}

/* True when the detach keys were typed. */
static bool take_input(struct session *s)
{
	unsigned char piece[PIECE];
	ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
	bool left = false;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (n <= 0) {
		s->input_open = false;
		s->end_waits = true;
	} else if (s->a->tty) {
		left = detach_keys_feed(&s->a->keys, piece, (size_t)n, s->input, &s->input_n);
		s->input_waits = s->input_n > 0;
	} else {
		memcpy(s->input, piece, (size_t)n);
		s->input_n = (size_t)n;
		s->input_waits = true;
	}
	send_input(s);
	return left;
}

/* GO_ON, or as attach_run. */
static int take_message(struct session *s, int *status, struct err *e)
{
	struct control_msg m;
	int r = link_recv(s->a->link, &s->packet, &m, MSG_DONTWAIT, e);

	if (r == -EAGAIN)
		return GO_ON;
	if (r == -ECONNRESET || r == -EPIPE)
		return ATTACH_LOST;
	if (r)
		return r;
	switch (m.type) {
	case CONTROL_STDOUT:
	case CONTROL_STDERR:
		r = write_full(m.type == CONTROL_STDOUT ? STDOUT_FILENO : STDERR_FILENO, m.body,
			       m.n);
		/* Nobody reads us any more: the instance goes on without us. */
		return r == -EPIPE ? ATTACH_DETACHED : GO_ON;
	case CONTROL_STARTED:
		if (s->a->started)
			s->a->started(s->a->arg, (int)m.a);
		return GO_ON;
	case CONTROL_EXIT:
		*status = (m.flags & CONTROL_EXIT_TIMEOUT) ? 124 : (int)m.a;
		return ATTACH_EXITED;
	case CONTROL_ERROR:
		err_set(e, -EIO, "%.*s", (int)m.n, (const char *)m.body);
		*status = m.b ? (int)m.b : 125;
		return ATTACH_NOT_RUN;
	default:
		return GO_ON;
	}
}

static int converse(struct session *s, int *status, struct err *e)
{
	for (;;) {
		bool waits = s->input_waits || s->end_waits;
		struct pollfd p[] = {
			{ .fd = s->a->link, .events = (short)(POLLIN | (waits ? POLLOUT : 0)) },
			{ .fd = s->signals, .events = POLLIN },
			{ .fd = s->input_open && !waits ? STDIN_FILENO : -1, .events = POLLIN },
		};

		if (poll(p, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, -errno, "poll");
		}
		if (p[1].revents)
			take_signal(s);
		if (p[0].revents & POLLOUT)
			send_input(s);
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
			int r = take_message(s, status, e);

			if (r != GO_ON)
				return r;
		}
		if (p[2].revents && take_input(s))
			return ATTACH_DETACHED;
	}
}

static void choose_signals(const struct attach *a, sigset_t *set)
{
	static const int never[] = { SIGCHLD, SIGPIPE, SIGURG, SIGSTOP, SIGKILL, SIGSEGV,
				     SIGBUS,  SIGFPE,  SIGILL, SIGTSTP, SIGTTIN, SIGTTOU };

	sigemptyset(set);
	if (a->sig_proxy) {
		sigfillset(set);
		for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
			sigdelset(set, never[i]);
	}
	sigaddset(set, SIGWINCH);
}

static int begin(struct session *s, struct err *e)
{
	struct attach *a = s->a;
	int r = link_send(a->link,
			  &(struct control_msg){ .type = CONTROL_ATTACH, .flags = a->streams }, 0);

	if (r)
		return err_sys(e, r, "control socket");
	if (a->tty && (a->streams & CONTROL_STREAM_STDIN) && isatty(STDIN_FILENO)) {
		r = tty_raw(&s->mode, STDIN_FILENO);
		if (r)
			return err_sys(e, r, "terminal");
	}
	if (a->tty)
		send_size(s);
	s->input_open = a->streams & CONTROL_STREAM_STDIN;
	return a->start ? link_start(a->link, a->subject, e) : 0;
}

int attach_run(struct attach *a, int *status, struct err *e)
{
	static struct session s;
	sigset_t set, before;

	s = (struct session){ .a = a, .mode = TTY_MODE_INIT, .signals = -1 };
	choose_signals(a, &set);
	if (sigprocmask(SIG_BLOCK, NULL, &before) < 0)
		return err_sys(e, -errno, "sigprocmask");
	s.signals = signal_fd_open(&set);
	signal(SIGPIPE, SIG_IGN);
	int r = s.signals < 0 ? err_sys(e, s.signals, "signalfd") : begin(&s, e);

	if (!r)
		r = converse(&s, status, e);
	tty_restore(&s.mode);
	close_fd(&s.signals);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}
