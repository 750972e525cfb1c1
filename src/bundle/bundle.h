/* Image + the user's wishes -> one immutable config.json (runtime-spec 1.3). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "bundle/options.h"
#include "image/image.h"

/* Annotations by which config.json describes the overlay that the wall mounts at root.path inside
 * the instance's own mount namespace, so that nothing is left when a process is killed. Without
 * LOWER, root.path is a directory as it is. */
#define BUNDLE_OVERLAY_LOWER \
	"dev.warren.overlay.lower" /* "dir:dir...", highest first, '\\' before ':' and '\\' */
#define BUNDLE_OVERLAY_UPPER   "dev.warren.overlay.upper" /* absolute; absent: read-only */
#define BUNDLE_OVERLAY_WORK    "dev.warren.overlay.work"
#define BUNDLE_OVERLAY_OPTIONS "dev.warren.overlay.options" /* "userxattr,volatile" */
/* PID 1 is Warren's reaper, which starts process.args. */
#define BUNDLE_INIT "dev.warren.init" /* "true" */

struct bundle_request {
	const struct bundle_options *options;
	const struct image *image; /* NULL with `rootfs` */
	const char *rootfs;	   /* --rootfs DIR, absolute */
	const char *id;		   /* the instance: 64 hex digits */
	const char *name;
	const char
		*dir; /* the instance's directory (exists, absolute): config.json, hosts, hostname,
		       * resolv.conf are written here, rootfs/ is made as mount point */
	const char *disk;  /* where upper/ and work/ are made (exists, absolute) */
	char *const *args; /* words after the image, NULL-terminated; none: the image's command */
	bool rootless;	   /* a user namespace from subuid/subgid */
	bool discard;	   /* --rm: the overlay may be volatile */
};

/* What the keeper wants to know without reading config.json again. */
struct bundle_result {
	char stop_signal[16]; /* "SIGTERM" unless the image says otherwise */
	char command[256];    /* for ps, cut */
};

/* Writes <dir>/config.json and its companions. 0 or -errno; leaves files in `dir` and `disk` for
 * the caller to remove. */
int bundle_write(const struct bundle_request *r, struct bundle_result *out, struct err *e);
