/*
 * warren volume: directories that outlive instances.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/volume.c
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "cli/table.h"
#include "run/disk.h"
#include "run/volume.h"

static void put_json(struct json_object **o)
{
	json_object_put(*o);
}

#define cleanup_json __attribute__((cleanup(put_json)))

static void set(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value ? value : ""));
}

/* volume create */

struct create_settings {
	struct strlist labels, options;
	const char *driver, *name;
};

static const struct opt create_opts[] = {
	OPT_STRING('d', "driver", "DRIVER", struct create_settings, driver,
		   "local, the only one there is", .choices = "local"),
	OPT_LIST('l', "label", "NAME=VALUE", struct create_settings, labels, "Label the volume"),
	OPT_STRING(0, "name", "NAME", struct create_settings, name, "As the argument"),
	OPT_END,
};

static int run_create(void *settings, int argc, char **argv, struct err *e)
{
	const struct create_settings *s = settings;
	const char *name = argc ? argv[0] : s->name;
	cleanup_free char *made = NULL;
	int r = volume_create(name, &s->labels, !name, &made, e);

	if (!r)
		printf("%s\n", made);
	return r;
}

static const struct command cmd_create = {
	.name = "create",
	.args = "[NAME]",
	.summary = "Make a volume",
	.opts = create_opts,
	.settings_size = sizeof(struct create_settings),
	.run = run_create,
	.max_args = 1,
};

/* volume ls */

struct list_settings {
	bool quiet;
	const char *format;
	struct strlist filters;
};

static const struct opt list_opts[] = {
	OPT_LIST('f', "filter", "NAME=VALUE", struct list_settings, filters,
		 "dangling=true|false, driver, label, name"),
	OPT_STRING(0, "format", "FORMAT", struct list_settings, format,
		   "table, json or a template"),
	OPT_BOOL('q', "quiet", struct list_settings, quiet, "Only names"),
	OPT_END,
};

static bool has_label(const struct volume *v, const char *want)
{
	size_t n = strlen(want);

	for (size_t i = 0; i < v->labels.n; i++) {
		const char *l = v->labels.v[i];

		if (streq(l, want) ||
		    (!strchr(want, '=') && strncmp(l, want, n) == 0 && l[n] == '='))
			return true;
	}
	return false;
}

/* 1: shown, 0: not, -EINVAL. */
static int matches(const struct strlist *filters, const struct volume *v, struct err *e)
{
	for (size_t i = 0; i < filters->n; i++) {
		const char *f = filters->v[i], *x;
		bool want, ok;

		if ((x = str_after(f, "dangling="))) {
			if (str_to_bool(x, &want))
				return err_set(e, -EINVAL, "--filter '%s': true or false", f);
			ok = want == !v->used;
		} else if ((x = str_after(f, "driver="))) {
			ok = streq(x, "local");
		} else if ((x = str_after(f, "label="))) {
			ok = has_label(v, x);
		} else if ((x = str_after(f, "name="))) {
			ok = strstr(v->name, x);
		} else {
			return err_set(e, -EINVAL,
				       "--filter '%s': expected dangling=, driver=, label= or "
				       "name=",
				       f);
		}
		if (!ok)
			return 0;
	}
	return 1;
}

/* With docker's names. */
static struct json_object *describe(const struct volume *v, bool row)
{
	struct json_object *o = json_object_new_object(), *labels = json_object_new_object();
	struct json_object *options = json_object_new_object();
	cleanup_with(buf_fini) struct buf joined = BUF_INIT(64u << 10);

	for (size_t i = 0; i < v->labels.n; i++) {
		const char *l = v->labels.v[i], *eq = strchr(l, '=');
		cleanup_free char *key = eq ? strndup(l, (size_t)(eq - l)) : strdup(l);

		if (key)
			set(labels, key, eq ? eq + 1 : "");
		buf_addf(&joined, "%s%s", i ? "," : "", l);
	}
	set(o, "Name", v->name);
	set(o, "Driver", "local");
	set(o, "Mountpoint", v->mountpoint);
	set(o, "CreatedAt", v->created);
	set(o, "Scope", "local");
	if (row) {
		set(o, "Labels", buf_str(&joined));
		set(o, "Links", v->used ? "1" : "0");
		json_object_put(labels);
		json_object_put(options);
		return o;
	}
	json_object_object_add(o, "Labels", labels);
	json_object_object_add(o, "Options", options);
	json_object_object_add(o, "Anonymous", json_object_new_boolean(v->anonymous));
	json_object_object_add(o, "InUse", json_object_new_boolean(v->used));
	return o;
}

