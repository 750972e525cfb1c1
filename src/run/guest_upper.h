/* The writable disk of a guest: what its container writes. */
#pragma once

#include "base/err.h"
#include "container/container.h"
#include "run/registry.h"

/* Opens (and makes at the first start) the disk that belongs to the instance, beside the place of a
 * container's upper layer. `*fd` is -1 when nothing needs to stay: --rm, --read-only, a root that is a
 * directory. 0 or -errno. */
int guest_upper_open(const struct container_overlay *layers, int *fd, struct err *e);

/* What an instance wrote, as an overlay's upper directory: a container's own one, or for a guest that has ended its
 * disk, shown by fuse2fs (root's privilege) until guest_upper_hide(). 0 or -errno. */
int guest_upper_show(struct subject *s, char *path, size_t size, struct err *e);
/* Harmless for containers. `disk`: record.disk. */
void guest_upper_hide(const char *disk);
