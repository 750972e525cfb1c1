/* The live table that `stats` and `top` without an argument show. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct stats_settings {
	bool all, once, no_trunc, hypervisor;
	const char *format;
};

/* `n` 0: all that run. Returns at the end of output or, with `once`, after one table. 0 or -errno. */
int stats_show(const struct stats_settings *set, const char *root, char *const *words, int n,
	       struct err *e);
