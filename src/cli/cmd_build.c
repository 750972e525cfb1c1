/*
 * warren build: an image from a Containerfile.
 *
 * Each instruction makes an image out of the one before: RUN runs an instance (behind whatever wall is asked for) and
 * commits it, COPY lays files out in a scratch tree and commits that as a layer, the others only change the configuration.
 * What an instruction made is remembered under a key of its parent, its text and the content of its files
 * (<data>/cache/HEX), so that the same step is not done twice.
 *
 * Trust: the Containerfile and context are the user's; sources outside the context are refused; what RUN does happens
 * inside an instance. Threads: none. #syscalls: those of os/spawn.c; openat mkdir read write
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/build_int.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "image/image.h"
#include "os/file.h"
#include "os/spawn.h"
#include "os/tree.h"
#include "run/registry.h"
#include "wire/containerfile.h"

struct settings {
	const char *file, *tag, *isolation, *network;
	struct strlist args;
	bool no_cache, quiet;
};

static const struct opt opts[] = {
	OPT_STRING('f', "file", "FILE", struct settings, file,
		   "The Containerfile (default: Containerfile or Dockerfile in CONTEXT)",
		   .complete = COMPLETE_FILE),
	OPT_STRING('t', "tag", "NAME", struct settings, tag, "Name of the image"),
	OPT_LIST(0, "build-arg", "NAME=VALUE", struct settings, args, "A value for ARG"),
	OPT_STRING(0, "isolation", "WALL", struct settings, isolation, "The wall for RUN"),
	OPT_STRING(0, "network", "host|none|private", struct settings, network,
		   "Network for RUN (host)"),
	OPT_BOOL(0, "no-cache", struct settings, no_cache, "Do every step anew"),
	OPT_BOOL('q', "quiet", struct settings, quiet, "Only the id"),
	OPT_END,
};

static void take_id(void *arg, struct json_object *o)
{
	const char *id = images_text(o, "imported");

	if (*id)
		snprintf(arg, DIGEST_SIZE, "%s", id);
}

/* The current image plus a layer (`upper`, or NULL) and a change (or NULL). */
static int commit(struct build *b, const char *upper, const char *change, const char *text,
		  struct err *e)
{
	cleanup_free char *image = NULL, *up = NULL, *how = NULL, *by = NULL;
	const char *words[8] = { "commit" };
	size_t n = 1;

	if (asprintf(&image, "image=%s", b->image) < 0 ||
	    asprintf(&by, "created_by=%s", text) < 0 ||
	    (upper && asprintf(&up, "upper=%s", upper) < 0) ||
	    (change && asprintf(&how, "change=%s", change) < 0))
		return -ENOMEM;
	words[n++] = image;
	words[n++] = by;
	if (up)
		words[n++] = up;
	if (how)
		words[n++] = how;
	return images_ask(words, true, take_id, b->image, e);
}

static int refresh(struct build *b, struct err *e)
{
	image_fini(&b->img);
	return image_resolve(b->image, &b->img, e);
}

/* Base images */

static int make_scratch(struct build *b, struct err *e)
{
	static const char zeros[1024];
	cleanup_with(buf_fini) struct buf tar = BUF_INIT(1u << 16);
	char path[] = "/tmp/warren-scratch-XXXXXX", source[64];
	cleanup_fd int fd = mkstemp(path);
	const struct tar_entry root = {
		.type = TAR_DIRECTORY, .path = "./", .link = "", .mode = 0755
	};

	snprintf(source, sizeof(source), "source=rootfs:%s", path);
	tar_add_header(&tar, &root);
	buf_add(&tar, zeros, sizeof(zeros));
	int r = fd < 0 ? -errno : tar.error ? tar.error : write_full(fd, tar.data, tar.len);

	r = r ? err_sys(e, r, "'%s'", path)
	      : images_ask((const char *[]){ "import", source, "name=warren-build/scratch", NULL },
			   true, NULL, NULL, e);
	unlink(path);
	snprintf(b->image, sizeof(b->image), "warren-build/scratch");
	return r ? r : refresh(b, e);
}

