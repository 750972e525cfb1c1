/*
 * Talking to a keeper.
 *
 * Trust: a keeper runs as the same user, but may be of another version. Threads: any, one socket each.
 * #syscalls: socket connect sendmsg recvmsg close
 */
#include "run/link.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "os/sock.h"
#include "run/keeper.h"

int link_send(int sock, const struct control_msg *m, int flags)
{
	uint8_t head[CONTROL_HEAD];

	control_head(m, head);
	ssize_t r = sock_send_parts(sock, head, sizeof(head), m->body, m->n, flags);

	return r < 0 ? (int)r : 0;
}

int link_recv(int sock, struct link_packet *p, struct control_msg *m, int flags, struct err *e)
{
	ssize_t n = sock_recv(sock, p->bytes, sizeof(p->bytes), NULL, NULL, flags);

	/* A keeper that leaves without reading what we said resets the connection: its last words come after that. */
	if (n == -ECONNRESET)
		n = sock_recv(sock, p->bytes, sizeof(p->bytes), NULL, NULL, flags);
	if (n == -EAGAIN)
		return -EAGAIN;
	if (n == 0 || n == -ECONNRESET)
		return err_set(e, -ECONNRESET, "the keeper is gone");
	if (n < 0)
		return err_sys(e, (int)n, "control socket");
	return control_parse(p->bytes, (size_t)n, 0, m, e);
}

/* What an ERROR message says. */
static int told(const struct control_msg *m, struct err *e)
{
	int code = (int32_t)m->a;

	err_set(e, code < 0 && code > -4096 ? code : -EPROTO, "%.*s", (int)m->n,
		(const char *)m->body);
	return e ? e->code : -EPROTO;
}

int link_greet(int sock, struct err *e)
{
	const struct control_msg hello = { .type = CONTROL_HELLO,
					   .a = CONTROL_MAGIC,
					   .b = CONTROL_VERSION };
	struct link_packet p;
	struct control_msg m;
	int r = link_send(sock, &hello, 0);

	if (r)
		return err_sys(e, r, "control socket");
	r = link_recv(sock, &p, &m, 0, e);
	if (r)
		return r;
	if (m.type == CONTROL_ERROR)
		return told(&m, e);
	if (m.type != CONTROL_HELLO || m.b != CONTROL_VERSION)
		return err_set(e, -EPROTO,
			       "the keeper speaks another version of the control protocol");
	return 0;
}

int link_open(const struct subject *s, struct err *e)
{
	cleanup_fd int sock = sock_connect_at(s->in.dir, KEEPER_SOCKET);

	if (sock == -ENOENT || sock == -ECONNREFUSED)
		return err_set(e, -ECONNREFUSED, "instance '%s' has no keeper",
			       s->rec.name ? s->rec.name : s->in.id);
	if (sock < 0)
		return err_sys(e, sock, "control socket of '%s'",
			       s->rec.name ? s->rec.name : s->in.id);
	int r = link_greet(sock, e);

	/* It was about to leave. */
	if (r == -ECONNRESET || r == -EPIPE)
		return -ECONNREFUSED;
	return r ? r : steal_fd(&sock);
}

int link_start(int sock, const struct subject *s, struct err *e)
{
	uint8_t body[CONTROL_START_MAX];
	struct control_msg m = { .type = CONTROL_START, .body = body };
	struct control_start start;

	keeper_start_of(s, &start);
	m.n = control_start_pack(&start, body);
	int r = m.n ? link_send(sock, &m, 0) : -ENAMETOOLONG;

	return r ? err_sys(e, r, "control socket") : 0;
}

int link_request(int sock, const struct control_msg *m, struct err *e)
{
	struct link_packet p;
	struct control_msg answer;
	int r = link_send(sock, m, 0);

	if (r)
		return err_sys(e, r, "control socket");
	for (;;) {
		r = link_recv(sock, &p, &answer, 0, e);
		if (r)
			return r;
		if (answer.type == CONTROL_OK)
			return 0;
		if (answer.type == CONTROL_ERROR)
			return told(&answer, e);
	}
}

int link_once(const struct subject *s, const struct control_msg *m, struct err *e)
{
	cleanup_fd int sock = link_open(s, e);

	return sock < 0 ? sock : link_request(sock, m, e);
}
