/*
 * The instructions of a Containerfile that make an image out of the one before: RUN runs an instance and commits it, COPY
 * and ADD lay files out as a layer, the others change the configuration.
 *
 * Trust: the Containerfile is the user's; what RUN does happens inside an instance. Threads: none.
 * #syscalls: those of os/spawn.c
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/build_int.h"
#include "cli/images.h"
#include "os/spawn.h"
#include "run/guest_upper.h"
#include "run/registry.h"
#include "wire/containerfile.h"
#include "wire/passwd.h"

void build_take_id(void *arg, struct json_object *o)
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
	return images_ask(words, true, build_take_id, b->image, e);
}

int build_refresh(struct build *b, struct err *e)
{
	image_fini(&b->img);
	return image_resolve(b->image, &b->img, e);
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
	r = guest_upper_show(&s, upper, sizeof(upper), e);
	if (!r)
		r = commit(b, upper, NULL, text, e);
	guest_upper_hide(s.rec.disk ? s.rec.disk : "");
	subject_fini(&s);
	return r;
}

/* Whether a variable is ENV's: it wins over an ARG of the same name. */
static bool is_env(const struct build *b, const char *pair)
{
	size_t n = strcspn(pair, "=") + 1;

	for (size_t i = 0; i < b->img.config.env.n; i++)
		if (strncmp(b->img.config.env.v[i], pair, n) == 0)
			return true;
	return false;
}

/* --mount=type=cache,target=DIR[,id=ID] is a volume that stays; type=tmpfs is memory. */
static int run_mount(const char *value, struct strlist *argv, struct err *e)
{
	char copy[1024], target[512] = "", id[512] = "", mount[1200], digest[DIGEST_SIZE];
	bool cache = false, memory = false;

	snprintf(copy, sizeof(copy), "%s", value);
	for (char *save = NULL, *w = strtok_r(copy, ",", &save); w;
	     w = strtok_r(NULL, ",", &save)) {
		const char *t = str_after(w, "target=");

		t = t ? t : str_after(w, "dst=");
		if (t)
			snprintf(target, sizeof(target), "%s", t);
		else if (str_after(w, "id="))
			snprintf(id, sizeof(id), "%s", str_after(w, "id="));
		cache |= streq(w, "type=cache");
		memory |= streq(w, "type=tmpfs");
	}
	if (!*target || cache == memory)
		return err_set(e, -EOPNOTSUPP,
			       "--mount=%s: expected type=cache or type=tmpfs, and target=DIR; "
			       "others are not known here",
			       value);
	const char *key = *id ? id : target;

	digest_of(key, strlen(key), digest);
	if (memory)
		snprintf(mount, sizeof(mount), "type=tmpfs,dst=%s", target);
	else
		snprintf(mount, sizeof(mount), "type=volume,src=build-cache-%.16s,dst=%s",
			 digest + strlen("sha256:"), target);
	return strlist_add(argv, "--mount") | strlist_add(argv, mount);
}

/* RUN's own options in front of the command. */
static int run_flags(struct build *b, const char **args, struct strlist *argv, struct err *e)
{
	char name[64], value[1024];
	const char *network = b->network;
	int r;

	while ((r = containerfile_flag(args, name, sizeof(name), value, sizeof(value))) == 1) {
		if (streq(name, "mount")) {
			int bad = run_mount(value, argv, e);

			if (bad)
				return bad;
		} else if (streq(name, "network") &&
			   (streq(value, "none") || streq(value, "host"))) {
			network = value[0] == 'n' ? "none" : "host";
		} else if (!(streq(name, "network") && streq(value, "default"))) {
			return err_set(e, -EOPNOTSUPP, "RUN --%s=%s: not known here", name, value);
		}
	}
	return r ? err_set(e, r, "RUN: an option is too long")
		 : strlist_add(argv, "--network") | strlist_add(argv, network);
}

