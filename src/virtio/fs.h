/* The virtio file system device (virtio 1.2, 5.11): a guest mounts a directory that a server of ours keeps. */
#pragma once

#include "machine/stream.h"
#include "virtio/device.h"

/* `tag` names the file system in the guest (at most 36 bytes). `server` carries FUSE requests to a process that
 * runs storage/share.c, and its replies back; it is not owned, its `ready` is taken. NULL: no memory. */
struct virtio_device *virtio_fs_new(const struct memory *mem, const char *tag,
				    struct stream *server);
