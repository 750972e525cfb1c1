/* Tap devices: a network interface of the host whose cable is a descriptor. */
#pragma once

#include "base/err.h"
#include "net/port.h"

/* Opens `queues` queues of the existing tap `name` in our network namespace. 0, or -errno with the mend. */
int tap_open(const char *name, unsigned queues, int fd[NET_QUEUES_MAX], struct err *e);

/* A port on opened queues. Takes the descriptors over, also on failure. NULL without memory. */
struct net_port *tap_port_new(const int *fd, unsigned queues);
