/* An instance's own files below the data directory: the writable layer, the log. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* Removes the directory and everything in it, whoever owns it: a rootless instance's files belong to ids
 * that only its user namespace may touch, so there the removal happens inside one. 0 or -errno. */
int disk_remove(const char *path, struct err *e);

/* Bytes that a tree takes on disk; parts that cannot be read do not count. */
uint64_t disk_bytes(const char *path);
