/* System calls that the C library does not wrap. */
#pragma once

#include <linux/sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As fork() with what `args` adds; returns in both processes. Pid, 0 in the child, or -errno. */
pid_t sys_clone3(const struct clone_args *args);

/* openat2(2). A descriptor or -errno; -EAGAIN (a race with a rename) is retried. */
int sys_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);

/* 0 or -errno. */
int sys_pivot_root(const char *new_root, const char *put_old);

/* "/proc/self/fd/N" for calls that only take paths. */
struct fd_path {
	char s[32];
};
struct fd_path fd_path(int fd);

enum { SYS_FDS_MAX = 16 };

/* One descriptor beside the bytes; `fd` -1: none. 0 or -errno. */
int sys_send_fd(int sock, const void *p, size_t n, int fd);
/* `count` of them, at most SYS_FDS_MAX. */
int sys_send_fds(int sock, const void *p, size_t n, const int *fds, int count);
/* The bytes received, 0 at the end; `*fd` is -1 or a CLOEXEC descriptor. -errno. */
ssize_t sys_recv_fd(int sock, void *p, size_t n, int *fd);
/* `*count`: how many descriptors came. */
ssize_t sys_recv_fds(int sock, void *p, size_t n, int fds[SYS_FDS_MAX], int *count);
