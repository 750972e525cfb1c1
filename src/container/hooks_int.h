/* Hooks (config.md, "POSIX-platform Hooks"). */
#pragma once

#include "base/err.h"
#include "container/container.h"
#include "wire/oci.h"

/* Runs a stage's hooks in their order with the state on stdin. The first that fails, or takes longer than its
 * timeout, ends it: "hook poststop[0] '/bin/x': ended with status 1: <what it said>". 0 or -errno. */
int hooks_run(const struct oci_spec *spec, enum oci_hook_stage stage,
	      const struct container_state *st, struct err *e);

/* The same where failures may only be warned of: all hooks run. */
void hooks_run_all(const struct oci_spec *spec, enum oci_hook_stage stage,
		   const struct container_state *st);
