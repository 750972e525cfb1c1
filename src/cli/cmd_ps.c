/*
 * warren ps: the instances of this user.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/registry.c
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/ps_filter.h"
#include "cli/table.h"
#include "run/describe.h"

struct settings {
	bool all, quiet, no_trunc, latest, size;
	int64_t last;
	const char *format;
	struct strlist filters;
};

#define T struct settings

static const struct opt opts[] = {
	OPT_BOOL('a', "all", T, all, "Show those that have ended too"),
	OPT_LIST('f', "filter", "NAME=VALUE", T, filters,
		 "id, name, label, status, health, exited, ancestor, before, since, network, "
		 "volume, isolation"),
	OPT_STRING(0, "format", "table|json|TEMPLATE", T, format, "How to print"),
	OPT_INT('n', "last", "NUMBER", T, last, "Show the last ones created"),
	OPT_BOOL('l', "latest", T, latest, "Show the last one created"),
	OPT_BOOL(0, "no-trunc", T, no_trunc, "Do not shorten"),
	OPT_BOOL('q', "quiet", T, quiet, "Only ids"),
	OPT_BOOL('s', "size", T, size, "Accepted; sizes are not counted"),
	OPT_END,
};

static const struct column columns[] = {
	{ "ID", "CONTAINER ID" },
	{ "Image", "IMAGE" },
	{ "Command", "COMMAND" },
	{ "RunningFor", "CREATED" },
	{ "Status", "STATUS" },
	{ "Ports", "PORTS" },
	{ "Names", "NAMES" },
	{ "Isolation", "ISOLATION" },
	{ "CreatedAt", "CREATED AT" },
	{ "State", "STATE" },
	{ "Labels", "LABELS" },
	{ "Mounts", "MOUNTS" },
	{ "Networks", "NETWORKS" },
	{ "Size", "SIZE" },
	{ "LocalVolumes", "LOCAL VOLUMES" },
};

enum { SHOWN = 8 };

/* Newest first. */
static int by_creation(const void *a, const void *b)
{
	const struct subject *const *x = a, *const *y = b;
	const char *s = (*x)->in.created, *t = (*y)->in.created;

	return strcmp(t ? t : "", s ? s : "");
}

struct found {
	struct subject **v;
	size_t n;
};

static void found_free(struct found *f)
{
	for (size_t i = 0; i < f->n; i++) {
		subject_fini(f->v[i]);
		free(f->v[i]);
	}
	free(f->v);
}

/* Opens them all; one that goes away meanwhile is left out. What a killed keeper left is tidied. */
static int open_all(const char *root, struct found *f, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	int r = instance_list(root, &ids, e);

	if (r)
		return r;
	f->v = calloc(ids.n + 1, sizeof(*f->v));
	for (size_t i = 0; f->v && i < ids.n; i++) {
		struct subject *s = calloc(1, sizeof(*s));
		struct err one = ERR_INIT;

		if (!s)
			return -ENOMEM;
		r = subject_open_id(s, root, ids.v[i], false, &one);
		if (r) {
			free(s);
			if (r != -ENOENT)
				cli_complain(&one);
			continue;
		}
		f->v[f->n++] = s;
	}
	if (!f->v)
		return -ENOMEM;
	qsort(f->v, f->n, sizeof(*f->v), by_creation);
	return 0;
}

static bool is_shown(struct subject *s, const struct settings *set, const struct ps_filter *filter)
{
	enum subject_status st = subject_status(s);
	bool up = st == SUBJECT_RUNNING || st == SUBJECT_PAUSED || st == SUBJECT_RESTARTING;

	if (!up && !set->all && !set->latest && !set->last && !filter->wants_all)
		return false;
	return ps_filter_match(filter, s);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;
	cleanup_with(found_free) struct found found = { 0 };
	cleanup_free char *root = NULL;
	struct ps_filter filter = { 0 };
	size_t most = set->latest ? 1 : set->last > 0 ? (size_t)set->last : SIZE_MAX;
	int r = registry_root(&root, e);

	(void)argc, (void)argv;
	if (!r)
		r = ps_filter_parse(&filter, &set->filters, root, e);
	if (!r)
		r = open_all(root, &found, e);
	if (r)
		return r;
	json_object *rows = json_object_new_array();

	for (size_t i = 0, n = 0; i < found.n && n < most; i++) {
		if (!is_shown(found.v[i], set, &filter))
			continue;
		json_object_array_add(rows, describe_row(found.v[i], set->no_trunc));
		n++;
	}
	if (set->quiet)
		table_print_member(stdout, "ID", rows);
	else
		r = table_print(stdout, set->format, columns, SHOWN, ARRAY_SIZE(columns), rows, e);
	json_object_put(rows);
	return r;
}

#define PS                                                                                   \
	.summary = "List instances", .opts = opts, .settings_size = sizeof(struct settings), \
	.run = run

extern const struct command cmd_ps, cmd_container_ls;
const struct command cmd_ps = { .name = "ps", PS };
const struct command cmd_container_ls = { .name = "ls", PS };