static int do_from(struct build *b, const char *args, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist w = { 0 };
	int r = containerfile_words(args, &w);

	if (r || (w.n != 1 && !(w.n == 3 && strcasecmp(w.v[1], "AS") == 0)))
		return err_set(e, -EINVAL, "FROM '%s': expected IMAGE [AS NAME]", args);
	if (b->started)
		return err_set(e, -EOPNOTSUPP, "FROM: several stages are not built here");
	b->started = true;
	if (streq(w.v[0], "scratch"))
		r = make_scratch(b, e);
	else {
		r = image_resolve(w.v[0], &b->img, e);
		if (r == -ENOENT) {
			err_clear(e);
			r = images_pull(w.v[0], NULL, e);
			r = r ? r : image_resolve(w.v[0], &b->img, e);
		}
	}
	if (r)
		return r;
	snprintf(b->image, sizeof(b->image), "%s", b->img.id);
	for (size_t i = 0; !r && i < b->img.config.env.n; i++)
		r = strlist_add(&b->vars, b->img.config.env.v[i]);
	snprintf(b->workdir, sizeof(b->workdir), "%s",
		 b->img.config.working_dir && *b->img.config.working_dir ? b->img.config.working_dir
									 : "/");
	return r;
}

/* RUN */

/* `out`: where what it prints goes; -1: nowhere. */
static int self(const char *const *argv, int out, struct err *e)
{
	pid_t pid;
	int r = spawn_program(&pid, "/proc/self/exe", argv, (const int[3]){ -1, out, 2 }, e);

	return r ? r : spawn_finish(pid, -1, argv[1], e);
}

static int commit_instance(struct build *b, const char *name, const char *text, struct err *e)
{
	cleanup_free char *root = NULL;
	struct subject s = SUBJECT_INIT;
	char upper[PATH_MAX];
	int r = registry_root(&root, e);

	if (!r)
		r = subject_open(&s, root, name, false, e);
	if (r)
		return r;
	snprintf(upper, sizeof(upper), "%s/upper", s.rec.disk ? s.rec.disk : "");
	subject_fini(&s);
	return commit(b, upper, NULL, text, e);
}

static int do_run(struct build *b, const char *args, const char *text, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist list = { 0 }, argv = { 0 };
	char name[64];
	int r = containerfile_list(args, &list);
	const struct {
		const char *option, *value;
	} with[] = { { "--network", b->network },
		     { "--isolation", b->isolation },
		     { "--entrypoint", "" } };

	if (r < 0)
		return r;
	bool exec = r == 1 && list.n;

	snprintf(name, sizeof(name), "build-%d-%zu", (int)getpid(), b->step);
	r = strlist_add(&argv, "warren") | strlist_add(&argv, "run") |
	    strlist_add(&argv, "--name") | strlist_add(&argv, name);
	for (size_t i = 0; !r && i < sizeof(with) / sizeof(with[0]); i++)
		if (with[i].value)
			r = strlist_add(&argv, with[i].option) | strlist_add(&argv, with[i].value);
	for (size_t i = 0; !r && i < b->args.n; i++)
		r = strlist_add(&argv, "-e") | strlist_add(&argv, b->args.v[i]);
	r = r ? r : strlist_add(&argv, b->image);
	if (!r && !exec)
		r = strlist_add(&argv, "/bin/sh") | strlist_add(&argv, "-c") |
		    strlist_add(&argv, args);
	for (size_t i = 0; !r && exec && i < list.n; i++)
		r = strlist_add(&argv, list.v[i]);
	if (r)
		return -ENOMEM;
	r = self((const char *const *)argv.v, STDERR_FILENO, e);
	if (!r)
		r = commit_instance(b, name, text, e);
	struct err ignored = ERR_INIT;

	self((const char *[]){ "warren", "rm", "-fv", name, NULL }, -1, &ignored);
	return r;
}

/* The configuration's instructions */

static int change_each(struct build *b, const char *name, const struct strlist *words,
		       const char *text, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && i < words->n; i++) {
		cleanup_free char *change = NULL;

		if (asprintf(&change, "%s %s", name, words->v[i]) < 0)
			return -ENOMEM;
		r = commit(b, NULL, change, text, e);
		if (!r && streq(name, "ENV"))
			r = strlist_add(&b->vars, words->v[i]);
	}
	return r;
}

/* ENV A=b C=d, LABEL likewise; the old form is ENV A b c. */
static int pairs(struct build *b, const char *name, const char *args, const char *text,
		 struct err *e)
{
	cleanup_with(strlist_fini) struct strlist w = { 0 };
	size_t n = strcspn(args, "= \t");
	int r;

