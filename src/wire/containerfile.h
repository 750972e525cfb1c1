/* Containerfiles: lines to instructions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct instruction {
	char name[16];	  /* "RUN", upper case */
	const char *args; /* what follows, continuation lines joined */
	size_t line;	  /* where it begins */
};

/* Splits a Containerfile (at most 1 MiB). Words that are not known are refused by name and line. */
int containerfile_parse(const char *text, size_t n, const char *name, struct arena *a,
			struct instruction **out, size_t *out_n, struct err *e);

/* Replaces $NAME, ${NAME}, ${NAME:-word} and ${NAME:+word} by `vars` ("NAME=value", the last one wins); "\$" is
 * a dollar. To be freed; NULL without memory. */
char *containerfile_expand(const char *s, const struct strlist *vars);

/* Words as in a shell: blanks divide, quotes and backslashes hold together. 0 or -EINVAL, -ENOMEM. */
int containerfile_words(const char *s, struct strlist *out);

/* Takes "--name[=value]" from the front of `*args`. 1; 0: there is none; -EINVAL: too long. */
int containerfile_flag(const char **args, char *name, size_t name_size, char *value, size_t size);

/* HEALTHCHECK's arguments as the image configuration's object; to be put. 0 or -EINVAL. */
struct json_object;
int containerfile_health(const char *args, struct json_object **out);

/* A JSON list of strings ("[...]"). 1: it was one; 0: it is not; -ENOMEM. */
int containerfile_list(const char *s, struct strlist *out);
