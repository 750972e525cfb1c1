/* What an instance changed in its image's files. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "run/registry.h"

enum change_kind { CHANGE_MODIFIED, CHANGE_ADDED, CHANGE_DELETED };

typedef int change_fn(void *arg, enum change_kind kind, const char *path);

/* Calls `fn` for each changed path in the order of names, a directory before what is in it. Not 0 ends it and
 * is returned. -EOPNOTSUPP for an instance without layers (--rootfs). 0 or -errno. */
int changes_list(struct subject *s, change_fn *fn, void *arg, struct err *e);

/* The same of an overlay's open directories, `lower` topmost first: appends "C/path", "A/path" or "D/path" with a
 * zero behind each. Mount points of `spec` are none. 0 or -errno. */
int changes_walk(const struct oci_spec *spec, int upper, const int *lower, size_t lower_n,
		 struct buf *lines);
