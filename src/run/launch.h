/* Making an instance: from a person's wishes to a directory that `start` can start. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "bundle/options.h"
#include "run/health.h"
#include "run/registry.h"

enum { LAUNCH_STOP_TIMEOUT_DEFAULT = -2, LAUNCH_STOP_TIMEOUT_NEVER = -1 };

struct launch {
	const struct bundle_options *options;
	const char *image;     /* or */
	const char *platform;  /* "OS/ARCH[/VARIANT]" that the image must be for; NULL: any */
	const char *rootfs;    /* --rootfs DIR; or */
	const char *config;    /* the text of a config.json that needs neither: a domain's */
	const char *kernel;    /* of a domain, for people */
	char *const *args;     /* NULL-terminated */
	const char *id;	       /* from registry_new_id(); NULL: a new one */
	const char *name;      /* NULL: one is invented */
	const char *isolation; /* "vm,pv": tried in this order; NULL: container */
	bool auto_remove, stdin_once;
	const char *stop_signal; /* NULL: the image's, or SIGTERM */
	int64_t stop_timeout;	 /* seconds, or LAUNCH_STOP_TIMEOUT_* */
	int64_t restart_policy, restart_max;
	const char *log_driver; /* json-file, none; NULL: json-file */
	const struct strlist *log_opts;
	const struct strlist *publish;
	uint64_t timeout_ns;
	const struct health_wish *health; /* NULL: as the image says */
};

/* Makes it; on success `s` is open (not locked) and belongs to the caller. On failure nothing is left. 0 or
 * -errno; -ENOENT with `*no_image` set when the image is not here. */
int launch_create(const struct launch *l, const char *root, struct subject *s, bool *no_image,
		  struct err *e);
