/* Making the process that becomes a container's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "container/container.h"

struct clone_plan {
	uint64_t flags;		      /* CLONE_NEW* that the child is born with */
	int cgroup_fd;		      /* CLONE_INTO_CGROUP, or -1 */
	int pid_ns;		      /* the pid namespace that the child is born into, or -1 */
	const struct oci_linux *time; /* a new time namespace with these offsets; NULL: none */
	/* Run in an intermediate process instead of the caller when the caller may not do the above
	 * itself: enters the user namespace first. NULL: no such attempt. */
	int (*enter)(void *arg, struct err *e);
	bool always; /* go through the intermediate process in any case */
	/* In the caller, when the intermediate process asks for its id maps. */
	int (*map)(void *arg, pid_t pid, struct err *e);
	void *arg;
	int sync_parent, sync_child; /* for the intermediate process */
};

/* Pid, 0 in the child, -errno. `*pidfd` is the parent's. */
pid_t clone_child(const struct clone_plan *p, int *pidfd, struct err *e);
