/*
 * The instance's standard streams: pipes, or the master side of its terminal.
 *
 * What comes out goes to the log and to every attached client, in pieces of at most CHUNK bytes. While a
 * client has not taken its piece nothing more is read. What attached clients send goes in; when the
 * instance does not take it, the sender is not read from until it does.
 *
 * Trust: bytes are opaque. Threads: the loop's. #syscalls: pipe2 read write openat epoll_ctl close fcntl
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "run/keeper_int.h"

enum { CHUNK = 16384, ROUNDS = 16 };

static void set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void close_source(struct keeper *k, struct loop_fd *s)
{
	loop_unwatch(&k->loop, s);
	close_fd(&s->fd);
}

static void tell_clients(struct keeper *k, bool is_stderr, const char *p, size_t n)
{
	const uint16_t stream = is_stderr ? CONTROL_STREAM_STDERR : CONTROL_STREAM_STDOUT;
	const struct control_msg m = { .type = is_stderr ? CONTROL_STDERR : CONTROL_STDOUT,
				       .body = p,
				       .n = n };

	list_for_each_safe (pos, &k->clients) {
		struct client *c = list_item(pos, struct client, link);

		if (c->attached && (c->streams & stream))
			client_send(c, &m);
	}
}

/* One piece. False when there is no more now. */
static bool pump(struct output *o)
{
	static char chunk[CHUNK];
	struct keeper *k = o->k;
	ssize_t n;

	do
		n = read(o->src.fd, chunk, sizeof(chunk));
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		/* A terminal whose last user closed it says EIO. */
		close_source(k, &o->src);
		return false;
	}
	logfile_write(&k->log, o->is_stderr, chunk, (size_t)n);
	tell_clients(k, o->is_stderr, chunk, (size_t)n);
	return true;
}

static void on_output(struct loop_fd *src, uint32_t events)
{
	struct output *o = container_of(src, struct output, src);

	(void)events;
	for (int i = 0; i < ROUNDS && o->src.fd >= 0 && !clients_blocked(o->k); i++)
		if (!pump(o))
			break;
	streams_flow(o->k);
	keeper_leave_if_idle(o->k);
}

void streams_flow(struct keeper *k)
{
	bool blocked = clients_blocked(k);

	for (int i = 0; i < 2; i++) {
		struct loop_fd *s = &k->out[i].src;

		if (s->fd < 0 || s->added == !blocked)
			continue;
		if (blocked)
			loop_unwatch(&k->loop, s);
		else
			loop_watch(&k->loop, s, EPOLLIN);
	}
}

void streams_drain(struct keeper *k)
{
	for (int i = 0; i < 2; i++)
		while (k->out[i].src.fd >= 0 && !clients_blocked(k) && pump(&k->out[i]))
			;
	streams_flow(k);
}

bool streams_ended(const struct keeper *k)
{
	return k->out[0].src.fd < 0 && k->out[1].src.fd < 0;
}

static void release_senders(struct keeper *k)
{
	list_for_each_safe (p, &k->clients) {
		struct client *c = list_item(p, struct client, link);

		if (!c->stdin_held)
			continue;
		c->stdin_held = false;
		loop_watch(&k->loop, &c->src, EPOLLIN | (c->out.len ? EPOLLOUT : 0u));
	}
}

/* Writes what waits for the instance. */
static void push_input(struct keeper *k)
{
	while (k->input_wait.len) {
		ssize_t n = write(k->input.fd, k->input_wait.data, k->input_wait.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			loop_watch(&k->loop, &k->input, EPOLLOUT);
			return;
		}
		if (n < 0) {
			/* It closed its input: what comes is thrown away, as a shell's pipe would. */
			k->input_end = !k->set.tty;
			break;
		}
		buf_consume(&k->input_wait, (size_t)n);
	}
	buf_fini(&k->input_wait);
	loop_unwatch(&k->loop, &k->input);
	if (k->input_end && !k->set.tty)
		close_fd(&k->input.fd);
	release_senders(k);
}

static void on_input(struct loop_fd *src, uint32_t events)
{
	(void)events;
	push_input(container_of(src, struct keeper, input));
}

void stream_input(struct keeper *k, struct client *from, const void *p, size_t n)
{
	if (k->input_end || (k->input.fd < 0 && k->phase > PHASE_STARTING))
		return;
	if (!n)
		k->input_end = !k->set.tty;
	else
		buf_add(&k->input_wait, p, n);
	if (k->input.fd >= 0)
		push_input(k);
	if (from && k->input_wait.len)
		from->stdin_held = true;
}

static int make_pipe(int *reader, int *writer)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*reader = fds[0];
	*writer = fds[1];
	return 0;
}

int streams_make(struct keeper *k)
{
	int r = 0;

	for (int i = 0; i < 3; i++)
		k->child_stdio[i] = -1;
	k->input_end = false;
	k->input.fn = on_input;
	if (k->set.tty)
		return 0;
	if (k->set.open_stdin)
		r = make_pipe(&k->child_stdio[0], &k->input.fd);
	else
		k->child_stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (!r && k->child_stdio[0] < 0)
		r = -errno;
	for (int i = 0; !r && i < 2; i++)
		r = make_pipe(&k->out[i].src.fd, &k->child_stdio[i + 1]);
	/* Input may come before anybody reads it. */
	if (k->input.fd >= 0)
		set_nonblocking(k->input.fd);
	return r;
}

void streams_open(struct keeper *k, int master)
{
	for (int i = 0; i < 3; i++)
		close_fd(&k->child_stdio[i]);
	if (k->set.tty) {
		/* Two descriptors, so that input and output are watched apart. */
		k->out[0].src.fd = master;
		k->input.fd = master < 0 ? -1 : fcntl(master, F_DUPFD_CLOEXEC, 3);
	}
	if (k->input.fd >= 0)
		set_nonblocking(k->input.fd);
	for (int i = 0; i < 2; i++) {
		if (k->out[i].src.fd < 0)
			continue;
		k->out[i].src.fn = on_output;
		set_nonblocking(k->out[i].src.fd);
	}
	streams_flow(k);
	if (k->input.fd >= 0 && (k->input_wait.len || k->input_end))
		push_input(k);
}

void streams_close(struct keeper *k)
{
	for (int i = 0; i < 3; i++)
		close_fd(&k->child_stdio[i]);
	for (int i = 0; i < 2; i++)
		close_source(k, &k->out[i].src);
	close_source(k, &k->input);
	buf_fini(&k->input_wait);
	release_senders(k);
}