	if (args[n] == ' ' || args[n] == '\t') {
		cleanup_free char *pair = NULL;

		if (asprintf(&pair, "%.*s=%s", (int)n, args, args + n + strspn(args + n, " \t")) <
		    0)
			return -ENOMEM;
		r = strlist_add(&w, pair);
	} else {
		r = containerfile_words(args, &w);
	}
	for (size_t i = 0; !r && i < w.n; i++)
		if (!strchr(w.v[i], '=') || w.v[i][0] == '=')
			r = -EINVAL;
	if (r)
		return err_set(e, -EINVAL, "%s '%s': expected NAME=VALUE...", name, args);
	return change_each(b, name, &w, text, e);
}

static int do_arg(struct build *b, const char *args, struct err *e)
{
	size_t n = strcspn(args, "=");
	const char *given = NULL;

	for (size_t i = 0; i < b->given->n; i++)
		if (strncmp(b->given->v[i], args, n) == 0 && b->given->v[i][n] == '=')
			given = b->given->v[i];
	if (!given && !args[n])
		return 0;
	if (!n || strpbrk(args, " \t"))
		return err_set(e, -EINVAL, "ARG '%s': expected NAME[=VALUE]", args);
	int r = strlist_add(&b->vars, given ? given : args);

	return r ? r : strlist_add(&b->args, given ? given : args);
}

