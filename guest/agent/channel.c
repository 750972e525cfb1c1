/*
 * The byte pipe to the host: any character device or socket, read and written without blocking. What the
 * host does not take yet waits in `tx`; while that is long, processes' output is not read, so that a
 * fast command is held back by its own pipe.
 *
 * Trust: the host is trusted, its frames are parsed with care all the same. Threads: none.
 * #syscalls: open read write ioctl
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "base/str.h"

/* Output of processes is read while less than this waits for the host. */
#define TX_HIGH (256u << 10)
/* Answers and all windows at once fit far below. */
#define TX_MAX	       (16u << 20)
#define RX_MAX	       (4 * AGENT_PAYLOAD_MAX)
#define CONTROL_WAIT_S 10

bool channel_full(const struct agent *a)
{
	return a->tx.len > TX_HIGH;
}

static void channel_lost(struct agent *a, const char *why)
{
	fprintf(stderr, "warren-agent: control channel: %s\n", why);
	loop_stop(&a->loop, -EPIPE);
}

static void channel_write(struct agent *a)
{
	bool was_full = channel_full(a);

	while (a->tx.len) {
		ssize_t n = write(a->control, a->tx.data, a->tx.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			channel_lost(a, n < 0 ? strerrordesc_np(errno) : "write gave nothing");
			return;
		}
		buf_consume(&a->tx, (size_t)n);
	}
	if (a->tx.error)
		channel_lost(a, "the host takes nothing");
	if (was_full && !channel_full(a))
		stream_resume_all(a);
	loop_watch(&a->loop, &a->control_watch, a->tx.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void channel_kick(struct agent *a)
{
	channel_write(a);
}

void channel_log(struct agent *a, const char *fmt, ...)
{
	char line[1000];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);

	va_end(ap);
	if (n < 0)
		return;
	agent_put(&a->tx, AGENT_LOG, 0, 0, line, strlen(line));
	channel_kick(a);
}

static int channel_frames(struct agent *a, struct err *e)
{
	size_t at = 0;
	int r = 0;

	while (r == 0) {
		struct agent_frame f;
		int used = agent_frame_parse((const uint8_t *)a->rx.data + at, a->rx.len - at, &f,
					     e);

		if (used <= 0) {
			r = used;
			break;
		}
		at += (size_t)used;
		if (!a->greeted) {
			r = agent_hello_check(&f, e);
			a->greeted = r == 0;
			continue;
		}
		r = request_handle(a, &f, e);
	}
	buf_consume(&a->rx, at);
	return r;
}

static void channel_ready(struct loop_fd *s, uint32_t events)
{
	struct agent *a = container_of(s, struct agent, control_watch);
	struct err e = ERR_INIT;

	if (events & EPOLLIN) {
		char *p = buf_reserve(&a->rx, AGENT_PAYLOAD_MAX);
		ssize_t n = p ? read(a->control, p, AGENT_PAYLOAD_MAX) : -1;

		if (n > 0) {
			buf_commit(&a->rx, (size_t)n);
			if (channel_frames(a, &e) < 0) {
				channel_lost(a, e.msg);
				return;
			}
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			channel_lost(a, n == 0 ? "closed by the host" : strerrordesc_np(errno));
			return;
		}
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		channel_lost(a, "hung up");
		return;
	}
	channel_write(a);
}

int channel_device(const char *path, struct err *e)
{
	const char *line = str_after(path, "line:");
	struct timespec pause = { 0, 500000 };
	struct termios t;
	uint64_t n;
	int fd;

	if (line && str_to_u64(line, &n) == 0)
		return line_open((unsigned)n, e);

	for (int i = 0; i < CONTROL_WAIT_S * 2000; i++) {
		fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 || (errno != ENOENT && errno != ENODEV && errno != ENXIO))
			break;
		nanosleep(&pause, NULL);
	}
	if (fd < 0)
		return err_sys(e, -errno, "guest: line '%s'", path);
	/* A port of virtio's console device reads as ended until the host has said that it is there. */
	struct pollfd there = { .fd = fd, .events = POLLOUT };

	for (int i = 0;
	     i < CONTROL_WAIT_S * 2000 && poll(&there, 1, 0) > 0 && there.revents & POLLHUP; i++)
		nanosleep(&pause, NULL);
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		t.c_cflag |= CLOCAL;
		tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

int channel_open(struct agent *a, struct err *e)
{
	if (a->control < 0)
		a->control = channel_device(a->options.control, e);
	if (a->control < 0)
		return a->control;
	buf_init(&a->rx, RX_MAX);
	buf_init(&a->tx, TX_MAX);
	a->control_watch = (struct loop_fd){ .fd = a->control, .fn = channel_ready };
	int r = loop_watch(&a->loop, &a->control_watch, EPOLLIN);

	if (r < 0)
		return err_sys(e, r, "guest: control channel");
	agent_put_hello(&a->tx);
	channel_kick(a);
	return 0;
}
