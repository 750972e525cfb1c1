/*
 * Streams: the descriptors of one process inside, carried over the channel. Output is read only as far as
 * the host granted; input waits here until the process takes it, and what it took is granted back.
 *
 * A process that ended is reported when its output has run dry: for pipes that is what they hold at its
 * end (background children may keep them open for ever), for a terminal its hangup, or a moment's
 * silence.
 *
 * Trust: processes in the guest are not trusted; they only fill their own windows. Threads: none.
 * #syscalls: read write pipe2 close epoll_ctl
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/util.h"

/* How long a terminal may take to hang up after its process ended. */
#define LINGER_NS (200ull * 1000000)
#define READ_SIZE 16384u

struct stream *stream_find(struct agent *a, uint32_t id)
{
	list_for_each (pos, &a->streams) {
		struct stream *s = list_item(pos, struct stream, link);

		if (s->id == id)
			return s;
	}
	return NULL;
}

static void input_ready(struct loop_fd *w, uint32_t events);
static void output_ready(struct loop_fd *w, uint32_t events);
static void error_ready(struct loop_fd *w, uint32_t events);
static void linger_over(struct loop_timer *t);

struct stream *stream_new(struct agent *a, uint32_t id)
{
	static void (*const ready[3])(struct loop_fd *, uint32_t) = { input_ready, output_ready,
								      error_ready };
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->agent = a;
	s->id = id;
	s->c = (struct container)CONTAINER_INIT;
	s->failure_fd = -1;
	buf_init(&s->input, AGENT_WINDOW_SIZE);
	buf_init(&s->request, AGENT_REQUEST_MAX);
	s->linger.fn = linger_over;
	for (int i = 0; i < 3; i++) {
		s->fds[i] = -1;
		s->watch[i].fn = ready[i];
		agent_flow_init(&s->flow[i]);
	}
	list_add(&a->streams, &s->link);
	a->streams_n++;
	return s;
}

static void close_one(struct stream *s, unsigned fd)
{
	loop_unwatch(&s->agent->loop, &s->watch[fd]);
	close_fd(&s->fds[fd]);
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < 3; i++)
		close_one(s, i);
	loop_disarm(&s->linger);
	close_fd(&s->failure_fd);
	container_fini(&s->c);
	buf_fini(&s->input);
	buf_fini(&s->request);
	if (s->agent->container == s)
		s->agent->container = NULL;
	list_del(&s->link);
	s->agent->streams_n--;
	free(s);
}

