/* What happened to instances: an append-only file of JSON lines in docker's shape, ROOT/.events. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/err.h"
#include "run/registry.h"

/* Says that `action` ("create", "start", "die", ...) happened. `extra` are further attributes, "key=value",
 * NULL-terminated, or NULL. Failing to say so is never an error of the thing that happened. */
void event_emit(const char *root, const struct subject *s, const char *action,
		const char *const *extra);

typedef int event_line_fn(void *arg, const char *json, size_t n);

/* Hands each line out whose time lies in the bounds (zero: none), then, with `follow`, waits for more until
 * `until` has come, `fn` returns not 0 (which is returned), or `stop_fd` (-1: none) becomes readable. 0 or
 * -errno. */
int events_read(const char *root, struct timespec since, struct timespec until, bool follow,
		int stop_fd, event_line_fn *fn, void *arg, struct err *e);
