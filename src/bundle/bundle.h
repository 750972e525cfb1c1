/* Image + the user's wishes -> one immutable config.json (runtime-spec 1.3), and the few files that go
 * with it. This room decides and writes nothing: run/ puts what comes out where it belongs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "bundle/options.h"
#include "image/image.h"

/* Annotations by which config.json says that root.path is an overlay to be mounted inside the
 * instance's own mount namespace, so that nothing is left when a process is killed. Without LOWER,
 * root.path is a directory as it is. bundle_overlay_parse() reads them back. */
#define BUNDLE_OVERLAY_LOWER \
	"dev.warren.overlay.lower" /* JSON list of directories, topmost first */
#define BUNDLE_OVERLAY_UPPER   "dev.warren.overlay.upper" /* absent: read-only */
#define BUNDLE_OVERLAY_WORK    "dev.warren.overlay.work"
#define BUNDLE_OVERLAY_OPTIONS "dev.warren.overlay.options" /* "volatile" */
/* "true": PID 1 is Warren's reaper, which starts process.args. */
#define BUNDLE_INIT "dev.warren.init"
/* For guests: --network as it was given, or "private". */
#define BUNDLE_NETWORK "dev.warren.guest.network"

struct bundle_id_range {
	uint32_t container, host, size;
};

struct bundle_request {
	const struct bundle_options *options;
	const struct image *image; /* NULL with `rootfs` */
	const char *rootfs;	   /* --rootfs DIR, absolute */
	const char *id;		   /* the instance: 64 hex digits */
	const char *name;
	const char
		*dir; /* the instance's directory, absolute: where config.json, hosts, hostname and
			  * resolv.conf will be, and rootfs/, the overlay's mount point */
	const char *disk;  /* where the overlay's upper/ and work/ will be, absolute */
	char *const *args; /* words after the image, NULL-terminated; none: the image's command */
	bool discard;	   /* --rm: the overlay may be volatile */

	bool guest; /* its network and mounts are those of a kernel of its own */

	/* A rootless instance: its user namespace (os/subid.h). n == 0: none. */
	bool rootless;
	const struct bundle_id_range *uids, *gids;
	size_t uids_n, gids_n;
};

/* A volume that config.json mounts: <data>/volumes/<name>/_data, to be made by the caller. */
struct bundle_volume {
	char *name, *destination;
	bool anonymous; /* goes with the instance */
	bool no_copy;	/* is not filled with what the image has there */
};

/* Whether it can be a volume's name. */
bool bundle_volume_name(const char *s);

/* What comes out; bundle_fini() frees it. */
struct bundle {
	char *config; /* the text of config.json */
	size_t config_n;
	char *hosts, *hostname,
		*resolv_conf; /* contents of the files of these names in `dir`; NULL: the
					       * file is not mounted */
	struct strlist
		make_dirs; /* absolute directories to be made (0755) before the start if missing:
				   * upper, work, rootfs, sources of -v */
	struct bundle_volume *volumes;
	size_t volumes_n;
	char stop_signal[16];	/* "SIGTERM" unless the image says otherwise */
	struct strlist command; /* process.args, so that nobody needs to parse them back */
};

/* 0 or -errno. On failure nothing needs freeing. */
int bundle_make(const struct bundle_request *r, struct bundle *out, struct err *e);
void bundle_fini(struct bundle *b);

/* The overlay of a config.json made here. Strings and the list are to be freed with
 * bundle_overlay_fini(). 1 when there is one, 0 when there is none, -errno. */
struct bundle_overlay {
	char **lower; /* topmost first, NULL-terminated */
	size_t lower_n;
	const char *upper, *work; /* point into the spec; NULL: read-only */
	bool is_volatile;
};

struct oci_spec;
int bundle_overlay_parse(const struct oci_spec *spec, struct bundle_overlay *out, struct err *e);
void bundle_overlay_fini(struct bundle_overlay *o);
