/* Instances as JSON, in docker's shape: what `ps --format` and `inspect` show. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "run/registry.h"

struct json_object;

/* "About an hour", "3 minutes": docker's words for a length of time in seconds. */
void human_duration(int64_t seconds, char *out, size_t size);
/* "1.5GiB" (binary) or "1.5GB". */
void human_size(double bytes, bool binary, char *out, size_t size);

/* "Up 3 minutes", "Exited (0) 2 hours ago". */
void describe_status(struct subject *s, char *out, size_t size);

/* A row of `ps`: ID, Image, Command, CreatedAt, RunningFor, Ports, Status, State, Names, Labels, Mounts,
 * Networks, Isolation, ... The caller puts it. */
struct json_object *describe_row(struct subject *s, bool no_trunc);

/* docker's inspect object, plus "Isolation" in force. 0 or -errno; `*out` is the caller's. */
int describe_inspect(struct subject *s, const char *root, struct json_object **out, struct err *e);
