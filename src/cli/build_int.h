/* What the files of `warren build` share. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "image/image.h"
#include "image/rootfs.h"
#include "wire/reference.h"
#include "wire/tar.h"

struct build {
	char context[PATH_MAX];	     /* real path */
	char image[DIGEST_SIZE];     /* so far: an id */
	struct image img;	     /* resolved */
	struct strlist vars;	     /* ARG and ENV, for expansion */
	struct strlist args;	     /* ARG, for RUN's environment */
	const struct strlist *given; /* --build-arg */
	char workdir[PATH_MAX];
	const char *network, *isolation;
	size_t step;
	bool started, no_cache, quiet;
};

typedef int build_commit_fn(struct build *b, const char *upper, const char *change,
			    const char *text, struct err *e);

/* Lays the sources out at `to` (a directory when `dir`) in a scratch tree, with the directories above it as the
 * image has them, and commits it, or finds it in the cache. No sources: only the directory. 0 or -errno. */
int build_tree(struct build *b, char *const *sources, size_t n, const char *to, bool dir,
	       const char *change, const char *text, build_commit_fn *commit, struct err *e);

/* The cache: `key` is of the current image, the text and `content`. True: b->image is what the step made
 * before. */
bool build_cached(struct build *b, const char *text, const char *content, char key[DIGEST_SIZE]);
void build_remember(const struct build *b, const char *key);
