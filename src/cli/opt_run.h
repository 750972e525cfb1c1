/* The options that `run` and `create` share, beside those of run_options.h. */
#pragma once

#include "bundle/options.h"
#include "cli/opt.h"
#include "run/launch.h"

struct run_settings {
	struct bundle_options bundle;
	const char *name, *rootfs, *isolation;
	bool vm, pv;
	const char *restart, *stop_signal, *stop_timeout;
	const char *cidfile, *log_driver, *pull, *platform;
	struct strlist log_opts, publish;
	bool publish_all, rm;
	uint64_t timeout_ns;
	struct health_wish health;
	struct strlist attach; /* run -a: stdin, stdout, stderr */
	/* run only */
	const char *id; /* not an option: that of the keeper that waits already */
	bool detach;
	const char *detach_keys, *sig_proxy;
};

extern const struct opt run_opts[];	   /* of `run` */
extern const struct opt run_create_opts[]; /* of `create` */

/* Makes the instance that the settings and the words (image, command) describe; pulls the image when it is
 * missing and --pull allows. `s` is open on success. 0 or -errno. */
int run_create(const struct run_settings *set, int argc, char **argv, const char *root,
	       struct subject *s, struct err *e);
