/* Where Warren's own files live: helper programs, the data directory. */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* The absolute path of a helper program ("warren-unpack"): beside the running program in
 * libexec/warren (the build tree), in ../libexec/warren (installed), or in the running program's
 * own directory when that is a libexec/warren. WARREN_LIBEXEC names the directory outright. 0, or
 * -ENOENT with the places that were tried. */
int paths_helper(const char *name, char *out, size_t size, struct err *e);

/* The directory of images and of instances' disks: WARREN_DATA, or /var/lib/warren for root, or
 * $XDG_DATA_HOME/warren (~/.local/share/warren). Not created. 0, or -errno. */
int paths_data(char *out, size_t size, struct err *e);
