/* The root disk of a pv or vm guest: a read-only EROFS image of the container's root. */
#pragma once

#include "base/err.h"
#include "container/container.h"
#include "wire/oci.h"

/* Opens (and makes when it is not cached) the image for a set of layers, or for the directory `root`
 * (relative to `bundle`), which is made anew each time. A read-only descriptor, or -errno. */
int guest_root_open(const struct container_overlay *layers, const char *root, const char *bundle,
		    struct err *e);

/* Where `e` says that there is no space left: what would mend it. */
void guest_space_mend(struct err *e, const char *dir);

/* Removes roots whose images were removed. Bytes that came free. */
uint64_t guest_roots_collect(void);
