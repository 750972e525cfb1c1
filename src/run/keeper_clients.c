/*
 * The keeper's clients: whoever runs, attaches to, waits for or stops the instance.
 *
 * The control socket is a SOCK_SEQPACKET socket in the instance's directory; one packet is one message,
 * judged by wire/control.c before anything looks at it. A client that sends what it may not is told so and
 * dropped; the others and the instance do not notice.
 *
 * Output that a client's socket has no room for waits in its `out` buffer, and while any client has
 * something waiting the instance's output is not read: a slow reader slows the instance down instead of
 * growing the keeper.
 *
 * Trust: clients are the instance's owner or root (mode 0600, SO_PEERCRED), but may be of another version.
 * Threads: the loop's. #syscalls: accept4 recvmsg sendmsg getsockopt epoll_ctl close
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/sock.h"
#include "os/tty.h"
#include "run/keeper_int.h"

enum { CLIENTS_MAX = 256, OUT_MAX = 4 * CONTROL_PACKET_MAX };

static void watch(struct client *c)
{
	uint32_t events = (c->out.len ? EPOLLOUT : 0u) | (c->stdin_held ? 0u : EPOLLIN);

	loop_watch(&c->k->loop, &c->src, events);
}

bool client_listed(struct keeper *k, const void *c)
{
	list_for_each (p, &k->clients)
		if (list_item(p, struct client, link) == c)
			return true;
	return false;
}

void client_drop(struct client *c)
{
	struct keeper *k = c->k;
	bool gave_input = c->attached && (c->streams & CONTROL_STREAM_STDIN) && k->set.stdin_once;

	loop_unwatch(&k->loop, &c->src);
	close(c->src.fd);
	list_del(&c->link);
	buf_fini(&c->out);
	free(c);
	if (gave_input && !k->set.tty)
		stream_input(k, NULL, NULL, 0);
	streams_flow(k);
	keeper_leave_if_idle(k);
}

/* Sends what waits. False when the client is gone. */
static bool flush(struct client *c)
{
	while (c->out.len) {
		struct control_msg m;
		struct err e = ERR_INIT;
		uint32_t body;

		memcpy(&body, c->out.data + CONTROL_HEAD - sizeof(body), sizeof(body));
		size_t n = CONTROL_HEAD + (size_t)le32toh(body);

		if (control_parse(c->out.data, n, 0, &m, &e))
			return false;
		ssize_t r = sock_send(c->src.fd, c->out.data, n, NULL, 0, MSG_DONTWAIT);

		if (r == -EAGAIN)
			return true;
		if (r < 0)
			return false;
		buf_consume(&c->out, n);
	}
	buf_fini(&c->out);
	return true;
}

void client_send(struct client *c, const struct control_msg *m)
{
	uint8_t head[CONTROL_HEAD];

	control_head(m, head);
	if (!c->out.len) {
		ssize_t r = sock_send_parts(c->src.fd, head, sizeof(head), m->body, m->n,
					    MSG_DONTWAIT);

		/* A client that is gone is noticed when its socket is read. */
		if (r != -EAGAIN)
			return;
	}
	buf_add(&c->out, head, sizeof(head));
	buf_add(&c->out, m->body, m->n);
	/* More than OUT_MAX cannot wait: output stops at the first packet, and answers are few. */
	if (c->out.error)
		shutdown(c->src.fd, SHUT_RDWR);
	watch(c);
}

void client_send_err(struct client *c, const struct err *err, int status)
{
	client_send(c, &(struct control_msg){ .type = CONTROL_ERROR,
					      .a = (uint32_t)err->code,
					      .b = (uint32_t)status,
					      .body = err->msg,
					      .n = strnlen(err->msg, sizeof(err->msg) - 1) });
}

bool clients_blocked(struct keeper *k)
{
	list_for_each (p, &k->clients)
		if (list_item(p, struct client, link)->out.len)
			return true;
	return false;
}

void clients_exit(struct keeper *k, int status, bool restarts, bool timed_out)
{
	const struct control_msg m = { .type = CONTROL_EXIT,
				       .a = (uint32_t)status,
				       .flags = (uint16_t)((restarts ? CONTROL_EXIT_RESTARTS : 0) |
							   (timed_out ? CONTROL_EXIT_TIMEOUT
								      : 0)) };

	list_for_each_safe (p, &k->clients) {
		struct client *c = list_item(p, struct client, link);

		if (c->attached || (c->waits && (!restarts || c->wait == CONTROL_WAIT_EXIT)))
			client_send(c, &m);
	}
}

static void answer_ok(struct client *c)
{
	client_send(c, &(struct control_msg){ .type = CONTROL_OK });
}

