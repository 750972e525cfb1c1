/*
 * warren image ...: the local images; and docker's short forms images, rmi, tag.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: write
 */
#include <errno.h>
#include <fnmatch.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "cli/table.h"
#include "image/image.h"
#include "run/guest_root.h"
#include "wire/reference.h"
#include "wire/template.h"

#define WORD_MAX (PATH_MAX + 64)

static void put_json(struct json_object **o)
{
	json_object_put(*o);
}

#define cleanup_json __attribute__((cleanup(put_json)))

/* image import */

struct import_settings {
	const char *platform;
	bool quiet;
};

static const struct opt import_opts[] = {
	OPT_STRING(0, "platform", "OS/ARCH[/VARIANT]", struct import_settings, platform,
		   "Which image of a source for several platforms"),
	OPT_BOOL('q', "quiet", struct import_settings, quiet, "No progress"),
	OPT_END,
};

static int run_import(void *settings, int argc, char **argv, struct err *e)
{
	const struct import_settings *s = settings;
	char source[WORD_MAX], name[1100], platform[3][64];
	const char *words[8] = { "import", source };
	size_t n = 2, k;
	int r = images_platform(s->platform, platform, &k, e);

	if (r)
		return r;
	if (snprintf(source, sizeof(source), "source=%s", argv[0]) >= (int)sizeof(source))
		return err_set(e, -ENAMETOOLONG, "'%.64s...'", argv[0]);
	snprintf(name, sizeof(name), "name=%s", argc > 1 ? argv[1] : "");
	if (argc > 1)
		words[n++] = name;
	for (size_t i = 0; i < k; i++)
		words[n++] = platform[i];
	r = images_ask(words, s->quiet, images_print_imported, NULL, e);
	return r ? err_wrap(e, "import") : 0;
}

#define IMPORT                                                                                    \
	.name = "import", .args = "SOURCE [NAME]",                                                \
	.summary = "Take an image layout, an image archive or a root file system's tarball",      \
	.text = "SOURCE is a directory or file; what it holds is found out, or said in front: "   \
		"oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], rootfs:FILE. " \
		"Tarballs may be plain or packed with gzip, zstd, xz or bzip2.",                  \
	.opts = import_opts, .settings_size = sizeof(struct import_settings), .run = run_import,  \
	.min_args = 1, .max_args = 2, .complete_args = COMPLETE_FILE,

static const struct command cmd_image_import = { IMPORT };

extern const struct command cmd_import;
const struct command cmd_import = { IMPORT };

/* image ls, images */

struct list_settings {
	bool quiet, all, no_trunc, digests;
	const char *format;
	struct strlist filters;
};

static const struct opt list_opts[] = {
	OPT_BOOL('a', "all", struct list_settings, all, "Steps of builds too"),
	OPT_LIST('f', "filter", "NAME=VALUE", struct list_settings, filters,
		 "dangling=true|false, reference=PATTERN, label=NAME[=VALUE]"),
	OPT_BOOL('q', "quiet", struct list_settings, quiet, "Only ids"),
	OPT_BOOL(0, "no-trunc", struct list_settings, no_trunc, "Whole ids"),
	OPT_BOOL(0, "digests", struct list_settings, digests, "Show the manifests' digests"),
	OPT_STRING(0, "format", "FORMAT", struct list_settings, format,
		   "table, json or a template like '{{.Repository}}:{{.Tag}}'"),
	OPT_END,
};

struct listing {
	const struct list_settings *s;
	const char *filter; /* a repository, with or without tag */
	struct json_object *rows;
};

