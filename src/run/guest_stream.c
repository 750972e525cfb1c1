/*
 * The host's end of a stream: the descriptors that somebody handed us for a process inside a guest. What we
 * read from descriptor 0 goes to the agent as far as it granted; what comes from there is written as the
 * descriptors take it, and only then granted back, so a slow reader holds back its own process alone.
 *
 * Descriptors are shared with other programs, so their O_NONBLOCK is not ours to set: they are polled, and
 * then one read, or one write of at most PIPE_BUF bytes to a pipe, does not block. A terminal is ready when it has
 * room for one byte, and would make us wait for the others; it is opened once more, as one that does not.
 *
 * Trust: the guest's bytes are opaque; its frames were parsed, its windows are kept here. Threads: none.
 * #syscalls: read write openat epoll_ctl close ioctl
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/tty.h"
#include "run/guest_int.h"

/* A terminal that is ready and takes nothing has room for one byte, and wants to write two for a line's end. */
#define LATE_NS (5ull * 1000000)

static void input_ready(struct loop_fd *w, uint32_t events);
static void output_ready(struct loop_fd *w, uint32_t events);
static void error_ready(struct loop_fd *w, uint32_t events);
static void try_again(struct loop_timer *t);

struct guest_stream *guest_stream_new(struct monitor *m, uint32_t id, const int fds[3])
{
	static void (*const ready[3])(struct loop_fd *, uint32_t) = { input_ready, output_ready,
								      error_ready };
	struct guest_stream *s = calloc(1, sizeof(*s));

	if (!s) {
		for (int i = 0; i < 3; i++) {
			if (fds[i] >= 0)
				close(fds[i]);
		}
		return NULL;
	}
	s->m = m;
	s->id = id;
	s->terminal = -1;
	s->again.fn = try_again;
	for (unsigned i = 0; i < 3; i++) {
		int own = i && fds[i] >= 0 ? tty_open_unblocked(fds[i]) : -1;

		s->fds[i] = own >= 0 ? own : fds[i];
		if (own >= 0)
			close(fds[i]);
		s->has_fds |= s->fds[i] >= 0;
		s->watch[i].fn = ready[i];
		s->watch[i].fd = s->fds[i];
		agent_flow_init(&s->flow[i]);
		buf_init(&s->out[i], AGENT_WINDOW_SIZE);
	}
	list_add(&m->streams, &s->link);
	return s;
}

static void close_one(struct guest_stream *s, unsigned i)
{
	loop_unwatch(&s->m->loop, &s->watch[i]);
	close_fd(&s->fds[i]);
}

void guest_stream_free(struct guest_stream *s)
{
	for (unsigned i = 0; i < 3; i++) {
		close_one(s, i);
		buf_fini(&s->out[i]);
	}
	loop_disarm(&s->again);
	if (s->client)
		s->client->stream = 0;
	if (s->m->main == s)
		s->m->main = NULL;
	list_del(&s->link);
	free(s);
}

/* Watches, or for what cannot be polled comes back at once. */
static void want(struct guest_stream *s, unsigned i, uint32_t events)
{
	if (s->always[i]) {
		loop_arm(&s->m->loop, &s->again, 0);
		return;
	}
	int r = loop_watch(&s->m->loop, &s->watch[i], events);

	if (r == -EPERM) { /* a regular file or the like: always ready */
		s->always[i] = true;
		loop_arm(&s->m->loop, &s->again, 0);
	}
}

/* True when everything that came was written and the end may be told. */
static bool drained(const struct guest_stream *s)
{
	return s->ended && !s->out[1].len && !s->out[2].len;
}

/* Reports and frees when it is time. Returns true when `s` is gone. */
static bool settle(struct guest_stream *s)
{
	if (!drained(s))
		return false;
	monitor_stream_done(s);
	guest_stream_free(s);
	return true;
}

static void input_end(struct guest_stream *s)
{
	close_one(s, 0);
	agent_put(&s->m->tx, AGENT_CLOSE, 0, s->id, NULL, 0);
	monitor_kick(s->m);
}

