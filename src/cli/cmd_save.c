/*
 * warren save and load: image archives, both ways.
 *
 * Trust: argv is the user's; archives go to the store, which trusts nothing in them. Threads: none.
 * #syscalls: openat read write unlink isatty
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "os/file.h"

#define IMAGES_MAX 256

struct save_settings {
	const char *output;
};

static const struct opt save_opts[] = {
	OPT_STRING('o', "output", "FILE", struct save_settings, output,
		   "Write to a file (default: standard output)", .complete = COMPLETE_FILE),
	OPT_END,
};

static int save_to(int fd, int argc, char **argv, struct err *e)
{
	char out[32], names[IMAGES_MAX][320];
	const char *words[IMAGES_MAX + 3] = { "save", out };

	if (argc > IMAGES_MAX)
		return err_set(e, -E2BIG, "more than %d images at once", IMAGES_MAX);
	snprintf(out, sizeof(out), "fd=%d", fd);
	for (int i = 0; i < argc; i++) {
		if (snprintf(names[i], sizeof(names[i]), "image=%s", argv[i]) >=
		    (int)sizeof(names[i]))
			return err_set(e, -EINVAL, "image name '%.40s...' is too long", argv[i]);
		words[2 + i] = names[i];
	}
	words[2 + argc] = NULL;
	return images_ask(words, true, NULL, NULL, e);
}

static int run_save(void *settings, int argc, char **argv, struct err *e)
{
	const struct save_settings *s = settings;
	char part[PATH_MAX];

	if (!s->output) {
		if (isatty(1))
			return err_set(e, -EINVAL,
				       "save: standard output is a terminal; use -o FILE");
		/* The helper's own standard output carries its answers. */
		cleanup_fd int copy = fcntl(1, F_DUPFD, 3);

		return copy < 0 ? -errno : save_to(copy, argc, argv, e);
	}
	if (snprintf(part, sizeof(part), "%s.part", s->output) >= (int)sizeof(part))
		return err_set(e, -ENAMETOOLONG, "'%s'", s->output);
	cleanup_fd int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		return err_sys(e, -errno, "'%s'", part);
	int r = save_to(fd, argc, argv, e);

	if (!r && rename(part, s->output) < 0)
		r = err_sys(e, -errno, "'%s'", s->output);
	if (!r)
		return 0;
	unlink(part);
	return err_wrap(e, "save to '%s'", s->output), r;
}

extern const struct command cmd_save;
const struct command cmd_save = {
	.name = "save",
	.summary = "Write images as an archive that docker, podman and Warren load",
	.opts = save_opts,
	.settings_size = sizeof(struct save_settings),
	.run = run_save,
	ARGS_IMAGES,
};

struct load_settings {
	const char *input;
	bool quiet;
};

static const struct opt load_opts[] = {
	OPT_STRING('i', "input", "FILE", struct load_settings, input,
		   "Read from a file (default: standard input)", .complete = COMPLETE_FILE),
	OPT_BOOL('q', "quiet", struct load_settings, quiet, "No progress"),
	OPT_END,
};

static void print_loaded(void *arg, struct json_object *o)
{
	const char *name = images_text(o, "imported");

	(void)arg;
	if (*name)
		printf("Loaded image: %s\n", name);
}

static int load_from(const char *path, const char *title, bool quiet, struct err *e)
{
	char source[PATH_MAX + 16];

	snprintf(source, sizeof(source), "source=%s", path);
	return images_ask((const char *[]){ "load", source, title, NULL }, quiet, print_loaded,
			  NULL, e);
}

/* The archive is read more than once, so a pipe is kept in a file first. */
static int spool(char *path, struct err *e)
{
	char piece[65536];
	cleanup_fd int fd = mkstemp(path);
	ssize_t n;

	if (fd < 0)
		return err_sys(e, -errno, "'%s'", path);
	while ((n = read_full(0, piece, sizeof(piece))) > 0) {
		int r = write_full(fd, piece, (size_t)n);

		if (r)
			return err_sys(e, r, "'%s'", path);
	}
	return n < 0 ? err_sys(e, (int)n, "standard input") : 0;
}

static int run_load(void *settings, int argc, char **argv, struct err *e)
{
	const struct load_settings *s = settings;
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX - 16];

	(void)argc, (void)argv;
	if (s->input)
		return load_from(s->input, NULL, s->quiet, e);
	if (isatty(0))
		return err_set(e, -EINVAL, "load: standard input is a terminal; use -i FILE");
	snprintf(path, sizeof(path), "%s/warren-load-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
	int r = spool(path, e);

	if (!r)
		r = load_from(path, "title=standard input", s->quiet, e);
	unlink(path);
	return r;
}

extern const struct command cmd_load;
const struct command cmd_load = {
	.name = "load",
	.summary = "Take images from an archive of docker save, podman save or warren save",
	.opts = load_opts,
	.settings_size = sizeof(struct load_settings),
	.run = run_load,
};
