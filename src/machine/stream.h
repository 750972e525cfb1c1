/* A byte pipe between a device and the host, behind an ops table: consoles, serial ports, the agent's line. */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

struct stream;

struct stream_ops {
	/* Bytes moved; 0 from `read` is the end, -EAGAIN none now, other -errno: gone. */
	ssize_t (*read)(struct stream *s, const struct iovec *iov, int n);
	ssize_t (*write)(struct stream *s, const struct iovec *iov, int n);
};

/* The host side fills `ops`; the device side fills `ready`, which the host calls from the device's thread
 * when reading or writing may go on after -EAGAIN. */
struct stream {
	const struct stream_ops *ops;
	void (*ready)(void *arg);
	void *ready_arg;
};