static int hello(struct client *c, const struct control_msg *m, struct err *e)
{
	if (m->type != CONTROL_HELLO)
		return err_set(e, -EPROTO, "control message: expected a greeting first");
	if (m->b != CONTROL_VERSION)
		return err_set(e, -EPROTO,
			       "this keeper speaks version %d of the control protocol, not %u",
			       CONTROL_VERSION, m->b);
	c->hello = true;
	client_send(c, &(struct control_msg){
			       .type = CONTROL_HELLO, .a = CONTROL_MAGIC, .b = CONTROL_VERSION });
	return 0;
}

static int start(struct client *c, const struct control_msg *m, struct err *e)
{
	struct control_start s;

	if (!c->creator || c->k->phase != PHASE_IDLE)
		return err_set(e, -EPROTO, "start: only its creator may, and once");
	int r = control_start_parse(m->body, m->n, &s, e);

	return r ? r : keeper_begin(c->k, &s, e);
}

static int handle(struct client *c, const struct control_msg *m, struct err *e)
{
	struct keeper *k = c->k;
	int r;

	if (!c->hello)
		return hello(c, m, e);
	switch (m->type) {
	case CONTROL_START:
		return start(c, m, e);
	case CONTROL_ATTACH:
		c->attached = true;
		c->streams = m->flags;
		answer_ok(c);
		return 0;
	case CONTROL_STDIN:
		if (!(c->streams & CONTROL_STREAM_STDIN))
			return err_set(e, -EPROTO, "input without having attached to it");
		stream_input(k, c, m->body, m->n);
		watch(c);
		return 0;
	case CONTROL_RESIZE:
		k->rows = (uint16_t)m->a;
		k->cols = (uint16_t)m->b;
		if (k->set.tty && k->input.fd >= 0)
			tty_size_set(k->input.fd, (uint16_t)m->a, (uint16_t)m->b);
		return 0;
	case CONTROL_SIGNAL:
		if (m->b)
			k->manual = true;
		r = job_run(k, JOB_KILL, (int)m->a, false, c);
		return r ? err_sys(e, r, "signal") : 0;
	case CONTROL_STOP:
		keeper_stop(k, (int)m->a, m->b);
		answer_ok(c);
		return 0;
	case CONTROL_WAIT:
		c->waits = true;
		c->wait = (enum control_wait)m->a;
		return 0;
	case CONTROL_POLICY:
		k->set.restart_policy = m->a;
		k->set.restart_max = m->b;
		answer_ok(c);
		return 0;
	default:
		return err_set(e, -EPROTO, "control message %d: not now", m->type);
	}
}

static void on_client(struct loop_fd *src, uint32_t events)
{
	static uint8_t packet[CONTROL_PACKET_MAX];
	struct client *c = container_of(src, struct client, src);
	struct control_msg m;
	struct err e = ERR_INIT;

	if (events & EPOLLOUT) {
		if (!flush(c)) {
			client_drop(c);
			return;
		}
		watch(c);
		streams_flow(c->k);
		keeper_leave_if_idle(c->k);
		return;
	}
	ssize_t n = sock_recv(c->src.fd, packet, sizeof(packet), NULL, NULL, MSG_DONTWAIT);

	if (n == -EAGAIN && !(events & (EPOLLHUP | EPOLLERR)))
		return;
	if (n == 0 || (n < 0 && n != -EMSGSIZE)) {
		client_drop(c);
		return;
	}
	int r = n < 0 ? err_sys(&e, (int)n, "control message")
		      : control_parse(packet, (size_t)n, 1, &m, &e);

	if (!r)
		r = handle(c, &m, &e);
	if (r) {
		client_send_err(c, &e, c->creator ? 125 : 0);
		client_drop(c);
	}
}

struct client *client_add(struct keeper *k, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->k = k;
	c->src = (struct loop_fd){ .fd = fd, .fn = on_client };
	buf_init(&c->out, OUT_MAX);
	list_add(&k->clients, &c->link);
	if (loop_watch(&k->loop, &c->src, EPOLLIN)) {
		list_del(&c->link);
		free(c);
		return NULL;
	}
	return c;
}

static void on_listener(struct loop_fd *src, uint32_t events)
{
	struct keeper *k = container_of(src, struct keeper, listener);
	cleanup_fd int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned int n = 0;
	uid_t uid;

	(void)events;
	list_for_each (p, &k->clients)
		n++;
	if (fd < 0 || n >= CLIENTS_MAX || sock_peer_uid(fd, &uid) || (uid && uid != geteuid()))
		return;
	if (client_add(k, fd))
		steal_fd(&fd);
}

int clients_listen(struct keeper *k, struct err *e)
{
	int fd = sock_listen_at(k->dir, KEEPER_SOCKET);

	if (fd < 0)
		return err_sys(e, fd, "control socket of '%s'", k->set.id);
	k->listener = (struct loop_fd){ .fd = fd, .fn = on_listener };
	int r = loop_watch(&k->loop, &k->listener, EPOLLIN);

	return r ? err_sys(e, r, "control socket of '%s'", k->set.id) : 0;
}