static void set(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

/* "a/b:tag" -> both parts; the last colon behind the last slash divides. */
static void split_name(const char *name, char repository[512], char tag[160])
{
	const char *slash = strrchr(name, '/'), *at = strchr(name, '@');
	const char *colon = strrchr(slash ? slash : name, ':');
	size_t n = at ? (size_t)(at - name) : colon ? (size_t)(colon - name) : strlen(name);

	snprintf(repository, 512, "%.*s", (int)MIN(n, (size_t)511), name);
	snprintf(tag, 160, "%.159s", at || !colon ? "<none>" : colon + 1);
}

static bool has_label(struct json_object *o, const char *want)
{
	struct json_object *labels;
	const char *eq = strchr(want, '=');
	cleanup_free char *name = strndup(want, eq ? (size_t)(eq - want) : strlen(want));

	return name && json_object_object_get_ex(o, "labels", &labels) &&
	       json_object_object_get_ex(labels, name, NULL) &&
	       (!eq || streq(images_text(labels, name), eq + 1));
}

/* Whether a row goes through all filters; they were checked before. */
static bool passes(const struct listing *l, struct json_object *o, const char *name,
		   const char *repository)
{
	for (size_t i = 0; i < l->s->filters.n; i++) {
		const char *f = l->s->filters.v[i], *v;
		bool want = false;

		if ((v = str_after(f, "dangling=")) && (str_to_bool(v, &want) || want != !name))
			return false;
		if ((v = str_after(f, "reference=")) &&
		    (!name ||
		     (fnmatch(v, name, FNM_PATHNAME) && fnmatch(v, repository, FNM_PATHNAME))))
			return false;
		if ((v = str_after(f, "label=")) && !has_label(o, v))
			return false;
	}
	return true;
}

static int check_filters(const struct strlist *filters, struct err *e)
{
	static const char *const known[] = { "dangling=", "reference=", "label=" };

	for (size_t i = 0; i < filters->n; i++) {
		bool ok = false;

		for (size_t k = 0; k < ARRAY_SIZE(known); k++)
			ok |= str_after(filters->v[i], known[k]) != NULL;
		if (!ok)
			return err_set(e, -EINVAL,
				       "--filter '%s': expected dangling=, reference= or label=",
				       filters->v[i]);
	}
	return 0;
}

static void add_row(struct listing *l, struct json_object *o, const char *name)
{
	const char *id = images_text(o, "id");
	struct json_object *row = json_object_new_object(), *v;
	char repository[512] = "<none>", tag[160] = "<none>", text[64];

	if (name)
		split_name(name, repository, tag);
	if (json_object_object_get_ex(o, "intermediate", &v) && !l->s->all) {
		json_object_put(row);
		return;
	}
	if (!passes(l, o, name, repository)) {
		json_object_put(row);
		return;
	}
	if (l->filter && strcmp(l->filter, repository) != 0 && (!name || strcmp(l->filter, name))) {
		json_object_put(row);
		return;
	}
	set(row, "Repository", repository);
	set(row, "Tag", tag);
	snprintf(text, sizeof(text), "%.12s", id + (str_after(id, "sha256:") ? 7 : 0));
	set(row, "ID", l->s->no_trunc ? id : text);
	set(row, "Digest", images_text(o, "manifest"));
	int64_t added = json_object_object_get_ex(o, "added", &v) ? json_object_get_int64(v) : 0;
	uint64_t bytes = json_object_object_get_ex(o, "bytes", &v) ? json_object_get_uint64(v) : 0;

	images_age(images_text(o, "created"), added, text, sizeof(text));
	set(row, "CreatedSince", text);
	set(row, "CreatedAt", images_text(o, "created"));
	images_size(bytes, text, sizeof(text));
	set(row, "Size", text);
	json_object_array_add(l->rows, row);
}

static void list_one(void *arg, struct json_object *o)
{
	struct listing *l = arg;
	struct json_object *names;
	size_t n = json_object_object_get_ex(o, "names", &names) ? json_object_array_length(names)
								 : 0;

	for (size_t i = 0; i < n; i++)
		add_row(l, o, json_object_get_string(json_object_array_get_idx(names, i)));
	if (!n)
		add_row(l, o, NULL);
}

static int run_list(void *settings, int argc, char **argv, struct err *e)
{
	static const struct column plain[] = {
		{ "Repository", "REPOSITORY" }, { "Tag", "TAG" },   { "ID", "IMAGE ID" },
		{ "CreatedSince", "CREATED" },	{ "Size", "SIZE" }, { "Digest", "DIGEST" },
		{ "CreatedAt", "CREATED AT" },
	};
	static const struct column digests[] = {
		{ "Repository", "REPOSITORY" }, { "Tag", "TAG" },
		{ "Digest", "DIGEST" },		{ "ID", "IMAGE ID" },
		{ "CreatedSince", "CREATED" },	{ "Size", "SIZE" },
		{ "CreatedAt", "CREATED AT" },
	};
	const struct list_settings *s = settings;
	cleanup_json struct json_object *rows = json_object_new_array();
	struct listing l = { s, argc ? argv[0] : NULL, rows };
	int r = check_filters(&s->filters, e);

	if (!r)
		r = images_ask((const char *[]){ "list", NULL }, false, list_one, &l, e);
	if (r)
		return r;
	if (s->quiet) {
		table_print_member(stdout, "ID", rows);
		return 0;
	}
	return table_print(stdout, s->format, s->digests ? digests : plain, s->digests ? 6 : 5, 7,
			   rows, e);
}

static const struct command cmd_ls = {
	.name = "ls",
	.args = "[REPOSITORY[:TAG]]",
	.summary = "List the images",
	.opts = list_opts,
	.settings_size = sizeof(struct list_settings),
	.run = run_list,
	.max_args = 1,
};

/* image inspect */

struct inspect_settings {
	const char *format;
};

static const struct opt inspect_opts[] = {
	OPT_STRING('f', "format", "FORMAT", struct inspect_settings, format,
		   "json or a template like '{{.Config.Cmd}}'"),
	OPT_END,
};

static void move_member(struct json_object *from, const char *key, struct json_object *to,
			const char *name)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(from, key, &v);
	json_object_object_add(to, name, json_object_get(v));
}

