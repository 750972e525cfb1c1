/* The virtio console device (virtio 1.2, 5.3) with several ports. */
#pragma once

#include "machine/stream.h"
#include "virtio/device.h"

enum { VIRTIO_CONSOLE_PORTS_MAX = 8 };

struct virtio_console_port {
	const char *name;      /* what the guest sees in /sys/class/virtio-ports/X/name */
	bool is_console;       /* becomes /dev/hvcN */
	struct stream *stream; /* not owned; its `ready` is taken */
};

/* NULL: no memory. `cols` and `rows` may be 0. */
struct virtio_device *virtio_console_new(const struct memory *mem,
					 const struct virtio_console_port *ports, unsigned n,
					 uint16_t cols, uint16_t rows);

/* The terminal of the console ports changed its size. Takes the lock. */
void virtio_console_resize(struct virtio_device *d, uint16_t cols, uint16_t rows);