/* A path of the image: absolute, or below the working directory. */
static int join(const struct build *b, const char *path, char *out, size_t size)
{
	bool below = path[0] != '/';
	int n = snprintf(out, size, "%s%s%s", below && !streq(b->workdir, "/") ? b->workdir : "",
			 below ? "/" : "", path);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int do_workdir(struct build *b, const char *args, const char *text, struct err *e)
{
	char path[PATH_MAX], change[PATH_MAX + 16], real[PATH_MAX];
	struct stat st;

	if (join(b, args, path, sizeof(path)))
		return err_set(e, -ENAMETOOLONG, "WORKDIR '%.64s...'", args);
	snprintf(b->workdir, sizeof(b->workdir), "%s", path);
	snprintf(change, sizeof(change), "WORKDIR %s", path);
	int r = image_rootfs_stat(&b->img.layers, path + 1, &st, real, sizeof(real));

	if (r == -ENOENT)
		return build_tree(b, NULL, 0, path, true, change, text, commit, e);
	return commit(b, NULL, change, text, e);
}

static int do_copy(struct build *b, const char *name, const char *args, const char *text,
		   struct err *e)
{
	cleanup_with(strlist_fini) struct strlist w = { 0 };
	char to[PATH_MAX];
	int r = containerfile_list(args, &w);

	if (r == 0)
		r = containerfile_words(args, &w);
	if (r < 0 || w.n < 2)
		return err_set(e, -EINVAL, "%s '%s': expected SOURCE... DESTINATION", name, args);
	for (size_t i = 0; i < w.n; i++)
		if (str_after(w.v[i], "--") || strstr(w.v[i], "://"))
			return err_set(e, -EOPNOTSUPP, "%s: '%s' is not known here", name, w.v[i]);
	const char *dst = w.v[w.n - 1];

	if (join(b, dst, to, sizeof(to)))
		return err_set(e, -ENAMETOOLONG, "destination '%.64s...'", dst);
	bool dir = str_ends(to, "/") || streq(dst, ".") || w.n > 2;

	return build_tree(b, w.v, w.n - 1, to, dir, NULL, text, commit, e);
}

static int dispatch(struct build *b, const struct instruction *in, const char *args,
		    const char *text, struct err *e)
{
	cleanup_free char *change = NULL;

	if (streq(in->name, "FROM"))
		return do_from(b, args, e);
	if (streq(in->name, "ARG"))
		return do_arg(b, args, e);
	if (!b->started)
		return err_set(e, -EINVAL, "%s before FROM", in->name);
	if (streq(in->name, "RUN"))
		return do_run(b, in->args, text, e);
	if (streq(in->name, "COPY") || streq(in->name, "ADD"))
		return do_copy(b, in->name, args, text, e);
	if (streq(in->name, "ENV") || streq(in->name, "LABEL"))
		return pairs(b, in->name, args, text, e);
	if (streq(in->name, "WORKDIR"))
		return do_workdir(b, args, text, e);
	if (streq(in->name, "EXPOSE") || streq(in->name, "VOLUME")) {
		cleanup_with(strlist_fini) struct strlist w = { 0 };
		int r = containerfile_list(args, &w);

		if (r == 0)
			r = containerfile_words(args, &w);
		return r < 0 ? err_set(e, r, "%s '%s'", in->name, args)
			     : change_each(b, in->name, &w, text, e);
	}
	bool raw = streq(in->name, "CMD") || streq(in->name, "ENTRYPOINT");

	if (asprintf(&change, "%s %s", in->name, raw ? in->args : args) < 0)
		return -ENOMEM;
	return commit(b, NULL, change, text, e);
}

static int one_step(struct build *b, const struct instruction *in, size_t of, struct err *e)
{
	cleanup_free char *args = containerfile_expand(in->args, &b->vars), *text = NULL;
	bool makes = !streq(in->name, "FROM") && !streq(in->name, "ARG");
	char key[DIGEST_SIZE] = "";

	if (!args || asprintf(&text, "%s %s", in->name, args) < 0)
		return -ENOMEM;
	b->step++;
	if (!b->quiet)
		fprintf(stderr, "STEP %zu/%zu: %s\n", b->step, of, text);
	/* Files' contents are part of the key: build_tree() asks the cache itself. */
	bool files = streq(in->name, "COPY") || streq(in->name, "ADD");

	if (makes && !files && b->started && build_cached(b, text, "", key)) {
		if (!b->quiet)
			fprintf(stderr, "--> Using cache\n");
		int r = streq(in->name, "ENV") ? 0 : refresh(b, e);

		if (!r)
			r = refresh(b, e);
		for (size_t i = 0; !r && i < b->img.config.env.n; i++)
			r = strlist_add(&b->vars, b->img.config.env.v[i]);
		if (!r && b->img.config.working_dir)
			snprintf(b->workdir, sizeof(b->workdir), "%s", b->img.config.working_dir);
		return r;
	}
	int r = dispatch(b, in, args, text, e);

	if (!r && makes && !files)
		build_remember(b, key);
	if (!r && makes)
		r = refresh(b, e);
	return r;
}

static int read_file(const struct settings *s, const char *context, struct buf *out, char *path,
		     size_t size, struct err *e)
{
	static const char *const usual[] = { "Containerfile", "Dockerfile" };
	int r = -ENOENT;

	snprintf(path, size, "%s", s->file ? s->file : "");
	if (s->file)
		r = file_read(AT_FDCWD, path, out);
	for (size_t i = 0; !s->file && r == -ENOENT && i < 2; i++) {
		r = snprintf(path, size, "%s/%s", context, usual[i]) < (int)size
			    ? file_read(AT_FDCWD, path, out)
			    : -ENAMETOOLONG;
	}
	return r ? err_sys(e, r, "'%s'", path) : 0;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *s = settings;
	cleanup_with(buf_fini) struct buf text = BUF_INIT(2u << 20);
	struct arena a = ARENA_INIT(32u << 20);
	struct build b = { .given = &s->args,
			   .no_cache = s->no_cache,
			   .quiet = s->quiet,
			   .network = s->network ? s->network : "host",
			   .isolation = s->isolation };
	struct instruction *steps = NULL;
	char path[PATH_MAX];
	size_t n = 0;
	int r = 0;

	(void)argc;
	if (!realpath(argv[0], b.context))
		return err_sys(e, -errno, "context '%s'", argv[0]);
	r = read_file(s, b.context, &text, path, sizeof(path), e);
	if (!r)
		r = containerfile_parse(buf_str(&text), text.len, path, &a, &steps, &n, e);
	for (size_t i = 0; !r && i < n; i++) {
		r = one_step(&b, &steps[i], n, e);
		if (r)
			err_wrap(e, "%s: line %zu: %s", path, steps[i].line, steps[i].name);
	}
	if (!r && !b.started)
		r = err_set(e, -EINVAL, "%s: no FROM", path);
	if (!r && s->tag) {
		char image[128], name[1100];

		snprintf(image, sizeof(image), "image=%s", b.image);
		snprintf(name, sizeof(name), "name=%s", s->tag);
		r = images_ask((const char *[]){ "tag", image, name, NULL }, true, NULL, NULL, e);
	}
	if (!r)
		printf("%s\n", b.image);
	image_fini(&b.img);
	strlist_fini(&b.vars);
	strlist_fini(&b.args);
	arena_fini(&a);
	return r;
}

extern const struct command cmd_build;
const struct command cmd_build = {
	.name = "build",
	.args = "CONTEXT",
	.summary = "Make an image from a Containerfile",
	.text = "Knows FROM (one stage), RUN, COPY, ADD (local files), ENV, WORKDIR, ENTRYPOINT, "
		"CMD, "
		"USER, EXPOSE, LABEL, ARG, VOLUME and STOPSIGNAL.",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = 1,
};