struct naming {
	const char *id;
	struct json_object *o;
};

static void take_names(void *arg, struct json_object *o)
{
	const struct naming *n = arg;
	struct json_object *names, *bytes;

	if (!streq(images_text(o, "id"), n->id))
		return;
	if (json_object_object_get_ex(o, "names", &names))
		json_object_object_add(n->o, "RepoTags", json_object_get(names));
	if (json_object_object_get_ex(o, "bytes", &bytes))
		json_object_object_add(n->o, "Size", json_object_get(bytes));
}

struct json_object *images_describe(const struct image *img)
{
	struct json_object *doc = json_tokener_parse(img->config_json), *rootfs = NULL, *o;
	struct json_object *fs, *layers;

	o = json_object_new_object();
	set(o, "Id", img->id);
	json_object_object_add(o, "RepoTags", json_object_new_array());
	set(o, "Digest", img->manifest);
	move_member(doc, "created", o, "Created");
	move_member(doc, "author", o, "Author");
	move_member(doc, "architecture", o, "Architecture");
	move_member(doc, "os", o, "Os");
	json_object_object_add(o, "Size", json_object_new_int64(0));
	/* All names and the size are in the store's database. */
	images_ask((const char *[]){ "list", NULL }, true, take_names,
		   &(struct naming){ img->id, o }, NULL);
	move_member(doc, "config", o, "Config");
	json_object_object_get_ex(doc, "rootfs", &rootfs);
	fs = json_object_new_object();
	set(fs, "Type", "layers");
	move_member(rootfs, "diff_ids", fs, "Layers");
	json_object_object_add(o, "RootFS", fs);
	layers = json_object_new_array();
	for (size_t i = 0; i < img->layers.n; i++)
		json_object_array_add(layers, json_object_new_string(img->layers.v[i]));
	json_object_object_add(o, "LayerDirs", layers);
	json_object_put(doc);
	return o;
}

static int run_inspect(void *settings, int argc, char **argv, struct err *e)
{
	const struct inspect_settings *s = settings;
	cleanup_json struct json_object *list = json_object_new_array();

	for (int i = 0; i < argc; i++) {
		struct image img;
		int r = image_resolve(argv[i], &img, e);

		if (r)
			return r;
		json_object_array_add(list, images_describe(&img));
		image_fini(&img);
	}
	return table_print_documents(stdout, s->format, list, e);
}

