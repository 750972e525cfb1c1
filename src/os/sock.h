/* Local sockets: addresses below a directory descriptor (no length limit), descriptors in messages; and those of others,
 * by path. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SOCK_FDS_MAX = 4 };

/* Binds and listens (SOCK_SEQPACKET, non-blocking, mode 0600); an old socket of that name goes first.
 * The descriptor, or -errno. */
int sock_listen_at(int dirfd, const char *name);
/* Connects (SOCK_SEQPACKET). The descriptor, or -errno. */
int sock_connect_at(int dirfd, const char *name);
/* The same with SOCK_STREAM; the connected one does not block. */
int sock_stream_listen_at(int dirfd, const char *name);
int sock_stream_connect_at(int dirfd, const char *name);

/* One message with `fds_n` descriptors; `flags` as for sendmsg. Bytes sent or -errno. */
ssize_t sock_send(int fd, const void *p, size_t n, const int *fds, size_t fds_n, int flags);
/* Head and body as one message. */
ssize_t sock_send_parts(int fd, const void *head, size_t head_n, const void *body, size_t n,
			int flags);

/* One message: its length, 0 at the end, -errno; -EMSGSIZE when it or its descriptors did not fit (all are
 * closed then). `*fds_n` says how many `fds` has room for and then how many came; NULL: none wanted. */
ssize_t sock_recv(int fd, void *p, size_t n, int *fds, size_t *fds_n, int flags);

/* The peer's user id, or -errno. */
int sock_peer_uid(int fd, uid_t *uid);

/* A stream connection (CLOEXEC) to the socket at `path`; `abstract`: a name without a file. A descriptor, or
 * -errno (-ENAMETOOLONG beyond 107 bytes). */
int sock_connect(const char *path, bool abstract);

/* read(2) that waits until `deadline` (CLOCK_MONOTONIC, ns). Bytes, 0 at the end, -ETIMEDOUT, -errno. */
ssize_t sock_read_until(int fd, void *p, size_t n, uint64_t deadline);
