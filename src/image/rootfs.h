/* Looking into an image's files without mounting it. */
#pragma once

#include <sys/stat.h>

#include "base/buf.h"
#include "wire/image.h"

/* Appends the content of the regular file that `path` ("etc/passwd") shows when `dirs` (topmost last,
 * as in struct image) are laid over each other, up to the buffer's maximum. Links are followed inside
 * the layer that holds the name. 0; -ENOENT; other -errno. */
int image_rootfs_read(const struct image_list *dirs, const char *path, struct buf *out);

/* What a path is in an image, links followed inside the layer that shows it; `real` gets where they lead,
 * without a leading slash. 0; -ENOENT; other -errno. */
int image_rootfs_stat(const struct image_list *dirs, const char *path, struct stat *st, char *real,
		      size_t size);
