/* linux.netDevices: interfaces of the host that move into the container. */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "wire/oci.h"

/* In the parent, once `pid` is in its network namespace: moves and renames each device, gives it back its
 * addresses of global scope, and wakes it. 0 or -errno. */
int netdev_move_all(const struct oci_linux *l, pid_t pid, struct err *e);
