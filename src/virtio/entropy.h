/* The virtio entropy device (virtio 1.2, 5.4). */
#pragma once

#include "virtio/device.h"

/* NULL: no memory. */
struct virtio_device *virtio_entropy_new(const struct memory *mem);
