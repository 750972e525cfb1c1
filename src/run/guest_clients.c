/*
 * Other programs at the monitor's door: guest.sock in the instance's directory, which only the owner can
 * reach. A packet is one request; an exec or a copy brings the descriptors that it is about, and its
 * connection lives as long as it does: when the connection breaks, the process inside is killed.
 *
 * Trust: clients are Warren's own programs of the same user; packets are checked all the same.
 * Threads: none. #syscalls: socket bind listen accept4 recvmsg sendmsg close
 */
#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/sock.h"
#include "run/guest_int.h"

#define FDS_MAX 3

static void client_gone(struct guest_client *c)
{
	struct monitor *m = c->m;

	list_for_each (pos, &m->streams) {
		struct guest_stream *s = list_item(pos, struct guest_stream, link);

		if (s->client != c)
			continue;
		/* Whoever waited for it is dead: so is it. Its end is then told to nobody. */
		agent_put_signal(&m->tx, s->id, SIGKILL, 0);
		s->client = NULL;
	}
	if (m->starter == c)
		m->starter = NULL;
	if (m->asker == c)
		m->asker = NULL;
	loop_unwatch(&m->loop, &c->sock);
	close(c->sock.fd);
	list_del(&c->link);
	free(c);
	monitor_kick(m);
}

