/* cp: files between the host and an instance, both ways. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "run/registry.h"

struct copy {
	struct subject *s;
	bool into;	    /* from the host into the instance */
	const char *host;   /* path on the host; "-": a tar stream on stdin or stdout */
	const char *inside; /* path in the instance */
	bool archive;	    /* keep owners and set-id bits */
	bool follow;	    /* a link that is named is followed */
};

/* docker's rules of what goes where. 0 or -errno. */
int copy_run(const struct copy *c, struct err *e);
