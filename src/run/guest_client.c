/*
 * The other side of guest.sock: how the commands of Warren reach the monitor of a guest.
 *
 * Trust: answers come from our own monitor; texts in them may be the guest's and are made printable.
 * Threads: none. #syscalls: socket connect sendmsg recvfrom close
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "os/sock.h"
#include "run/guest_int.h"

int guest_connect(int dir, struct err *e)
{
	int fd = sock_connect_at(dir, GUEST_SOCKET);

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return err_set(e, -ESRCH, "the guest is not running");
	return fd < 0 ? err_sys(e, fd, "connect to the guest's monitor") : fd;
}

int guest_send(int sock, const struct guest_request *rq, const void *payload, size_t n,
	       const int *fds, unsigned fds_n, struct err *e)
{
	struct buf b = BUF_INIT(GUEST_PACKET_MAX);

	buf_add(&b, rq, sizeof(*rq));
	buf_add(&b, payload, n);
	ssize_t r = b.error;

	if (r == 0)
		r = sock_send(sock, b.data, b.len, fds, fds_n, 0);
	buf_fini(&b);
	if (r == -EMSGSIZE)
		return err_set(e, -E2BIG, "a request of %zu bytes to the guest", n);
	return r < 0 ? err_sys(e, (int)r, "send to the guest's monitor") : 0;
}

int guest_answer(int sock, uint32_t *value, struct buf *text, struct err *e)
{
	cleanup_free uint8_t *packet = malloc(AGENT_HEADER + AGENT_PAYLOAD_MAX);
	struct agent_frame f;

	if (!packet)
		return err_sys(e, -ENOMEM, "guest");
	for (;;) {
		ssize_t n = sock_recv(sock, packet, AGENT_HEADER + AGENT_PAYLOAD_MAX, NULL, NULL,
				      0);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return err_set(e, -ECONNRESET, "the guest's monitor went away");
		if (agent_frame_parse(packet, (size_t)n, &f, e) <= 0)
			return err_wrap(e, "the guest's monitor");
		if (f.type == AGENT_ERROR) {
			agent_error(&f, e);
			return e ? e->code : -EPROTO;
		}
		if (value && (f.type == AGENT_OK || f.type == AGENT_EXIT))
			*value = agent_u32(&f, 0);
		if (f.type == AGENT_REPLY && text && buf_add(text, f.payload, f.length) < 0)
			return err_sys(e, text->error, "the guest's answer");
		if (!(f.type == AGENT_REPLY && f.flags & AGENT_MORE))
			return (int)f.type;
	}
}

int guest_ask(int dir, const struct guest_request *rq, const void *payload, size_t n,
	      struct buf *text, struct err *e)
{
	uint32_t value = 0;
	cleanup_fd int sock = guest_connect(dir, e);

	if (sock < 0)
		return sock;
	int r = guest_send(sock, rq, payload, n, NULL, 0, e);

	if (r == 0)
		r = guest_answer(sock, &value, text, e);
	return r < 0 ? r : (int)value;
}
