/* Clearing what nobody uses. */
#pragma once

#include "base/err.h"

/* Gets the name or id of each instance that was removed. */
typedef void prune_fn(void *arg, const char *id);

/* Removes every instance that does not run, and what killed processes of Warren may have left: names without
 * an instance, empty control groups. What cannot be removed is passed over and
 * the first reason is returned. 0 or -errno. */
int prune_instances(const char *root, prune_fn *fn, void *arg, struct err *e);
