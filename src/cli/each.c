/*
 * One thing for every instance named.
 *
 * Trust: words are the user's. Threads: none. #syscalls: write
 */
#include "cli/each.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"

static int each(char *const *words, int n, bool echo, bool force, each_fn *fn, void *arg,
		struct err *e)
{
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e), status = 0;

	if (r)
		return r;
	for (int i = 0; i < n; i++) {
		struct subject s;
		struct err one = ERR_INIT;

		r = subject_open(&s, root, words[i], false, &one);
		if (r == -ENOENT && force)
			continue;
		if (!r) {
			r = fn(&s, root, arg, &one);
			subject_fini(&s);
		}
		if (r) {
			fflush(stdout);
			cli_complain(&one);
			status = EXIT_WARREN;
		} else if (echo) {
			printf("%s\n", words[i]);
			fflush(stdout);
		}
	}
	return status;
}

int each_subject_or_missing(char *const *words, int n, bool force, each_fn *fn, void *arg,
			    struct err *e)
{
	return each(words, n, true, force, fn, arg, e);
}

int each_subject(char *const *words, int n, bool echo, each_fn *fn, void *arg, struct err *e)
{
	return each(words, n, echo, false, fn, arg, e);
}
