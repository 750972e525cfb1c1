/*
 * warren build: an image from a Containerfile.
 *
 * Each instruction makes an image out of the one before (build_steps.c); a FROM begins a stage, from whose image later
 * ones may copy.
 * What an instruction made is remembered under a key of its parent, its text and the content of its files
 * (<data>/cache/HEX), so that the same step is not done twice.
 *
 * Trust: the Containerfile and context are the user's; sources outside the context are refused; what RUN does happens
 * inside an instance. Threads: none. #syscalls: those of os/spawn.c; openat mkdir read write
 */
#include <errno.h>
#include <fcntl.h>
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
#include "base/util.h"
#include "cli/build_int.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "image/image.h"
#include "os/file.h"
#include "os/spawn.h"
#include "os/tree.h"
#include "run/registry.h"
#include "wire/containerfile.h"
#include "wire/reference.h"

struct settings {
	const char *file, *isolation, *network, *target, *platform;
	struct strlist args, tags, labels;
	bool no_cache, quiet, pull;
};

static const struct opt opts[] = {
	OPT_STRING(
		'f', "file", "FILE", struct settings, file,
		"The Containerfile (default: Containerfile or Dockerfile in CONTEXT), -: standard "
		"input",
		.complete = COMPLETE_FILE),
	OPT_LIST('t', "tag", "NAME", struct settings, tags, "Name of the image; several are fine"),
	OPT_STRING(0, "target", "STAGE", struct settings, target, "Stop when this stage is made"),
	OPT_LIST(0, "label", "NAME=VALUE", struct settings, labels, "Label the image"),
	OPT_STRING(0, "platform", "OS/ARCH", struct settings, platform, "Platform of base images"),
	OPT_BOOL(0, "pull", struct settings, pull, "Pull base images also when they are here"),
	OPT_LIST(0, "build-arg", "NAME=VALUE", struct settings, args, "A value for ARG"),
	OPT_STRING(0, "isolation", "WALL", struct settings, isolation,
		   "The wall for RUN; behind pv it has only loopback"),
	OPT_STRING(0, "network", "host|none|private", struct settings, network,
		   "Network for RUN (host)"),
	OPT_BOOL(0, "no-cache", struct settings, no_cache, "Do every step anew"),
	OPT_BOOL('q', "quiet", struct settings, quiet, "Only the id"),
	OPT_END,
};

/* Base images */

#define SCRATCH "warren-build/scratch"

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
	      : images_ask((const char *[]){ "import", source, "name=" SCRATCH, NULL }, true, NULL,
			   NULL, e);
	unlink(path);
	snprintf(b->image, sizeof(b->image), SCRATCH);
	return r ? r : build_refresh(b, e);
}

int build_image(const struct build *b, const char *name, const char *platform, struct image *img,
		struct err *e)
{
	int r = b->pull ? images_pull(name, platform, e) : image_resolve(name, img, e);

	if (!b->pull && r != -ENOENT)
		return r;
	if (!b->pull) {
		err_clear(e);
		r = images_pull(name, platform, e);
	}
	return r ? r : image_resolve(name, img, e);
}

/* What a stage ends with is what later ones may copy from. */
static void end_stage(struct build *b)
{
	if (b->stages_n)
		snprintf(b->stages[b->stages_n - 1].image, DIGEST_SIZE, "%s", b->image);
}

