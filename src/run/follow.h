/* Reading an instance's log to its end, or for as long as it runs. */
#pragma once

#include "run/log.h"
#include "run/registry.h"

/* Hands out the lines that `want` lets through; with `follow` until the instance has ended. 0, what `fn`
 * returned, or -errno. */
int follow_log(struct subject *s, const struct log_filter *want, bool follow, log_line_fn *fn,
	       void *arg, struct err *e);
