/* A terminal's modes and size. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct tty_mode {
	int fd; /* -1: nothing to restore */
	struct termios saved;
};

#define TTY_MODE_INIT    \
	{                \
		.fd = -1 \
	}

/* Every byte goes through as typed; remembers what was before. 0 or -errno. */
int tty_raw(struct tty_mode *m, int fd);
/* Puts back what tty_raw found; harmless otherwise. */
void tty_restore(struct tty_mode *m);

/* 0 or -errno (-ENOTTY). */
int tty_size_get(int fd, uint16_t *rows, uint16_t *cols);
int tty_size_set(int fd, uint16_t rows, uint16_t cols);

/* A further descriptor of the terminal `fd`, to write to, that never makes its writer wait; `fd` itself may be shared
 * and keeps its mode. -errno (-ENOTTY). */
int tty_open_unblocked(int fd);
