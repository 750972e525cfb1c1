/* Reaching an instance's files from outside, without leaving its root. */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "run/registry.h"

/* A descriptor (O_PATH) of the instance's root directory: as its processes see it while it runs, its layers
 * mounted aside otherwise. -errno. */
int inside_root(struct subject *s, struct err *e);

/* openat2 with RESOLVE_IN_ROOT and no magic links: "..", links and what is raced in stay below `root`. The
 * descriptor, or -errno. */
int inside_open(int root, const char *path, int flags, mode_t mode);
