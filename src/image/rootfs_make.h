/* Root file systems from the distribution's own tools. */
#pragma once

#include "base/err.h"

struct rootfs_make {
	const char *what;    /* "busybox" or "debian" */
	const char *suite;   /* debian: "bookworm"; NULL: the host's own */
	const char *variant; /* debian: mmdebstrap's variant; NULL: "minbase" */
	const char *include; /* debian: further packages, comma-separated, or NULL */
};

/* Writes a tarball of it to `path`. 0 or -errno; what is missing on the host is named. */
int rootfs_make(const struct rootfs_make *m, const char *path, struct err *e);
