/*
 * A 16450, as far as early kernel output needs it: the transmitter is always empty, nothing is ever received,
 * there are no interrupts. A byte that the host cannot take now is lost, as on a real line.
 *
 * Trust: one byte at a time; other widths are ignored. Threads: vCPUs; a byte is one write.
 * #syscalls: writev
 */
#include "machine/uart.h"

#include <string.h>

#include "base/util.h"

enum { DATA = 0, LINE_CONTROL = 3, LINE_STATUS = 5, SCRATCH = 7 };
enum { DIVISOR_ACCESS = 0x80, TRANSMITTER_EMPTY = 0x60 };

static uint8_t read_register(const struct uart *u, uint64_t offset)
{
	if (u->line_control & DIVISOR_ACCESS && offset < 2)
		return u->divisor[offset];
	switch (offset) {
	case LINE_CONTROL:
		return u->line_control;
	case LINE_STATUS:
		return TRANSMITTER_EMPTY;
	case SCRATCH:
		return u->scratch;
	default:
		return 0;
	}
}

static void write_register(struct uart *u, uint64_t offset, uint8_t v)
{
	if (u->line_control & DIVISOR_ACCESS && offset < 2)
		u->divisor[offset] = v;
	else if (offset == DATA)
		u->out->ops->write(u->out, &(struct iovec){ &v, 1 }, 1);
	else if (offset == LINE_CONTROL)
		u->line_control = v;
	else if (offset == SCRATCH)
		u->scratch = v;
}

static void access(struct bus_range *r, uint64_t offset, void *data, uint32_t len, bool is_write)
{
	struct uart *u = container_of(r, struct uart, range);

	if (len != 1) {
		if (!is_write)
			memset(data, 0, len);
	} else if (is_write) {
		write_register(u, offset, *(const uint8_t *)data);
	} else {
		*(uint8_t *)data = read_register(u, offset);
	}
}

void uart_init(struct uart *u, struct stream *out)
{
	*u = (struct uart){
		.range = { .base = UART_PORT, .size = UART_SIZE, .access = access },
		.out = out,
	};
}