static void input(struct guest_stream *s)
{
	char piece[AGENT_PAYLOAD_MAX];

	if (s->fds[0] < 0 || s->ended)
		return;
	if (!s->flow[0].credit || monitor_full(s->m)) {
		loop_unwatch(&s->m->loop, &s->watch[0]);
		return;
	}
	ssize_t n = read(s->fds[0], piece, MIN((size_t)s->flow[0].credit, sizeof(piece)));

	if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
		want(s, 0, EPOLLIN);
		return;
	}
	if (n <= 0) { /* the end; a terminal's hang-up is EIO */
		input_end(s);
		return;
	}
	s->flow[0].credit -= (uint32_t)n;
	agent_put(&s->m->tx, AGENT_DATA, 0, s->id, piece, (size_t)n);
	if (s->flow[0].credit)
		want(s, 0, EPOLLIN);
	else
		loop_unwatch(&s->m->loop, &s->watch[0]);
	monitor_kick(s->m);
}

static void input_ready(struct loop_fd *w, uint32_t events)
{
	(void)events;
	input(container_of(w, struct guest_stream, watch[0]));
}

/* Writes one piece; may free the stream. */
static void output(struct guest_stream *s, unsigned i)
{
	struct buf *b = &s->out[i];

	if (b->len) {
		ssize_t n = (ssize_t)b->len;

		if (s->fds[i] >= 0)
			n = write(s->fds[i], b->data, MIN(b->len, (size_t)PIPE_BUF));
		s->late[i] = n < 0 && errno == EAGAIN;
		if (n < 0 && errno != EINTR && errno != EAGAIN) {
			close_one(s, i); /* nobody reads: swallow it */
			n = (ssize_t)b->len;
		}
		if (n > 0) {
			buf_consume(b, (size_t)n);
			agent_flow_consume(&s->flow[i], (uint32_t)n, &s->m->tx, s->id, i);
		}
	}
	if (s->late[i]) {
		loop_unwatch(&s->m->loop, &s->watch[i]);
		loop_arm(&s->m->loop, &s->again, LATE_NS);
	} else if (b->len) {
		want(s, i, EPOLLOUT);
	} else {
		loop_unwatch(&s->m->loop, &s->watch[i]);
	}
	if (!b->len && s->closing[i] && s->terminal < 0)
		close_one(s, i);
	if (!settle(s))
		monitor_kick(s->m);
}

static void output_ready(struct loop_fd *w, uint32_t events)
{
	(void)events;
	output(container_of(w, struct guest_stream, watch[1]), 1);
}

static void error_ready(struct loop_fd *w, uint32_t events)
{
	(void)events;
	output(container_of(w, struct guest_stream, watch[2]), 2);
}

static void try_again(struct loop_timer *t)
{
	struct guest_stream *s = container_of(t, struct guest_stream, again);
	bool due[3] = { false };

	for (unsigned i = 1; i < 3; i++)
		due[i] = (s->always[i] || s->late[i]) && s->out[i].len;
	if (s->always[0])
		input(s);
	if (due[1])
		output(s, 1);
	/* With something left for it, the stream is still there. */
	if (due[2])
		output(s, 2);
}

void guest_stream_start(struct guest_stream *s)
{
	if (s->fds[0] >= 0)
		want(s, 0, EPOLLIN);
}

int guest_stream_frame(struct guest_stream *s, const struct agent_frame *f)
{
	unsigned i = agent_fd(f);

	if (f->type == AGENT_WINDOW) {
		if (i != 0 || agent_flow_grant(&s->flow[0], agent_u32(f, 0)) < 0)
			return -EBADMSG;
		if (s->fds[0] >= 0 && !s->ended)
			want(s, 0, EPOLLIN);
		return 0;
	}
	if (i == 0) { /* the process closed its input */
		close_one(s, 0);
		return 0;
	}
	if (f->type == AGENT_CLOSE) {
		s->closing[i] = true;
		if (!s->out[i].len && s->terminal < 0)
			close_one(s, i);
		return 0;
	}
	if (agent_flow_receive(&s->flow[i], f->length) < 0 ||
	    buf_add(&s->out[i], f->payload, f->length) < 0)
		return -EBADMSG;
	/* At once: most of the time it is taken. A descriptor that would block is found by polling. */
	want(s, i, EPOLLOUT);
	return 0;
}

void guest_stream_end(struct guest_stream *s, int status)
{
	s->ended = true;
	s->status = status;
	close_one(s, 0);
	settle(s);
}

void guest_stream_resize(struct guest_stream *s)
{
	struct winsize w;

	if (s->terminal < 0 || ioctl(s->terminal, TIOCGWINSZ, &w) < 0 || (!w.ws_row && !w.ws_col))
		return;
	agent_put_resize(&s->m->tx, s->id, w.ws_row, w.ws_col);
	monitor_kick(s->m);
}
