/* Domains: pv guests as Xen's toolstack shows them. Those that `xl` made run the user's own kernel and disks; every
 * other pv instance is shown beside them. */
#pragma once

#include "base/err.h"
#include "run/registry.h"
#include "wire/xlcfg.h"

/* Makes an instance of it, ready to be started. Relative paths are the working directory's. 0 or -errno, and
 * nothing is left. */
int domain_create(const struct xl_domain *d, const char *root, struct subject *s, struct err *e);

/* Opens by name, id or beginning of an id, or by its number. -EINVAL when it is no pv guest. */
int domain_open(struct subject *s, const char *root, const char *word, struct err *e);

struct domain_view {
	const char *name;
	int id; /* the process id of its monitor; -1: it does not run */
	uint64_t memory;
	unsigned vcpus;
	char state[7];	/* "r-----": running, blocked, paused, shut down, crashed, dying */
	double seconds; /* of processor time */
};

/* What `xl list` shows of it. 0 or -errno. */
int domain_view(struct subject *s, struct domain_view *v, struct err *e);
/* The host as the domain 0 that it is to the others. */
void domain_view_host(struct domain_view *v);