static int begin_stage(struct build *b, const char *name, struct err *e)
{
	end_stage(b);

	struct build_stage *v = reallocarray(b->stages, b->stages_n + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	b->stages = v;
	v += b->stages_n++;
	*v = (struct build_stage){ .name = "" };
	if (snprintf(v->name, sizeof(v->name), "%s", name) >= (int)sizeof(v->name))
		return err_set(e, -ENAMETOOLONG, "stage '%.40s...'", name);
	strlist_fini(&b->vars);
	strlist_fini(&b->args);
	strlist_fini(&b->shell);
	return 0;
}

static int set_base(struct build *b, const char *name, const char *platform, struct err *e)
{
	for (size_t i = 0; i + 1 < b->stages_n; i++)
		if (*b->stages[i].name && strcasecmp(b->stages[i].name, name) == 0)
			return image_resolve(b->stages[i].image, &b->img, e);
	if (!streq(name, "scratch"))
		return build_image(b, name, platform, &b->img, e);
	/* One for all builds: the cache goes by its id. */
	return image_resolve(SCRATCH, &b->img, NULL) ? make_scratch(b, e) : 0;
}

/* Variables and directory as the current image has them. */
static int take_config(struct build *b)
{
	const char *dir = b->img.config.working_dir;
	int r = 0;

	for (size_t i = 0; !r && i < b->img.config.env.n; i++)
		r = strlist_add(&b->vars, b->img.config.env.v[i]);
	snprintf(b->workdir, sizeof(b->workdir), "%s", dir && *dir ? dir : "/");
	return r;
}

static int do_from(struct build *b, const char *args, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist w = { 0 };
	char flag[64], value[256] = "";
	int r;

	while ((r = containerfile_flag(&args, flag, sizeof(flag), value, sizeof(value))) == 1)
		if (!streq(flag, "platform"))
			return err_set(e, -EOPNOTSUPP, "'--%s' is not known here", flag);
	r = r ? r : containerfile_words(args, &w);
	if (r || (w.n != 1 && !(w.n == 3 && strcasecmp(w.v[1], "AS") == 0)))
		return err_set(e, -EINVAL, "'%s': expected IMAGE [AS NAME]", args);
	r = begin_stage(b, w.n == 3 ? w.v[2] : "", e);
	if (r)
		return r;
	b->started = true;
	image_fini(&b->img);
	r = set_base(b, w.v[0], *value ? value : b->platform, e);
	if (r)
		return r;
	snprintf(b->image, sizeof(b->image), "%s", b->img.id);
	return take_config(b);
}

/* The last "NAME=..." of a list, NULL: none. */
static const char *pair_of(const struct strlist *l, const char *name, size_t n)
{
	for (size_t i = l->n; i-- > 0;)
		if (strncmp(l->v[i], name, n) == 0 && l->v[i][n] == '=')
			return l->v[i];
	return NULL;
}

/* What every build knows. */
static const char *const predefined[] = {
	"TARGETPLATFORM=linux/amd64", "TARGETOS=linux", "TARGETARCH=amd64",
	"BUILDPLATFORM=linux/amd64",  "BUILDOS=linux",	"BUILDARCH=amd64",
};

static int one_arg(struct build *b, const char *arg, struct err *e)
{
	size_t n = strcspn(arg, "=");
	cleanup_free char *name = strndup(arg, n);
	const char *value = pair_of(b->given, arg, n);

	if (!name)
		return -ENOMEM;
	if (!n || strpbrk(name, " \t$"))
		return err_set(e, -EINVAL, "'%s': expected NAME[=VALUE]", arg);
	if (value && strlist_add(&b->used, name))
		return -ENOMEM;
	if (!value && !arg[n] && b->started) {
		value = pair_of(&b->globals, arg, n);
		for (size_t i = 0; !value && i < ARRAY_SIZE(predefined); i++)
			if (strncmp(predefined[i], arg, n) == 0 && predefined[i][n] == '=')
				value = predefined[i];
	}
	value = value ? value : arg[n] ? arg : NULL;
	if (!value)
		return 0;
	if (!b->started && strlist_add(&b->globals, value))
		return -ENOMEM;
	return strlist_add(&b->vars, value) | (b->started ? strlist_add(&b->args, value) : 0)
		       ? -ENOMEM
		       : 0;
}

static int do_arg(struct build *b, const char *args, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist w = { 0 };
	int r = containerfile_words(args, &w);

	if (r)
		return err_set(e, r, "'%s': expected NAME[=VALUE]...", args);
	for (size_t i = 0; !r && i < w.n; i++)
		r = one_arg(b, w.v[i], e);
	return r;
}

static bool is_cached(struct build *b, const struct instruction *in, const char *text,
		      char key[DIGEST_SIZE])
{
	cleanup_with(buf_fini) struct buf shell = BUF_INIT(64u << 10);

	for (size_t i = 0; streq(in->name, "RUN") && i < b->shell.n; i++)
		buf_addf(&shell, "%s\n", b->shell.v[i]);
	return build_cached(b, text, buf_str(&shell), key);
}

static int one_step(struct build *b, const struct instruction *in, size_t of, struct err *e)
{
	bool raw = streq(in->name, "RUN") || streq(in->name, "CMD") ||
		   streq(in->name, "ENTRYPOINT") || streq(in->name, "HEALTHCHECK"),
	     from = streq(in->name, "FROM"), arg = streq(in->name, "ARG");
	/* Commands' variables are the shell's to put in, and RUN's ARGs are in the key by themselves. */
	cleanup_free char *args = raw ? strdup(in->args)
				      : containerfile_expand(in->args,
							     from ? &b->globals : &b->vars);
	cleanup_free char *text = NULL;
	char key[DIGEST_SIZE] = "";
	int r;

	if (!args || asprintf(&text, "%s %s", in->name, args) < 0)
		return -ENOMEM;
	b->step++;
	if (!b->quiet)
		fprintf(stderr, "STEP %zu/%zu: %.*s%s\n", b->step, of, (int)strcspn(text, "\n"),
			text, strchr(text, '\n') ? " ..." : "");
	if (from)
		return do_from(b, args, e);
	if (arg)
		return do_arg(b, args, e);
	if (!b->started)
		return err_set(e, -EINVAL, "no FROM before it");
	/* Files' contents are part of the key: build_tree() asks the cache itself. */
	bool files = streq(in->name, "COPY") || streq(in->name, "ADD");
	bool known = !files && !streq(in->name, "SHELL") && is_cached(b, in, text, key);

	if (known && !b->quiet)
		fprintf(stderr, "--> Using cache\n");
	r = known ? 0 : build_instruction(b, in, args, text, e);
	if (!r && *key && !known)
		build_remember(b, key);
	if (!r)
		r = build_refresh(b, e);
	return r ? r : take_config(b);
}

static int read_file(const struct settings *s, const char *context, struct buf *out, char *path,
		     size_t size, struct err *e)
{
	static const char *const usual[] = { "Containerfile", "Dockerfile" };
	int r = -ENOENT;

	snprintf(path, size, "%s", s->file ? s->file : "");
	if (s->file && streq(s->file, "-"))
		r = read_all(STDIN_FILENO, out);
	else if (s->file)
		r = file_read(AT_FDCWD, path, out);
	for (size_t i = 0; !s->file && r == -ENOENT && i < 2; i++) {
		r = snprintf(path, size, "%s/%s", context, usual[i]) < (int)size
			    ? file_read(AT_FDCWD, path, out)
			    : -ENAMETOOLONG;
	}
	if (r == -ENOENT && !s->file)
		return err_set(e, r,
			       "context '%s': neither Containerfile nor Dockerfile is in it. Fix: "
			       "name one with --file",
			       context);
	return r ? err_sys(e, r, "'%s'", path) : 0;
}

/* FILE.dockerignore, or the context's .containerignore or .dockerignore. */
static int read_ignored(struct build *b, const char *file, struct err *e)
{
	const char *const names[] = { ".containerignore", ".dockerignore" };
	cleanup_with(buf_fini) struct buf text = BUF_INIT(1u << 20);
	char path[PATH_MAX + 32];
	int r;

	snprintf(path, sizeof(path), "%s.dockerignore", file);
	r = file_read(AT_FDCWD, path, &text);
	for (size_t i = 0; r == -ENOENT && i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", b->context, names[i]);
		r = file_read(AT_FDCWD, path, &text);
	}
	if (r)
		return r == -ENOENT ? 0 : err_sys(e, r, "'%s'", path);
	return build_ignore_parse(buf_str(&text), &b->ignored);
}

/* Whether the stage that the FROM at `i` begins is one too many for --target. */
static bool is_behind_target(const struct build *b, const char *target)
{
	const struct build_stage *last = b->stages_n ? &b->stages[b->stages_n - 1] : NULL;
	uint64_t n;

	return target && last &&
	       ((*last->name && strcasecmp(last->name, target) == 0) ||
		(str_to_u64(target, &n) == 0 && n == b->stages_n - 1));
}

static int finish(struct build *b, const struct settings *s, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && i < s->labels.n; i++) {
		char image[128];
		cleanup_free char *change = NULL;

		snprintf(image, sizeof(image), "image=%s", b->image);
		if (asprintf(&change, "change=LABEL %s", s->labels.v[i]) < 0)
			return -ENOMEM;
		r = images_ask(
			(const char *[]){ "commit", image, change, "created_by=--label", NULL },
			true, build_take_id, b->image, e);
	}
	for (size_t i = 0; !r && i < s->tags.n; i++) {
		char image[128], name[1100];

		snprintf(image, sizeof(image), "image=%s", b->image);
		snprintf(name, sizeof(name), "name=%s", s->tags.v[i]);
		r = images_ask((const char *[]){ "tag", image, name, NULL }, true, NULL, NULL, e);
	}
	for (size_t i = 0; !r && !b->quiet && i < s->args.n; i++) {
		char name[128];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(s->args.v[i], "="), s->args.v[i]);
		if (!strlist_has(&b->used, name))
			fprintf(stderr, "Warning: --build-arg %s: no ARG takes it\n", name);
	}
	return r;
}

