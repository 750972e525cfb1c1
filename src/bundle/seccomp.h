/* Profiles in the form that config.json's linux.seccomp wants. Bit n of `caps` is capability n: rules of
 * the profile depend on them. */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct json_object;

/* The default profile; `*out` stays NULL when there is none. 0 or -errno. */
int bundle_seccomp_default(uint64_t caps, struct json_object **out, struct err *e);

/* --security-opt seccomp=FILE: docker's form (archMap, includes, excludes) or the specification's. 0 or
 * -errno. */
int bundle_seccomp_file(const char *path, uint64_t caps, struct json_object **out, struct err *e);
