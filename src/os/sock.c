/*
 * Local sockets.
 *
 * sun_path holds 108 bytes and instances live deeper than that in tests and in home directories, so an
 * address of ours is always /proc/self/fd/<dir>/<name>.
 *
 * Trust: messages are the peer's; descriptors that nobody asked for are closed at once.
 * Threads: any. #syscalls: socket bind listen connect sendmsg recvmsg getsockopt unlinkat fchmodat poll read close
 */
#include "os/sock.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/loop.h"

static int address(int dirfd, const char *name, struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", dirfd, name);

	return n < 0 || (size_t)n >= sizeof(sa->sun_path) ? -ENAMETOOLONG : 0;
}

static int listen_at(int dirfd, const char *name, int type)
{
	struct sockaddr_un sa;
	int r = address(dirfd, name, &sa);

	if (r)
		return r;
	cleanup_fd int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	unlinkat(dirfd, name, 0);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    fchmodat(dirfd, name, 0600, 0) < 0 || listen(fd, 64) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int connect_at(int dirfd, const char *name, int type)
{
	struct sockaddr_un sa;
	int r = address(dirfd, name, &sa);

	if (r)
		return r;
	cleanup_fd int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return steal_fd(&fd);
}

int sock_listen_at(int dirfd, const char *name)
{
	return listen_at(dirfd, name, SOCK_SEQPACKET);
}

int sock_connect_at(int dirfd, const char *name)
{
	return connect_at(dirfd, name, SOCK_SEQPACKET);
}

int sock_stream_listen_at(int dirfd, const char *name)
{
	return listen_at(dirfd, name, SOCK_STREAM);
}

int sock_stream_connect_at(int dirfd, const char *name)
{
	return connect_at(dirfd, name, SOCK_STREAM | SOCK_NONBLOCK);
}

static ssize_t send_iov(int fd, struct iovec *iov, size_t iov_n, const int *fds, size_t fds_n,
			int flags)
{
	union {
		char room[CMSG_SPACE(SOCK_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = iov_n };

	if (fds_n > SOCK_FDS_MAX)
		return -EINVAL;
	if (fds_n) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fds_n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fds_n * sizeof(int));
	}
	ssize_t r;

	do
		r = sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

ssize_t sock_send(int fd, const void *p, size_t n, const int *fds, size_t fds_n, int flags)
{
	struct iovec iov = { (void *)(uintptr_t)p, n };

	return send_iov(fd, &iov, 1, fds, fds_n, flags);
}

ssize_t sock_send_parts(int fd, const void *head, size_t head_n, const void *body, size_t n,
			int flags)
{
	struct iovec iov[] = { { (void *)(uintptr_t)head, head_n },
			       { (void *)(uintptr_t)body, n } };

	return send_iov(fd, iov, 2, NULL, 0, flags);
}

/* Keeps what fits into `fds`, closes the rest. Returns false when something had to be closed. */
static bool take_fds(struct msghdr *msg, int *fds, size_t room, size_t *taken)
{
	bool all = true;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*taken < room) {
				fds[(*taken)++] = got;
			} else {
				close(got);
				all = false;
			}
		}
	}
	return all;
}

ssize_t sock_recv(int fd, void *p, size_t n, int *fds, size_t *fds_n, int flags)
{
	union {
		char room[CMSG_SPACE(SOCK_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { p, n };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	size_t room = fds_n ? *fds_n : 0, taken = 0;
	ssize_t r;

	do
		r = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	bool fits = take_fds(&msg, fds, room, &taken);

	if (!fits || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		for (size_t i = 0; i < taken; i++)
			close(fds[i]);
		taken = 0;
		r = -EMSGSIZE;
	}
	if (fds_n)
		*fds_n = taken;
	return r;
}

int sock_peer_uid(int fd, uid_t *uid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*uid = cred.uid;
	return 0;
}

int sock_connect(const char *path, bool abstract)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n = strlen(path);

	if (n + 1 >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path + abstract, path, n);
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	int r;

	do
		r = connect(fd, (const struct sockaddr *)&sa, len);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : steal_fd(&fd);
}

ssize_t sock_read_until(int fd, void *p, size_t n, uint64_t deadline)
{
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		uint64_t now = now_ns();

		if (now >= deadline)
			return -ETIMEDOUT;
		int r = poll(&pfd, 1, (int)((deadline - now) / 1000000 + 1));

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		ssize_t got = read(fd, p, n);

		if (got >= 0 || (errno != EINTR && errno != EAGAIN))
			return got < 0 ? -errno : got;
	}
}
