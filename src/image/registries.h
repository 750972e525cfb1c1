/* registries.conf and certs.d of this host and user. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "wire/registries.h"

/* Reads /etc/containers/registries.conf (or $CONTAINERS_REGISTRIES_CONF, or ~/.config/containers/registries.conf) and
 * what lies in the registries.conf.d beside them. Missing files are fine. 0, or -errno naming file and line. */
int registries_load(struct registries *c, struct err *e);

/* The names under which the image that `name` means may be here, the most likely first: what registries.conf makes of
 * it, then the name itself. 0, -EINVAL: it is no name, -ENOMEM. */
int registries_local_names(const char *name, struct strlist *out);

/* PEM texts of a registry "HOST[:PORT]" out of certs.d: authorities (*.crt), and a client's certificate and key
 * (*.cert, *.key). Empty when there are none. 0 or -errno. */
struct registry_certs {
	struct buf authorities, cert, key;
};

int registry_certs_load(const char *registry, struct registry_certs *out, struct err *e);
void registry_certs_fini(struct registry_certs *c);