static const struct command cmd_inspect = {
	.name = "inspect",
	.summary = "Show all about images",
	.opts = inspect_opts,
	.settings_size = sizeof(struct inspect_settings),
	.run = run_inspect,
	ARGS_IMAGES,
};

/* image history */

struct history_settings {
	bool quiet, no_trunc;
	const char *format;
};

static const struct opt history_opts[] = {
	OPT_BOOL('q', "quiet", struct history_settings, quiet, "Only ids"),
	OPT_BOOL(0, "no-trunc", struct history_settings, no_trunc, "Whole commands"),
	OPT_STRING(0, "format", "FORMAT", struct history_settings, format,
		   "table, json or a template"),
	OPT_END,
};

static void take_size(void *arg, struct json_object *o)
{
	struct json_object *v;
	char text[32];

	if (!json_object_object_get_ex(o, "layerBytes", &v))
		return;
	images_size(json_object_get_uint64(v), text, sizeof(text));
	strlist_add(arg, text);
}

static int run_history(void *settings, int argc, char **argv, struct err *e)
{
	static const struct column columns[] = {
		{ "ID", "IMAGE" },    { "CreatedSince", "CREATED" }, { "CreatedBy", "CREATED BY" },
		{ "Size", "SIZE" },   { "Comment", "COMMENT" },	     { "CreatedAt", "CREATED AT" },
		{ "Layer", "LAYER" },
	};
	const struct history_settings *s = settings;
	cleanup_json struct json_object *rows = json_object_new_array();
	struct image img;
	int r = image_resolve(argv[0], &img, e);
	size_t layer = 0;

	(void)argc;
	if (r)
		return r;
	const struct image_config *c = &img.config;
	cleanup_with(strlist_fini) struct strlist sizes = { .n = 0 };
	cleanup_free char *word = NULL;

	if (asprintf(&word, "image=%s", img.id) < 0)
		return -ENOMEM;
	r = images_ask((const char *[]){ "layers", word, NULL }, true, take_size, &sizes, e);
	if (r) {
		image_fini(&img);
		return r;
	}

	for (size_t i = 0; i < c->history_n; i++) {
		const struct image_history *h = &c->history[i];
		struct json_object *row = json_object_new_object();
		bool has = !h->empty_layer && layer < c->diff_ids.n;
		char text[80];

		/* As docker says it: what lies below has no image of its own. */
		snprintf(text, sizeof(text), "%.*s", s->no_trunc ? 71 : 12,
			 s->no_trunc ? img.id : img.id + strlen("sha256:"));
		set(row, "ID", i + 1 == c->history_n ? text : "<missing>");
		set(row, "Size", has && layer < sizes.n ? sizes.v[layer] : "0B");
		images_age(h->created, 0, text, sizeof(text));
		set(row, "CreatedSince", h->created ? text : "");
		set(row, "CreatedAt", h->created ? h->created : "");
		if (h->created_by && !s->no_trunc && strlen(h->created_by) > 45)
			snprintf(text, sizeof(text), "%.44s...", h->created_by);
		else
			snprintf(text, sizeof(text), "%s", "");
		set(row, "CreatedBy", *text ? text : h->created_by ? h->created_by : "");
		snprintf(text, sizeof(text), "%.19s", has ? c->diff_ids.v[layer] : "");
		set(row, "Layer", text);
		layer += has;
		set(row, "Comment", h->comment ? h->comment : "");
		json_object_array_put_idx(rows, c->history_n - 1 - i, row);
	}
	image_fini(&img);
	if (s->quiet) {
		table_print_member(stdout, "ID", rows);
		return 0;
	}
	return table_print(stdout, s->format, columns, 5, 7, rows, e);
}

#define HISTORY                                                                      \
	.name = "history", .args = "IMAGE", .summary = "Show how an image was made", \
	.opts = history_opts, .settings_size = sizeof(struct history_settings),      \
	.run = run_history, .min_args = 1, .max_args = 1, .complete_args = COMPLETE_IMAGE

static const struct command cmd_image_history = { HISTORY };

extern const struct command cmd_history;
const struct command cmd_history = { HISTORY };

