/* The virtio block device (virtio 1.2, 5.2) over any `struct block`. */
#pragma once

#include "storage/block.h"
#include "virtio/device.h"

enum { VIRTIO_BLOCK_QUEUES_MAX = 8 };

/* Takes over `disk`. `queues` is cut to what there may be. `serial` (at most 20 bytes) is what GET_ID answers. NULL: no memory; then `disk`
 * is freed. */
struct virtio_device *virtio_block_new(const struct memory *mem, struct block *disk,
				       const char *serial, unsigned queues);

/* The disk's completion descriptor for the device thread's loop, or -1; when it is readable, call
 * virtio_block_reap. */
int virtio_block_event_fd(const struct virtio_device *d);
void virtio_block_reap(struct virtio_device *d);
