/* User namespaces: writing maps, and making one that only carries maps. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "wire/oci.h"

/* Whether we run in a user namespace that is not the host's own: there root is an ordinary user. */
bool userns_is_inner(void);

/* Writes the maps of `pid`, which waits in its new user namespace: directly when that is allowed, else through
 * newuidmap and newgidmap. 0 or -errno. */
int userns_map(pid_t pid, const struct oci_id_mappings *uids, const struct oci_id_mappings *gids,
	       struct err *e);

/* A user namespace with these maps and no process in it, for idmapped mounts. A descriptor or -errno. */
int userns_make(const struct oci_id_mappings *uids, const struct oci_id_mappings *gids,
		struct err *e);