int stream_pipes(struct stream *s, int theirs[3])
{
	for (int i = 0; i < 3; i++) {
		int p[2];

		if (pipe2(p, O_CLOEXEC) < 0) {
			int r = -errno;

			while (i-- > 0)
				close_fd(&theirs[i]);
			return r;
		}
		theirs[i] = p[i ? 1 : 0];
		s->fds[i] = p[i ? 0 : 1];
		fcntl(s->fds[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

/* Reports the end once there is nothing left to read. */
static void stream_settle(struct stream *s)
{
	struct agent *a = s->agent;

	if (!s->exited || s->fds[1] >= 0 || s->fds[2] >= 0)
		return;
	struct err e = ERR_INIT;

	/* A copy's child says what went wrong through its own pipe. */
	if (s->failure_fd >= 0 && read(s->failure_fd, &e, sizeof(e)) == sizeof(e)) {
		err_sanitize(&e);
		agent_put_error(&a->tx, s->id, &e);
	} else {
		bool oom = s->is_container && cgroup_oom_count(&s->c.cgroup) > 0;

		agent_put_u32(&a->tx, AGENT_EXIT, oom ? AGENT_EXIT_OOM : 0, s->id,
			      (uint32_t)s->status);
	}
	stream_free(s);
	channel_kick(a);
}

static void output_end(struct stream *s, unsigned fd)
{
	close_one(s, fd);
	agent_put(&s->agent->tx, AGENT_CLOSE, (uint16_t)fd, s->id, NULL, 0);
}

/* Reads while there is credit; may free the stream. */
static void stream_output(struct stream *s, unsigned fd)
{
	struct agent *a = s->agent;
	char piece[READ_SIZE];

	while (s->fds[fd] >= 0 && s->flow[fd].credit && !channel_full(a)) {
		ssize_t n = read(s->fds[fd], piece, MIN(sizeof(piece), (size_t)s->flow[fd].credit));

		if (n > 0) {
			s->flow[fd].credit -= (uint32_t)n;
			agent_put(&a->tx, AGENT_DATA, (uint16_t)fd, s->id, piece, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !(s->exited && s->c.master < 0))
			break;
		output_end(s, fd);
	}
	if (s->fds[fd] >= 0) {
		if (s->flow[fd].credit && !channel_full(a))
			loop_watch(&a->loop, &s->watch[fd], EPOLLIN);
		else
			loop_unwatch(&a->loop, &s->watch[fd]);
	}
	stream_settle(s);
	channel_kick(a);
}

/* Gives the process what waits for it. */
static void stream_input(struct stream *s)
{
	struct agent *a = s->agent;

	while (s->input.len) {
		ssize_t n = s->fds[0] < 0 ? (ssize_t)s->input.len
					  : write(s->fds[0], s->input.data, s->input.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) { /* nobody reads any more: swallow it */
			close_one(s, 0);
			continue;
		}
		buf_consume(&s->input, (size_t)n);
		agent_flow_consume(&s->flow[0], (uint32_t)n, &a->tx, s->id, 0);
	}
	if (s->fds[0] >= 0 && s->input.len)
		loop_watch(&a->loop, &s->watch[0], EPOLLOUT);
	else if (s->input_closed)
		close_one(s, 0);
	else
		loop_unwatch(&a->loop, &s->watch[0]);
	channel_kick(a);
}

static void input_ready(struct loop_fd *w, uint32_t events)
{
	(void)events;
	stream_input(container_of(w, struct stream, watch[0]));
}

static void output_ready(struct loop_fd *w, uint32_t events)
{
	(void)events;
	stream_output(container_of(w, struct stream, watch[1]), 1);
}

static void error_ready(struct loop_fd *w, uint32_t events)
{
	(void)events;
	stream_output(container_of(w, struct stream, watch[2]), 2);
}

static void linger_over(struct loop_timer *t)
{
	struct stream *s = container_of(t, struct stream, linger);

	for (unsigned i = 1; i < 3; i++) {
		if (s->fds[i] >= 0)
			output_end(s, i);
	}
	stream_settle(s);
}

void stream_attach(struct stream *s)
{
	if (s->c.master >= 0) {
		int flags = fcntl(s->c.master, F_GETFL);

		fcntl(s->c.master, F_SETFL, flags | O_NONBLOCK);
		s->fds[0] = fcntl(s->c.master, F_DUPFD_CLOEXEC, 3);
		s->fds[1] = fcntl(s->c.master, F_DUPFD_CLOEXEC, 3);
	}
	for (unsigned i = 0; i < 3; i++)
		s->watch[i].fd = s->fds[i];
	for (unsigned i = 1; i < 3; i++) {
		if (s->fds[i] >= 0)
			loop_watch(&s->agent->loop, &s->watch[i], EPOLLIN);
	}
	stream_input(s);
}

void stream_data(struct stream *s, const uint8_t *p, uint32_t n)
{
	buf_add(&s->input, p, n);
	stream_input(s);
}

void stream_close_input(struct stream *s)
{
	s->input_closed = true;
	s->flow[0].closed = true;
	/* A terminal has no end of input of its own: what was typed decides. */
	if (s->c.master < 0)
		stream_input(s);
}

void stream_grant(struct stream *s, unsigned fd, uint32_t bytes)
{
	/* A grant for a stream that just ended is no mistake; an excess is bounded to the window. */
	if (agent_flow_grant(&s->flow[fd], bytes) < 0)
		s->flow[fd].credit = AGENT_WINDOW_SIZE;
	if (s->fds[fd] >= 0)
		stream_output(s, fd);
}

void stream_resume_all(struct agent *a)
{
	list_for_each_safe (pos, &a->streams) {
		struct stream *s = list_item(pos, struct stream, link);

		for (unsigned i = 1; i < 3; i++) {
			if (s->fds[i] >= 0 && s->flow[i].credit)
				loop_watch(&a->loop, &s->watch[i], EPOLLIN);
		}
	}
}

void stream_exited(struct stream *s, int status)
{
	s->exited = true;
	s->status = status;
	close_one(s, 0);
	if (s->c.master >= 0) {
		loop_arm(&s->agent->loop, &s->linger, LINGER_NS);
		stream_settle(s);
		return;
	}
	/* Each may free the stream only when both are closed. */
	bool both = s->fds[1] >= 0 && s->fds[2] >= 0;

	if (s->fds[1] >= 0) {
		stream_output(s, 1);
		if (!both)
			return;
	}
	if (s->fds[2] >= 0)
		stream_output(s, 2);
	else
		stream_settle(s);
}
