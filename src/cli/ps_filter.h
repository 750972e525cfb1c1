/* ps --filter. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "run/registry.h"

struct ps_filter {
	const struct strlist *words; /* "name=value" */
	bool wants_all;		     /* a filter that speaks of ended ones shows them too */
	char before[32], since[32];  /* creation times of those named */
};

/* 0, or -EINVAL naming the filter. */
int ps_filter_parse(struct ps_filter *f, const struct strlist *words, const char *root,
		    struct err *e);
/* Words of one kind are alternatives, kinds must all hold; labels must all hold. */
bool ps_filter_match(const struct ps_filter *f, struct subject *s);
