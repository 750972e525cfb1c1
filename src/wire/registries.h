/* registries.conf, version 2 (and version 1's three lists): where names without a registry are looked for, and what
 * stands for a registry: mirrors, another place, plain HTTP, nothing at all. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/reference.h"

struct registries_mirror {
	char *location;
	bool insecure, only_digests, only_tags;
};

struct registries_rule {
	char *prefix;	/* "docker.io", "quay.io/team", "*.example.org" */
	char *location; /* NULL: as the name says */
	bool insecure, blocked, mirrors_by_digest;
	struct registries_mirror *mirrors;
	size_t mirrors_n;
};

struct registries {
	struct registries_rule *rules;
	size_t n;
	struct strlist search;	/* unqualified-search-registries */
	struct strlist aliases; /* "name=whole name", the last one wins */
};

/* Adds what a file says; of rules with one prefix the file read last wins whole. 0, or -errno with file and line. */
int registries_parse(struct registries *c, const char *text, size_t n, const char *name,
		     struct err *e);
void registries_fini(struct registries *c);

/* The whole names that `name`, as typed, may mean, in the order to try. 0, -EINVAL, -ENOMEM. */
int registries_candidates(const struct registries *c, const char *name, struct strlist *out,
			  struct err *e);

/* The rule for a name, NULL: none. */
const struct registries_rule *registries_find(const struct registries *c,
					      const struct reference *ref);

/* The i-th place to ask for `ref`: the mirrors, last the registry itself; registry and repository of `out` are that
 * place's. 1; 0: there are no more; -EINVAL: the file's location makes no name. */
int registries_place(const struct registries_rule *rule, const struct reference *ref, size_t i,
		     struct reference *out, bool *insecure, struct err *e);
