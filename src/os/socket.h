/* Sockets in the file system. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A stream connection (CLOEXEC) to the socket at `path`; `abstract`: a name without a file. A descriptor, or
 * -errno (-ENAMETOOLONG beyond 107 bytes). */
int unix_connect(const char *path, bool abstract);

/* read(2) that waits until `deadline` (CLOCK_MONOTONIC, ns). Bytes, 0 at the end, -ETIMEDOUT, -errno. */
ssize_t read_until(int fd, void *p, size_t n, uint64_t deadline);