static int run_list(void *settings, int argc, char **argv, struct err *e)
{
	static const struct column columns[] = {
		{ "Driver", "DRIVER" },	       { "Name", "VOLUME NAME" },      { "Scope", "SCOPE" },
		{ "Labels", "LABELS" },	       { "Mountpoint", "MOUNTPOINT" }, { "Links", "LINKS" },
		{ "CreatedAt", "CREATED AT" },
	};
	const struct list_settings *s = settings;
	cleanup_with(strlist_fini) struct strlist names = { .n = 0 };
	cleanup_json struct json_object *rows = json_object_new_array();
	int r = volume_list(&names, e);

	(void)argc, (void)argv;
	for (size_t i = 0; !r && i < names.n; i++) {
		cleanup_with(volume_fini) struct volume v = { .name = NULL };

		/* Gone meanwhile, or none at all. */
		if (volume_load(names.v[i], &v, NULL))
			continue;
		int shown = matches(&s->filters, &v, e);

		if (shown < 0)
			r = shown;
		if (shown == 1)
			json_object_array_add(rows, describe(&v, true));
	}
	if (r)
		return r;
	if (s->quiet) {
		table_print_member(stdout, "Name", rows);
		return 0;
	}
	return table_print(stdout, s->format, columns, 2, ARRAY_SIZE(columns), rows, e);
}

static const struct command cmd_ls = {
	.name = "ls",
	.summary = "List the volumes",
	.opts = list_opts,
	.settings_size = sizeof(struct list_settings),
	.run = run_list,
};

/* volume inspect */

struct inspect_settings {
	const char *format;
};

static const struct opt inspect_opts[] = {
	OPT_STRING('f', "format", "FORMAT", struct inspect_settings, format,
		   "json or a template like '{{.Mountpoint}}'"),
	OPT_END,
};

static int run_inspect(void *settings, int argc, char **argv, struct err *e)
{
	const struct inspect_settings *s = settings;
	cleanup_json struct json_object *list = json_object_new_array();

	for (int i = 0; i < argc; i++) {
		cleanup_with(volume_fini) struct volume v = { .name = NULL };
		int r = volume_load(argv[i], &v, e);

		if (r)
			return r;
		json_object_array_add(list, describe(&v, false));
	}
	return table_print_documents(stdout, s->format, list, e);
}

static const struct command cmd_inspect = {
	.name = "inspect",
	.args = "VOLUME...",
	.summary = "Show all about volumes",
	.opts = inspect_opts,
	.settings_size = sizeof(struct inspect_settings),
	.run = run_inspect,
	.min_args = 1,
	.max_args = -1,
};

/* volume rm */

struct remove_settings {
	bool force;
};

static const struct opt remove_opts[] = {
	OPT_BOOL('f', "force", struct remove_settings, force, "A missing one is fine"),
	OPT_END,
};

static int run_remove(void *settings, int argc, char **argv, struct err *e)
{
	const struct remove_settings *s = settings;
	int status = 0;

	(void)e;
	for (int i = 0; i < argc; i++) {
		struct err one = ERR_INIT;
		int r = volume_remove(argv[i], &one);

		if (!r) {
			printf("%s\n", argv[i]);
		} else if (r != -ENOENT || !s->force) {
			cli_complain(&one);
			status = EXIT_WARREN;
		}
	}
	return status;
}

static const struct command cmd_rm = {
	.name = "rm",
	.args = "VOLUME...",
	.summary = "Remove volumes that no instance uses",
	.opts = remove_opts,
	.settings_size = sizeof(struct remove_settings),
	.run = run_remove,
	.min_args = 1,
	.max_args = -1,
};

/* volume prune */

struct prune_settings {
	bool all, force;
	struct strlist filters;
};

static const struct opt prune_opts[] = {
	OPT_BOOL('a', "all", struct prune_settings, all, "Named ones too, not only anonymous ones"),
	OPT_LIST(0, "filter", "NAME=VALUE", struct prune_settings, filters, "label, name"),
	OPT_BOOL('f', "force", struct prune_settings, force, "Accepted; nothing is asked"),
	OPT_END,
};

int volumes_prune(bool all, const struct strlist *filters, uint64_t *freed, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist names = { .n = 0 };
	int r = volume_list(&names, e);

	for (size_t i = 0; !r && i < names.n; i++) {
		cleanup_with(volume_fini) struct volume v = { .name = NULL };
		struct err one = ERR_INIT;

		if (volume_load(names.v[i], &v, NULL) || v.used || (!v.anonymous && !all))
			continue;
		int wanted = matches(filters, &v, e);

		if (wanted < 0)
			return wanted;
		uint64_t bytes = disk_bytes(v.mountpoint);

		if (!wanted)
			continue;
		if (volume_remove(v.name, &one)) {
			cli_complain(&one);
			continue;
		}
		printf("Deleted: %s\n", v.name);
		*freed += bytes;
	}
	return r;
}

static int run_prune(void *settings, int argc, char **argv, struct err *e)
{
	const struct prune_settings *s = settings;
	uint64_t freed = 0;
	char text[32];
	int r = volumes_prune(s->all, &s->filters, &freed, e);

	(void)argc, (void)argv;
	if (r)
		return r;
	images_size(freed, text, sizeof(text));
	printf("Total reclaimed space: %s\n", text);
	return 0;
}

static const struct command cmd_prune = {
	.name = "prune",
	.summary = "Remove anonymous volumes that no instance uses",
	.opts = prune_opts,
	.settings_size = sizeof(struct prune_settings),
	.run = run_prune,
};

static const struct command *const subs[] = {
	&cmd_create, &cmd_inspect, &cmd_ls, &cmd_prune, &cmd_rm, NULL,
};

extern const struct command cmd_volume;
const struct command cmd_volume = {
	.name = "volume",
	.summary = "Volumes: make, list, inspect, remove",
	.subs = subs,
};
