/*
 * warren commit and export: an instance's files as an image, or as a tar.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: openat rename unlink isatty
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "run/guest_upper.h"
#include "run/lifecycle.h"
#include "run/registry.h"

#define WORDS_MAX 64
#define WORD_MAX  4096

struct words {
	const char *v[WORDS_MAX + 1];
	char *owned[WORDS_MAX];
	size_t n;
	char *disk; /* of the instance, whose files are shown meanwhile; NULL: none */
};

static int word(struct words *w, const char *key, const char *value)
{
	if (!value)
		return 0;
	if (w->n == WORDS_MAX)
		return -E2BIG;
	if (asprintf(&w->owned[w->n], "%s=%s", key, value) < 0)
		return -ENOMEM;
	w->v[w->n] = w->owned[w->n];
	w->v[++w->n] = NULL;
	return 0;
}

static void words_fini(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->owned[i]);
	if (w->disk)
		guest_upper_hide(w->disk);
	free(w->disk);
}

/* Where the store finds the instance's files. */
static int locate(const char *name, struct words *w, struct err *e)
{
	cleanup_free char *root = NULL;
	struct subject s = SUBJECT_INIT;
	char upper[PATH_MAX];
	int r = registry_root(&root, e);

	if (!r)
		r = subject_open(&s, root, name, false, e);
	if (r)
		return r;
	if (!s.rec.image_id || !s.rec.disk)
		r = err_set(e, -EOPNOTSUPP,
			    "instance '%s' was made from --rootfs: its files are there", name);
	else if (!(w->disk = strdup(s.rec.disk)))
		r = -ENOMEM;
	else
		r = guest_upper_show(&s, upper, sizeof(upper), e);
	if (!r && access(upper, F_OK) < 0)
		r = err_sys(e, -errno, "instance '%s': its writable layer", name);
	if (!r)
		r = word(w, "image", s.rec.image_id);
	if (!r)
		r = word(w, "upper", upper);
	subject_fini(&s);
	return r;
}

struct commit_settings {
	const char *author, *message;
	struct strlist changes;
	bool pause;
};

static const struct opt commit_opts[] = {
	OPT_STRING('a', "author", "NAME", struct commit_settings, author, "Who made it"),
	OPT_STRING('m', "message", "TEXT", struct commit_settings, message, "A comment"),
	OPT_LIST('c', "change", "INSTRUCTION", struct commit_settings, changes,
		 "Change the configuration: CMD, ENTRYPOINT, ENV, USER, WORKDIR, STOPSIGNAL"),
	OPT_END,
};

static void print_id(void *arg, struct json_object *o)
{
	const char *name = images_text(o, "imported");

	(void)arg;
	if (*name)
		printf("%s\n", name);
}

static int run_commit(void *settings, int argc, char **argv, struct err *e)
{
	const struct commit_settings *s = settings;
	cleanup_with(words_fini) struct words w = { .v = { "commit" }, .n = 0 };
	int r;

	w.owned[0] = strdup("commit");
	w.v[w.n++] = w.owned[0];
	r = locate(argv[0], &w, e);
	if (!r)
		r = word(&w, "name", argc > 1 ? argv[1] : NULL);
	if (!r)
		r = word(&w, "author", s->author);
	if (!r)
		r = word(&w, "message", s->message);
	for (size_t i = 0; !r && i < s->changes.n; i++)
		r = word(&w, "change", s->changes.v[i]);
	return r ? r : images_ask(w.v, true, print_id, NULL, e);
}

extern const struct command cmd_commit;
const struct command cmd_commit = {
	.name = "commit",
	.args = "INSTANCE [NAME]",
	.summary = "Make an image of an instance's files",
	.opts = commit_opts,
	.settings_size = sizeof(struct commit_settings),
	.run = run_commit,
	.min_args = 1,
	.max_args = 2,
	.complete_args = COMPLETE_INSTANCE,
};

struct export_settings {
	const char *output;
};

static const struct opt export_opts[] = {
	OPT_STRING('o', "output", "FILE", struct export_settings, output,
		   "Write to a file (default: standard output)", .complete = COMPLETE_FILE),
	OPT_END,
};

static int export_to(int fd, const char *name, struct err *e)
{
	cleanup_with(words_fini) struct words w = { .n = 0 };
	char number[16];
	int r;

	w.owned[0] = strdup("export");
	w.v[w.n++] = w.owned[0];
	snprintf(number, sizeof(number), "%d", fd);
	r = word(&w, "fd", number);
	if (!r)
		r = locate(name, &w, e);
	return r ? r : images_ask(w.v, true, NULL, NULL, e);
}

static int run_export(void *settings, int argc, char **argv, struct err *e)
{
	const struct export_settings *s = settings;
	cleanup_fd int fd = -1;

	(void)argc;
	if (!s->output && isatty(1))
		return err_set(e, -EINVAL, "export: standard output is a terminal; use -o FILE");
	fd = s->output ? open(s->output, O_WRONLY | O_CREAT | O_TRUNC, 0644) : fcntl(1, F_DUPFD, 3);
	if (fd < 0)
		return err_sys(e, -errno, "'%s'", s->output ? s->output : "standard output");
	int r = export_to(fd, argv[0], e);

	if (r && s->output)
		unlink(s->output);
	return r;
}

extern const struct command cmd_export;
const struct command cmd_export = {
	.name = "export",
	.args = "INSTANCE",
	.summary = "Write an instance's files as a tar",
	.opts = export_opts,
	.settings_size = sizeof(struct export_settings),
	.run = run_export,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
