/*
 * The conversation with init (container/sync_int.h).
 *
 * Trust: init is still our own program when it speaks, but it has entered the container; what it says is
 * bounded and made printable. Threads: none of its own. #syscalls: sendmsg recvmsg close
 */
#include "container/sync_int.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "os/sys.h"

/* Who leaves without reading what was said before resets the connection: it is gone, as when it read all. */
static int sent(int err)
{
	return err == -ECONNRESET ? -EPIPE : err;
}

int sync_send(int sock, enum sync_type type, int value, const struct err *err, int fd)
{
	struct sync_msg m = { .type = (int)type, .value = value };
	size_t n = offsetof(struct sync_msg, err);

	if (err) {
		m.err = *err;
		n = sizeof(m);
	}
	return sent(sys_send_fd(sock, &m, n, fd));
}

int sync_send_fds(int sock, enum sync_type type, int value, const int *fds, int n)
{
	struct sync_msg m = { .type = (int)type, .value = value };

	return sent(sys_send_fds(sock, &m, offsetof(struct sync_msg, err), fds, n));
}

int sync_expect_fds(int sock, enum sync_type type, int *value, int *fds, int *n, struct err *e)
{
	struct sync_msg m;
	ssize_t r = sys_recv_fds(sock, &m, sizeof(m), fds, n);

	if (r >= (ssize_t)offsetof(struct sync_msg, err) && m.type == (int)type) {
		*value = m.value;
		return 0;
	}
	while (*n)
		close(fds[--*n]);
	return err_sys(e, r < 0 ? (int)r : r ? -EPROTO : -EPIPE, "the other process is gone");
}

int sync_recv(int sock, struct sync_msg *m, int *fd)
{
	int got = -1;
	ssize_t n;

	m->err = (struct err)ERR_INIT;
	n = sys_recv_fd(sock, m, sizeof(*m), &got);
	/* Who leaves without reading what we said resets the connection; its last words are there all the same. */
	if (n == -ECONNRESET)
		n = sys_recv_fd(sock, m, sizeof(*m), &got);
	if (fd)
		*fd = got;
	else if (got >= 0)
		close(got);
	if (n == 0 || n == -ECONNRESET)
		return -EPIPE;
	if (n < 0)
		return (int)n;
	if ((size_t)n < offsetof(struct sync_msg, err))
		return -EPROTO;
	err_sanitize(&m->err);
	return 0;
}

int sync_error(const struct sync_msg *m, struct err *e)
{
	*e = m->err;
	if (!e->code)
		e->code = -EPROTO;
	if (!m->value && (e->code == -ENOENT || e->code == -EACCES))
		e->code = -EINVAL;
	return e->code;
}

int sync_expect(int sock, enum sync_type type, struct err *e)
{
	struct sync_msg m;
	int r = sync_recv(sock, &m, NULL);

	if (!r && m.type == (int)type)
		return 0;
	if (!r && m.type == SYNC_ERROR)
		return sync_error(&m, e);
	return err_sys(e, r ? r : -EPROTO, "the other process is gone");
}
