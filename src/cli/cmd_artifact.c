/*
 * warren artifact: files that travel through registries as they are: kernels, disk images.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: mkdir
 */
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "os/tree.h"

struct settings {
	const char *type, *creds, *tls_verify;
	bool quiet;
};

#define COMMON                                                                         \
	OPT_STRING(0, "creds", "USER:PASSWORD", struct settings, creds,                \
		   "Credentials for this once"),                                       \
		OPT_STRING(0, "tls-verify", "true|false", struct settings, tls_verify, \
			   "false: plain HTTP and unknown certificates are fine",      \
			   .choices = "true|false"),                                   \
		OPT_BOOL('q', "quiet", struct settings, quiet, "No progress")

static const struct opt push_opts[] = {
	OPT_STRING(0, "type", "TYPE", struct settings, type, "The artifact's media type"),
	COMMON,
	OPT_END,
};

static const struct opt pull_opts[] = { COMMON, OPT_END };

static void print_answer(void *arg, struct json_object *o)
{
	const char *v = images_text(o, arg);

	if (*v)
		printf("%s\n", v);
}

static int ask(const struct settings *s, const char **words, size_t n, const char *answer,
	       struct err *e)
{
	if (s->creds && setenv("WARREN_CREDENTIALS", s->creds, 1))
		return -ENOMEM;
	if (s->tls_verify)
		words[n++] = strcmp(s->tls_verify, "false") ? "secure=1" : "insecure=1";
	words[n] = NULL;
	int r = images_ask(words, s->quiet, print_answer, (void *)(uintptr_t)answer, e);

	unsetenv("WARREN_CREDENTIALS");
	return r;
}

static int run_push(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *s = settings;
	cleanup_with(strlist_fini) struct strlist all = { .n = 0 };
	cleanup_free const char **words = calloc((size_t)argc + 6, sizeof(*words));
	int r = words ? strlist_add(&all, "artifact-push") : -ENOMEM;

	for (int i = 0; !r && i < argc; i++) {
		char word[PATH_MAX + 8], real[PATH_MAX];

		if (i && !realpath(argv[i], real))
			return err_sys(e, -errno, "'%s'", argv[i]);
		snprintf(word, sizeof(word), "%s=%s", i ? "file" : "name", i ? real : argv[i]);
		r = strlist_add(&all, word);
	}
	if (!r && s->type) {
		char word[300];

		snprintf(word, sizeof(word), "type=%s", s->type);
		r = strlist_add(&all, word);
	}
	if (r)
		return r;
	memcpy(words, all.v, all.n * sizeof(*words));
	return ask(s, words, all.n, "pushed", e);
}

static const struct command cmd_push = {
	.name = "push",
	.args = "NAME FILE...",
	.summary = "Send files to a registry as an artifact",
	.opts = push_opts,
	.settings_size = sizeof(struct settings),
	.run = run_push,
	.min_args = 2,
	.max_args = -1,
	.complete_args = COMPLETE_FILE,
};

static int run_pull(void *settings, int argc, char **argv, struct err *e)
{
	char name[1100], to[PATH_MAX + 8], real[PATH_MAX];
	const char *words[8] = { "artifact-pull", name, to };

	if (!realpath(argc > 1 ? argv[1] : ".", real))
		return err_sys(e, -errno, "'%s'", argc > 1 ? argv[1] : ".");
	snprintf(name, sizeof(name), "name=%s", argv[0]);
	snprintf(to, sizeof(to), "to=%s", real);
	return ask(settings, words, 3, "file", e);
}

static const struct command cmd_pull = {
	.name = "pull",
	.args = "NAME [DIR]",
	.summary = "Fetch an artifact's files into a directory",
	.text = "What comes can be given to others: warren kernel import FILE, warren run --vm "
		"--disk "
		"FILE.",
	.opts = pull_opts,
	.settings_size = sizeof(struct settings),
	.run = run_pull,
	.min_args = 1,
	.max_args = 2,
};

static const struct command *const subs[] = { &cmd_pull, &cmd_push, NULL };

extern const struct command cmd_artifact;
const struct command cmd_artifact = {
	.name = "artifact",
	.summary = "Files in registries: kernels, disk images",
	.subs = subs,
};
