/* The writable disk of a guest: what its container writes. */
#pragma once

#include "base/err.h"
#include "container/container.h"

/* Opens (and makes at the first start) the disk that belongs to the instance, beside the place of a
 * container's upper layer. `*fd` is -1 when nothing needs to stay: --rm, --read-only, a root that is a
 * directory. 0 or -errno. */
int guest_upper_open(const struct container_overlay *layers, int *fd, struct err *e);
