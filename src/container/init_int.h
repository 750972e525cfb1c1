/* What the parent prepares and init uses; one address space before the clone, a copy after. */
#pragma once

#include "container/container.h"
#include "container/mount_int.h"
#include "container/process_int.h"

struct init {
	const struct container_args *args;
	struct rootfs rootfs;
	struct process_setup process;
	struct cgroup *cgroup;
	int sync;		  /* our end */
	int listen;		  /* start.sock, or -1 */
	int ns_fds[OCI_NS_COUNT]; /* namespaces to join, -1: none */
	bool wait_for_parent;	  /* for id maps or systemd's scope */
	bool new_user;
	bool unshare_net;  /* the network namespace is init's to make */
	bool in_cgroup;	   /* joined already */
	bool in_cgroup_ns; /* made already, where it is new */
	bool go_on; /* nobody waits for us before the start, and it may have been said already */
};

/* The child of the clone; never returns. */
__attribute__((noreturn)) void init_main(struct init *in);

/* Has the parent map our ids, and takes the namespace's root; does nothing when there is nothing to wait for. */
int init_wait_for_parent(struct init *in, struct err *e);

/* Enters the namespaces that have a path, except the pid namespace. */
int init_join(struct init *in, struct err *e);

/* Parent: hands the listener of a notifying filter on `pid` over. 0 or -errno. */
int container_pass_listener(const struct oci_spec *spec, const struct container_state *st,
			    pid_t pid, int listener, struct err *e);
