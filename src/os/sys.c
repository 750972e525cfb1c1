/*
 * System calls that the C library does not wrap, and descriptors over sockets.
 *
 * Trust: none decided here. Threads: any. #syscalls: clone3 openat2 pivot_root sendmsg recvmsg
 */
#include "os/sys.h"

#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t sys_clone3(const struct clone_args *args)
{
	long pid = syscall(SYS_clone3, args, sizeof(*args));

	return pid < 0 ? -errno : (pid_t)pid;
}

int sys_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (unsigned int)flags,
		.mode = mode,
		.resolve = resolve,
	};
	long fd;
	int tries = 100;

	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EAGAIN || errno == EINTR) && --tries);
	return fd < 0 ? -errno : (int)fd;
}

int sys_pivot_root(const char *new_root, const char *put_old)
{
	return syscall(SYS_pivot_root, new_root, put_old) < 0 ? -errno : 0;
}

struct fd_path fd_path(int fd)
{
	struct fd_path p;

	snprintf(p.s, sizeof(p.s), "/proc/self/fd/%d", fd);
	return p;
}

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(SYS_FDS_MAX * sizeof(int))];
};

int sys_send_fds(int sock, const void *p, size_t n, const int *fds, int count)
{
	union control control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t size = (size_t)count * sizeof(int);
	ssize_t r;

	if (count > SYS_FDS_MAX)
		return -E2BIG;
	if (count > 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(size);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(c), fds, size);
	}
	do
		r = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return (size_t)r == n ? 0 : -EMSGSIZE;
}

int sys_send_fd(int sock, const void *p, size_t n, int fd)
{
	return sys_send_fds(sock, p, n, &fd, fd >= 0);
}

static ssize_t receive(int sock, void *p, size_t n, int *fds, int max, int *count)
{
	union control control;
	struct iovec iov = { .iov_base = p, .iov_len = n };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE((size_t)max * sizeof(int)),
	};
	ssize_t r;

	*count = 0;
	do
		r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		size_t size = c->cmsg_len - CMSG_LEN(0);

		*count = (int)(size / sizeof(int));
		memcpy(fds, CMSG_DATA(c), (size_t)*count * sizeof(int));
	}
	return r;
}

ssize_t sys_recv_fds(int sock, void *p, size_t n, int fds[SYS_FDS_MAX], int *count)
{
	return receive(sock, p, n, fds, SYS_FDS_MAX, count);
}

ssize_t sys_recv_fd(int sock, void *p, size_t n, int *fd)
{
	int fds[2], count = 0;
	ssize_t r = receive(sock, p, n, fds, 1, &count);

	/* Alignment makes room for a second one in the control buffer. */
	if (count == 2)
		close(fds[1]);
	*fd = count == 1 ? fds[0] : -1;
	if (count == 2)
		close(fds[0]);
	return r;
}