static void client_send(struct guest_client *c, const struct buf *b)
{
	/* A client that does not read its few answers has lost them. */
	if (send(c->sock.fd, b->data, b->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

void guest_client_frame(struct guest_client *c, const struct agent_frame *f)
{
	struct buf b = BUF_INIT(AGENT_HEADER + AGENT_PAYLOAD_MAX);

	if (agent_put(&b, f->type, f->flags, 0, f->payload, f->length) == 0)
		client_send(c, &b);
	buf_fini(&b);
}

void guest_client_error(struct guest_client *c, int code, const char *text)
{
	struct buf b = BUF_INIT(2048);
	struct err e = ERR_INIT;

	err_set(&e, code, "%s", text);
	if (agent_put_error(&b, 0, &e) == 0)
		client_send(c, &b);
	buf_fini(&b);
}

void guest_client_ok(struct guest_client *c, uint32_t value)
{
	uint32_t v = htole32(value);
	struct agent_frame f = { .type = AGENT_OK, .payload = (const uint8_t *)&v, .length = 4 };

	guest_client_frame(c, &f);
}

/* ---- requests ---- */

/* The types that clients may send through. */
static bool may_relay(enum agent_type t)
{
	static const bool yes[AGENT_TYPES] = {
		[AGENT_EXEC] = true,   [AGENT_STATS] = true,  [AGENT_PIDS] = true,
		[AGENT_UPDATE] = true, [AGENT_FREEZE] = true, [AGENT_THAW] = true,
		[AGENT_TIME] = true,   [AGENT_PUT] = true,    [AGENT_GET] = true,
		[AGENT_USER] = true,   [AGENT_TOP] = true,    [AGENT_DIFF] = true,
		[AGENT_PAUSE] = false,
	};

	return yes[t];
}

/* All frames of one request, under a stream of its own. */
static void relay(struct guest_client *c, const uint8_t *p, size_t n, int fds[FDS_MAX],
		  bool terminal)
{
	struct monitor *m = c->m;
	struct agent_frame f;
	size_t at = 0;

	if (m->args->domain) {
		guest_client_error(c, -EOPNOTSUPP,
				   "a domain has no agent of Warren's inside: use its console");
		return;
	}
	if (m->phase != MONITOR_RUNNING && m->phase != MONITOR_CREATED) {
		guest_client_error(c, -ESRCH, "the guest is not running");
		return;
	}
	if (c->stream) {
		guest_client_error(c, -EBUSY, "one request at a time");
		return;
	}
	uint32_t id = m->next_stream++;
	struct guest_stream *s = guest_stream_new(m, id, fds);

	for (int i = 0; i < FDS_MAX; i++)
		fds[i] = -1; /* given over */
	if (!s) {
		guest_client_error(c, -ENOMEM, "out of memory");
		return;
	}
	size_t before = m->tx.len;

	while (at < n) {
		int used = agent_frame_parse(p + at, n - at, &f, NULL);

		if (used <= 0 || !may_relay(f.type))
			break;
		agent_put(&m->tx, f.type, f.flags, id, f.payload, f.length);
		at += (size_t)used;
	}
	if (at < n || n == 0) {
		m->tx.len = before;
		guest_client_error(c, -EBADMSG, "malformed request");
		guest_stream_free(s);
		return;
	}
	s->client = c;
	c->stream = id;
	s->terminal = terminal ? s->fds[0] : -1;
	if (f.type == AGENT_EXEC || f.type == AGENT_PUT || f.type == AGENT_GET)
		s->has_fds = true;
	guest_stream_resize(s);
	monitor_kick(m);
}

/* SIGNAL and RESIZE for what this connection runs. */
static void forward(struct guest_client *c, const uint8_t *p, size_t n)
{
	struct agent_frame f;

	if (!c->stream || agent_frame_parse(p, n, &f, NULL) <= 0)
		return;
	if (f.type == AGENT_SIGNAL || f.type == AGENT_RESIZE) {
		agent_put(&c->m->tx, f.type, f.flags, c->stream, f.payload, f.length);
		monitor_kick(c->m);
	}
}

void monitor_order(struct monitor *m, enum guest_order_kind kind, uint64_t value)
{
	struct guest_order o = { .kind = kind, .value = value };

	/* A VMM that is gone is told of by its own end; for one that takes no orders nobody waits. */
	if (send(m->vmm_control.fd, &o, sizeof(o), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

static void do_start(struct guest_client *c)
{
	struct monitor *m = c->m;

	if (m->phase != MONITOR_CREATED || (!m->main && !m->args->domain) || m->starter) {
		guest_client_error(c, -EINVAL, "it has been started already");
		return;
	}
	if (m->args->domain) {
		m->phase = MONITOR_RUNNING;
		guest_client_ok(c, 0);
		return;
	}
	m->starter = c;
	agent_put(&m->tx, AGENT_START, 0, m->main->id, NULL, 0);
	monitor_kick(m);
}

static void do_kill(struct guest_client *c, int sig, uint32_t flags)
{
	struct monitor *m = c->m;

	struct err e = ERR_INIT;

	if ((!m->main && !m->args->domain) || m->phase == MONITOR_ENDED) {
		guest_client_error(c, -ESRCH, "the guest is not running");
		return;
	}
	if (m->args->domain && sig != SIGKILL) {
		if (guest_domain_signal(m, sig, &e) < 0)
			guest_client_error(c, e.code, e.msg);
		else
			guest_client_ok(c, 0);
		return;
	}
	guest_client_ok(c, 0);
	if (sig == SIGKILL) { /* does not depend on the guest's goodwill */
		monitor_command_ended(m, SIGKILL);
		return;
	}
	agent_put_signal(&m->tx, m->main->id, sig, flags);
	monitor_kick(m);
}

static void do_console(struct guest_client *c, int fds[FDS_MAX])
{
	struct monitor *m = c->m;

	if (fds[0] < 0 || fds[1] < 0) {
		guest_client_error(c, -EINVAL, "no descriptors");
		return;
	}
	if (m->console_out >= 0) {
		guest_client_error(c, -EBUSY, "somebody is at the console");
		return;
	}
	m->console_in = fds[0];
	m->console_out = fds[1];
	m->console_input.fd = fds[0];
	fds[0] = fds[1] = -1;
	loop_watch(&m->loop, &m->console_input, EPOLLIN);
	guest_client_ok(c, 0);
}

static void client_request(struct guest_client *c, const struct guest_request *rq, const uint8_t *p,
			   size_t n, int fds[FDS_MAX])
{
	struct monitor *m = c->m;

	switch (rq->ask) {
	case GUEST_ASK_AGENT:
		relay(c, p, n, fds, rq->arg);
		break;
	case GUEST_ASK_FORWARD:
		forward(c, p, n);
		break;
	case GUEST_ASK_START:
		do_start(c);
		break;
	case GUEST_ASK_KILL:
		do_kill(c, (int)rq->arg, rq->flags);
		break;
	case GUEST_ASK_PAUSE:
	case GUEST_ASK_RESUME:
		m->paused = rq->ask == GUEST_ASK_PAUSE;
		monitor_order(m, m->paused ? GUEST_ORDER_PAUSE : GUEST_ORDER_RESUME, 0);
		guest_client_ok(c, 0);
		break;
	case GUEST_ASK_PAUSED:
		guest_client_ok(c, m->paused);
		break;
	case GUEST_ASK_MACHINE:
		m->asker = c;
		monitor_order(m, GUEST_ORDER_STATS, 0);
		break;
	case GUEST_ASK_MEMORY:
		monitor_order(m, GUEST_ORDER_MEMORY, (uint64_t)rq->arg << 20);
		guest_client_ok(c, 0);
		break;
	case GUEST_ASK_SHUTDOWN:
		if (!m->args->domain)
			guest_client_error(c, -EOPNOTSUPP, "it is no domain");
		else if (guest_domain_signal(m, rq->arg == GUEST_DOWN_REBOOT ? SIGHUP : SIGTERM,
					     NULL) == 0)
			guest_client_ok(c, 0);
		break;
	case GUEST_ASK_CONSOLE:
		do_console(c, fds);
		break;
	default:
		guest_client_error(c, -ENOSYS, "no such request");
	}
}

static void client_ready(struct loop_fd *w, uint32_t events)
{
	struct guest_client *c = container_of(w, struct guest_client, sock);
	cleanup_free uint8_t *packet = malloc(GUEST_PACKET_MAX);
	int fds[FDS_MAX] = { -1, -1, -1 };
	size_t fds_n = FDS_MAX;
	struct guest_request rq;

	(void)events;
	ssize_t n = packet ? sock_recv(w->fd, packet, GUEST_PACKET_MAX, fds, &fds_n, MSG_DONTWAIT)
			   : 0;

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0 && n != -EMSGSIZE) {
		client_gone(c);
		return;
	}
	for (size_t i = fds_n; i < FDS_MAX; i++)
		fds[i] = -1;
	if (n < (ssize_t)sizeof(rq)) {
		guest_client_error(c, -EBADMSG, "malformed request");
	} else {
		memcpy(&rq, packet, sizeof(rq));
		client_request(c, &rq, packet + sizeof(rq), (size_t)n - sizeof(rq), fds);
	}
	for (int i = 0; i < FDS_MAX; i++)
		close_fd(&fds[i]);
}

static void client_came(struct loop_fd *w, uint32_t events)
{
	struct monitor *m = container_of(w, struct monitor, listener);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	struct guest_client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return;
	}
	c->m = m;
	c->sock = (struct loop_fd){ .fd = fd, .fn = client_ready };
	list_add(&m->clients, &c->link);
	if (loop_watch(&m->loop, &c->sock, EPOLLIN) < 0)
		client_gone(c);
}

int guest_clients_listen(struct monitor *m, struct err *e)
{
	int fd = sock_listen_at(m->dir, GUEST_SOCKET);

	if (fd < 0)
		return err_sys(e, fd, "monitor: " GUEST_SOCKET);
	m->listener = (struct loop_fd){ .fd = fd, .fn = client_came };
	int r = loop_watch(&m->loop, &m->listener, EPOLLIN);

	return r < 0 ? err_sys(e, r, "monitor: event loop") : 0;
}

void guest_clients_fini(struct monitor *m)
{
	close_fd(&m->listener.fd);
	unlinkat(m->dir, GUEST_SOCKET, 0);
}