/* The command line in the instance. */
static int run_words(const struct build *b, const char *args, struct strlist *argv)
{
	cleanup_with(strlist_fini) struct strlist list = { 0 };
	int r = containerfile_list(args, &list);

	if (r < 0)
		return r;
	if (r == 1 && list.n) {
		r = 0;
		for (size_t i = 0; !r && i < list.n; i++)
			r = strlist_add(argv, list.v[i]);
		return r;
	}
	/* A here-document and nothing else is a script; behind a command it is the shell's matter. */
	const char *end = strchr(args, '\n'), *last = strrchr(args, '\n');
	bool script = end && args[0] == '<' && args[1] == '<' &&
		      !memchr(args, ' ', (size_t)(end - args));

	for (size_t i = 0; i < b->shell.n; i++)
		if (strlist_add(argv, b->shell.v[i]))
			return -ENOMEM;
	if (!b->shell.n && (strlist_add(argv, "/bin/sh") || strlist_add(argv, "-c")))
		return -ENOMEM;
	if (!script)
		return strlist_add(argv, args);
	cleanup_free char *body = last > end ? strndup(end + 1, (size_t)(last - end - 1))
					     : strdup("");

	return body ? strlist_add(argv, body) : -ENOMEM;
}

static int do_run(struct build *b, const char *args, const char *text, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist argv = { 0 };
	char name[64];
	int r;

	snprintf(name, sizeof(name), "build-%d-%zu", (int)getpid(), b->step);
	r = strlist_add(&argv, "warren") | strlist_add(&argv, "run") |
	    strlist_add(&argv, "--name") | strlist_add(&argv, name) |
	    strlist_add(&argv, "--no-healthcheck") | strlist_add(&argv, "--entrypoint") |
	    strlist_add(&argv, "");
	if (!r && b->isolation)
		r = strlist_add(&argv, "--isolation") | strlist_add(&argv, b->isolation);
	if (!r)
		r = run_flags(b, &args, &argv, e);
	for (size_t i = 0; !r && i < b->args.n; i++)
		if (!is_env(b, b->args.v[i]))
			r = strlist_add(&argv, "-e") | strlist_add(&argv, b->args.v[i]);
	if (!r)
		r = strlist_add(&argv, b->image) | run_words(b, args, &argv);
	if (r)
		return e->code ? r : -ENOMEM;
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
		return build_tree(b, &(struct build_copy){ .to = path, .dir = true }, change, text,
				  commit, e);
	return commit(b, NULL, change, text, e);
}

/* "user[:group]" of --chown as numbers, names looked up in the image. */
static int find_owner(const struct build *b, const char *value, struct build_copy *c, struct err *e)
{
	cleanup_with(buf_fini) struct buf users = BUF_INIT(1u << 20), groups = BUF_INIT(1u << 20);
	size_t n = strcspn(value, ":");
	char user[256];
	struct passwd_entry entry;
	uint64_t id;

	snprintf(user, sizeof(user), "%.*s", (int)n, value);
	if (str_to_u64(user, &id) == 0 && id <= UINT32_MAX) {
		c->uid = c->gid = (uint32_t)id;
	} else if (image_rootfs_read(&b->img.layers, "etc/passwd", &users) == 0 &&
		   passwd_find(buf_str(&users), users.len, user, 0, &entry)) {
		c->uid = entry.uid;
		c->gid = entry.gid;
	} else {
		return err_set(e, -ENOENT, "--chown '%s': no such user in the image", value);
	}
	c->has_owner = true;
	if (!value[n])
		return 0;
	if (str_to_u64(value + n + 1, &id) == 0 && id <= UINT32_MAX)
		c->gid = (uint32_t)id;
	else if (image_rootfs_read(&b->img.layers, "etc/group", &groups) ||
		 !group_find(buf_str(&groups), groups.len, value + n + 1, &c->gid))
		return err_set(e, -ENOENT, "--chown '%s': no such group in the image", value);
	return 0;
}

static int find_stage(struct build *b, const char *value, char image[DIGEST_SIZE], struct err *e)
{
	struct image img;
	uint64_t n;

	for (size_t i = 0; i + 1 < b->stages_n; i++)
		if (strcasecmp(b->stages[i].name, value) == 0 ||
		    (str_to_u64(value, &n) == 0 && n == i)) {
			snprintf(image, DIGEST_SIZE, "%s", b->stages[i].image);
			return 0;
		}
	if (str_to_u64(value, &n) == 0)
		return err_set(e, -EINVAL, "--from=%s: there is no such stage above", value);
	int r = build_image(b, value, b->platform, &img, e);

	if (r)
		return err_wrap(e, "--from=%s", value);
	snprintf(image, DIGEST_SIZE, "%s", img.id);
	image_fini(&img);
	return 0;
}

