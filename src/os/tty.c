/*
 * Terminals.
 *
 * Trust: the descriptors are the caller's. Threads: any. #syscalls: ioctl openat
 */
#include "os/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int tty_raw(struct tty_mode *m, int fd)
{
	struct termios t;

	if (tcgetattr(fd, &m->saved) < 0)
		return -errno;
	t = m->saved;
	cfmakeraw(&t);
	if (tcsetattr(fd, TCSADRAIN, &t) < 0)
		return -errno;
	m->fd = fd;
	return 0;
}

void tty_restore(struct tty_mode *m)
{
	if (m->fd >= 0)
		tcsetattr(m->fd, TCSADRAIN, &m->saved);
	m->fd = -1;
}

int tty_size_get(int fd, uint16_t *rows, uint16_t *cols)
{
	struct winsize w;

	if (ioctl(fd, TIOCGWINSZ, &w) < 0)
		return -errno;
	*rows = w.ws_row;
	*cols = w.ws_col;
	return 0;
}

int tty_size_set(int fd, uint16_t rows, uint16_t cols)
{
	struct winsize w = { .ws_row = rows, .ws_col = cols };

	return ioctl(fd, TIOCSWINSZ, &w) < 0 ? -errno : 0;
}

int tty_open_unblocked(int fd)
{
	unsigned int number;
	char path[32];

	/* Opening a master makes another terminal. */
	if (!isatty(fd) || ioctl(fd, TIOCGPTN, &number) == 0)
		return -ENOTTY;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return own < 0 ? -errno : own;
}
