/* The pattern of most commands: do one thing to every instance named, say what was done, go on after an
 * error. */
#pragma once

#include "base/err.h"
#include "run/registry.h"

/* `s` is open, not locked. 0 or -errno with `e` set. */
typedef int each_fn(struct subject *s, const char *root, void *arg, struct err *e);

/* Calls `fn` for each word; `echo`: prints the word after success. Errors are printed as they come. 0, or
 * 125 when something failed; -errno when nothing could be begun. */
int each_subject(char *const *words, int n, bool echo, each_fn *fn, void *arg, struct err *e);

/* The same; with `force` a word that names nothing is no error. */
int each_subject_or_missing(char *const *words, int n, bool force, each_fn *fn, void *arg,
			    struct err *e);
