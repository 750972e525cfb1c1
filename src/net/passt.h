/* passt (the distribution's program): a guest's connections leave as those of a process of the host, without an
 * interface and without rights. */
#pragma once

#include "net/port.h"

/* A port on a stream socket whose other end is passt's (its --fd); takes `fd` over, also on failure. NULL without
 * memory. */
struct net_port *passt_port_new(int fd);
