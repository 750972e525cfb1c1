/*
 * Terminals.
 *
 * Trust: the descriptors are the caller's. Threads: any. #syscalls: ioctl
 */
#include "os/tty.h"

#include <errno.h>
#include <sys/ioctl.h>

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