static int copy_flags(struct build *b, const char *name, const char **args, char from[DIGEST_SIZE],
		      struct build_copy *c, struct err *e)
{
	char flag[64], value[1024], *end;
	int r;

	while ((r = containerfile_flag(args, flag, sizeof(flag), value, sizeof(value))) == 1) {
		int bad = 0;

		if (streq(flag, "from") && *value && streq(name, "COPY")) {
			bad = find_stage(b, value, from, e);
			c->from = from;
		} else if (streq(flag, "chown") && *value) {
			bad = find_owner(b, value, c, e);
		} else if (streq(flag, "chmod")) {
			c->mode = (mode_t)strtoul(value, &end, 8);
			c->has_mode = true;
			if (!*value || *end || c->mode > 07777)
				bad = err_set(e, -EINVAL,
					      "--chmod '%s': expected a number like 755", value);
		} else if (!streq(flag, "link")) {
			bad = err_set(e, -EOPNOTSUPP, "'--%s' is not known here", flag);
		}
		if (bad)
			return bad;
	}
	return r ? err_set(e, r, "%s: an option is too long", name) : 0;
}

static int do_copy(struct build *b, const char *name, const char *args, const char *text,
		   struct err *e)
{
	cleanup_with(strlist_fini) struct strlist w = { 0 };
	struct build_copy c = { .unpack = streq(name, "ADD") };
	char to[PATH_MAX], from[DIGEST_SIZE];
	int r = copy_flags(b, name, &args, from, &c, e);

	if (r)
		return r;
	r = containerfile_list(args, &w);
	if (r == 0)
		r = containerfile_words(args, &w);
	if (r < 0 || w.n < 2)
		return err_set(e, -EINVAL, "'%s': expected SOURCE... DESTINATION", args);
	for (size_t i = 0; i < w.n; i++) {
		if (strstr(w.v[i], "://") || str_after(w.v[i], "git@"))
			return err_set(
				e, -EOPNOTSUPP,
				"'%s': nothing is fetched by a build's host; use RUN with the "
				"image's own wget or curl, and check what comes",
				w.v[i]);
		if (str_after(w.v[i], "<<"))
			return err_set(e, -EOPNOTSUPP, "here-documents are read by RUN alone");
	}
	const char *dst = w.v[w.n - 1];

	if (join(b, dst, to, sizeof(to)))
		return err_set(e, -ENAMETOOLONG, "destination '%.64s...'", dst);
	c.sources = w.v;
	c.n = w.n - 1;
	c.to = to;
	c.dir = str_ends(to, "/") || streq(dst, ".") || w.n > 2;
	return build_tree(b, &c, NULL, text, commit, e);
}

static int do_shell(struct build *b, const char *args, struct err *e)
{
	strlist_fini(&b->shell);
	return containerfile_list(args, &b->shell) == 1 && b->shell.n
		       ? 0
		       : err_set(e, -EINVAL, "'%s': expected a list like [\"/bin/sh\", \"-c\"]",
				 args);
}

int build_instruction(struct build *b, const struct instruction *in, const char *args,
		      const char *text, struct err *e)
{
	cleanup_free char *change = NULL;

	if (streq(in->name, "RUN"))
		return do_run(b, args, text, e);
	if (streq(in->name, "COPY") || streq(in->name, "ADD"))
		return do_copy(b, in->name, args, text, e);
	if (streq(in->name, "ENV") || streq(in->name, "LABEL"))
		return pairs(b, in->name, args, text, e);
	if (streq(in->name, "WORKDIR"))
		return do_workdir(b, args, text, e);
	if (streq(in->name, "SHELL"))
		return do_shell(b, args, e);
	if (streq(in->name, "ONBUILD"))
		return err_set(e, -EOPNOTSUPP, "instructions for later builds are not kept here");
	if (streq(in->name, "EXPOSE") || streq(in->name, "VOLUME")) {
		cleanup_with(strlist_fini) struct strlist w = { 0 };
		int r = containerfile_list(args, &w);

		if (r == 0)
			r = containerfile_words(args, &w);
		return r < 0 ? err_set(e, r, "'%s'", args) : change_each(b, in->name, &w, text, e);
	}
	int r = streq(in->name, "MAINTAINER") ? asprintf(&change, "LABEL maintainer=%s", args)
					      : asprintf(&change, "%s %s", in->name, args);

	return r < 0 ? -ENOMEM : commit(b, NULL, change, text, e);
}