static void build_fini(struct build *b)
{
	image_fini(&b->img);
	free(b->stages);
	struct strlist *const lists[] = { &b->globals, &b->vars,  &b->args,
					  &b->used,    &b->shell, &b->ignored };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		strlist_fini(lists[i]);
}

/* RUN fetches things: a container has the host's network, a vm's own reaches out. A pv guest has only loopback. */
static const char *default_network(const struct settings *s)
{
	if (s->network)
		return s->network;
	return s->isolation && !streq(s->isolation, "container") ? "private" : "host";
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *s = settings;
	cleanup_with(buf_fini) struct buf text = BUF_INIT(2u << 20);
	cleanup_with(arena_fini) struct arena a = ARENA_INIT(32u << 20);
	cleanup_with(build_fini) struct build b = { .given = &s->args,
						    .no_cache = s->no_cache,
						    .quiet = s->quiet,
						    .pull = s->pull,
						    .platform = s->platform,
						    .network = default_network(s),
						    .isolation = s->isolation };
	struct instruction *steps = NULL;
	char path[PATH_MAX], empty[] = "/tmp/warren-context-XXXXXX";
	bool done = false;
	size_t n = 0;
	int r = 0;

	/* "-": a Containerfile alone, on standard input; its context is an empty directory. */
	bool alone = argc && streq(argv[0], "-");
	const struct settings from_stdin = { .file = "-" };

	if (alone && !mkdtemp(empty))
		return err_sys(e, -errno, "'%s'", empty);
	const char *context = alone ? empty : argc ? argv[0] : ".";
	struct reference tag;

	for (size_t i = 0; i < s->tags.n; i++)
		if (reference_parse(s->tags.v[i], &tag, e))
			return err_wrap(e, "--tag");
	if (!realpath(context, b.context))
		return err_sys(e, -errno, "context '%s'", context);
	if (alone)
		rmdir(empty);
	r = read_file(alone ? &from_stdin : s, b.context, &text, path, sizeof(path), e);
	if (!r)
		r = read_ignored(&b, path, e);
	if (!r)
		r = containerfile_parse(buf_str(&text), text.len, path, &a, &steps, &n, e);
	for (size_t i = 0; !r && !done && i < n; i++) {
		done = streq(steps[i].name, "FROM") && is_behind_target(&b, s->target);
		if (done)
			break;
		r = one_step(&b, &steps[i], n, e);
		if (r)
			err_wrap(e, "%s:%zu: %s", path, steps[i].line, steps[i].name);
	}
	if (!r && !b.started)
		r = err_set(e, -EINVAL, "%s: no FROM", path);
	if (!r && s->target && !done && !is_behind_target(&b, s->target))
		r = err_set(e, -EINVAL, "%s: no stage '%s'", path, s->target);
	if (!r)
		r = finish(&b, s, e);
	if (!r)
		printf("%s\n", b.image);
	return r;
}

extern const struct command cmd_build;
const struct command cmd_build = {
	.name = "build",
	.args = "[CONTEXT|-]",
	.summary = "Make an image from a Containerfile",
	.text = "Knows FROM, also several times, ARG, RUN, COPY, ADD (local files), ENV, WORKDIR, "
		"ENTRYPOINT, CMD, SHELL, USER, EXPOSE, LABEL, VOLUME, HEALTHCHECK and STOPSIGNAL.",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.max_args = 1,
};
