/* Doing something as root of a rootless instance's user namespace. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

typedef int inner_fn(void *arg, struct err *e);

/* Calls `fn` where the ids of rootless instances may be used: root calls it at once; for an ordinary user a
 * child does, as root of the user namespace of `pid` or, when that is 0, of a new one with the user's map and
 * a mount namespace of its own. What `fn` returns, with its error. */
int inner_root(pid_t pid, inner_fn *fn, void *arg, struct err *e);