/* image rm, rmi */

struct remove_settings {
	bool force;
};

static const struct opt remove_opts[] = {
	OPT_BOOL('f', "force", struct remove_settings, force,
		 "Also when it has several names; a missing one is fine"),
	OPT_END,
};

static int run_remove(void *settings, int argc, char **argv, struct err *e)
{
	const struct remove_settings *s = settings;
	int first = 0;

	for (int i = 0; i < argc; i++) {
		struct err one = ERR_INIT;
		char image[1100];

		snprintf(image, sizeof(image), "image=%s", argv[i]);
		int r = images_ask(
			(const char *[]){ "remove", image, s->force ? "force=1" : NULL, NULL },
			true, images_print_removed, NULL, &one);

		if (!r || (r == -ENOENT && s->force))
			continue;
		if (first)
			fprintf(stderr, "Error: %s\n", one.msg);
		else
			*e = one;
		first = first ? first : r;
	}
	guest_roots_collect();
	return first;
}

#define RM                                               \
	.summary = "Remove images", .opts = remove_opts, \
	.settings_size = sizeof(struct remove_settings), .run = run_remove, ARGS_IMAGES

static const struct command cmd_rm = { .name = "rm", RM };

/* image prune */

struct prune_settings {
	bool all, force;
};

static const struct opt prune_opts[] = {
	OPT_BOOL('a', "all", struct prune_settings, all,
		 "All images that no instance uses, not only those without a name"),
	OPT_BOOL('f', "force", struct prune_settings, force, "Accepted; nothing is asked"),
	OPT_END,
};

static int run_prune(void *settings, int argc, char **argv, struct err *e)
{
	const struct prune_settings *s = settings;
	uint64_t freed = 0;
	char text[32];
	int r = images_prune(s->all, &freed, e);

	(void)argc, (void)argv;
	if (r)
		return r;
	freed += guest_roots_collect();
	images_size(freed, text, sizeof(text));
	printf("Total reclaimed space: %s\n", text);
	return 0;
}

static const struct command cmd_prune = {
	.name = "prune",
	.summary = "Remove images without a name, and what nothing refers to",
	.opts = prune_opts,
	.settings_size = sizeof(struct prune_settings),
	.run = run_prune,
};

/* image tag, tag */

static const struct opt no_opts[] = { OPT_END };

static int run_tag(void *settings, int argc, char **argv, struct err *e)
{
	char image[1100], name[1100];

	(void)settings, (void)argc;
	snprintf(image, sizeof(image), "image=%s", argv[0]);
	snprintf(name, sizeof(name), "name=%s", argv[1]);
	return images_ask((const char *[]){ "tag", image, name, NULL }, true, NULL, NULL, e);
}

#define TAG                                                                             \
	.name = "tag", .args = "IMAGE NAME", .summary = "Give an image a further name", \
	.opts = no_opts, .run = run_tag, .min_args = 2, .max_args = 2,                  \
	.complete_args = COMPLETE_IMAGE

static const struct command cmd_image_tag = { TAG };

extern const struct command cmd_tag;
const struct command cmd_tag = { TAG };

extern const struct command cmd_images;
const struct command cmd_images = {
	.name = "images",
	.args = "[REPOSITORY[:TAG]]",
	.summary = "List the images",
	.opts = list_opts,
	.settings_size = sizeof(struct list_settings),
	.run = run_list,
	.max_args = 1,
};

extern const struct command cmd_rmi;
const struct command cmd_rmi = { .name = "rmi", RM };

extern const struct command cmd_image_build_rootfs;

/* clang-format off */
static const struct command *const subs[] = {
	&cmd_image_build_rootfs,
	&cmd_image_history,
	&cmd_image_import,
	&cmd_inspect,
	&cmd_ls,
	&cmd_prune,
	&cmd_rm,
	&cmd_image_tag,
	NULL,
};
/* clang-format on */

extern const struct command cmd_image;
const struct command cmd_image = {
	.name = "image",
	.summary = "Images: import, list, inspect, remove",
	.subs = subs,
};
