/* seccomp as config-linux.md's "Seccomp" describes it: profile -> program -> kernel -> listener. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "container/cbpf.h"
#include "wire/oci.h"

/* A compiled profile. Plain bytes, 32 KB; good in a child after fork, no memory behind it. */
struct seccomp_program {
	unsigned int flags; /* SECCOMP_FILTER_FLAG_* */
	bool notify;	    /* some rule notifies: loading gives a listener */
	struct cbpf code;
};

/* Verdicts are those that libseccomp's filter gives when runc or crun feed it the profile: names that no
 * ABI knows are skipped; a rule whose action is the default is no rule; the first rule without
 * conditions decides its call alone; rules with conditions are tried in an order that puts comparisons for
 * equality first; a rule with two conditions on one argument counts as one rule a condition. 0 or -errno with the
 * member that is wrong. */
int container_seccomp_compile(const struct oci_seccomp *profile, struct seccomp_program *out,
			      struct err *e);

/* Binds the calling thread. The caller has no_new_privs or CAP_SYS_ADMIN. `*listener`: the descriptor for
 * notifications, or -1. 0 or -errno. */
int container_seccomp_load(const struct seccomp_program *p, int *listener, struct err *e);

/* Connects to profile->listener_path and hands over the listener with the container process state. Runs outside the
 * filter. `state` is the container's state as JSON (container_state_json), `pid` the process that is bound (for exec
 * not the container's own). 0 or -errno. */
int container_seccomp_hand_over(const struct oci_seccomp *profile, const char *state, pid_t pid,
				int listener, struct err *e);
