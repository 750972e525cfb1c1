/* What the files of `warren xl` share. */
#pragma once

#include "cli/cli.h"
#include "run/domain.h"

/* NULL-terminated, sorted by name. */
extern const struct command *const xl_commands[];

/* The console of a guest's kernel on this terminal, until ^] or its end (cmd_console.c). */
int console_attend(struct subject *s, const char *word, struct err *e);

/* `fn` for each domain that is named, or with `all` for each that runs. The exit status or -errno. */
typedef int xl_each_fn(struct subject *s, const char *root, void *arg, struct err *e);
int xl_each(char *const *words, int n, bool all, xl_each_fn *fn, void *arg, struct err *e);
