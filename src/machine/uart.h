/* The first serial port, output only: what a kernel says before it has drivers (earlyprintk=ttyS0). */
#pragma once

#include "machine/bus.h"
#include "machine/stream.h"

enum { UART_PORT = 0x3f8, UART_SIZE = 8 };

struct uart {
	struct bus_range range; /* on the port bus */
	struct stream *out;	/* not owned */
	uint8_t scratch, line_control, divisor[2];
};

void uart_init(struct uart *u, struct stream *out);
