/* The options that `stop` and `restart` share. */
#pragma once

#include "cli/opt.h"
#include "run/registry.h"

struct stop_settings {
	const char *time, *signal;
};

extern const struct opt stop_opts[];

/* Stops as the settings say, else as the instance's own wishes. 0 or -errno. */
int stop_by_settings(struct subject *s, const char *root, const struct stop_settings *set,
		     struct err *e);
