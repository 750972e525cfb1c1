/*
 * warren stats: what instances use, once or as a table that renews itself.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/usage.c, nanosleep
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/live.h"
#include "cli/table.h"
#include "run/guest.h"
#include "run/registry.h"
#include "run/usage.h"

static const struct opt opts[] = {
	OPT_BOOL('a', "all", struct stats_settings, all, "Show those that do not run too"),
	OPT_STRING(0, "format", "table|json|TEMPLATE", struct stats_settings, format,
		   "How to print"),
	OPT_BOOL(0, "no-stream", struct stats_settings, once, "Print once"),
	OPT_BOOL(0, "hypervisor", struct stats_settings, hypervisor,
		 "Counters of a guest's hypervisor instead: traps, hypercalls, exits"),
	OPT_BOOL(0, "no-trunc", struct stats_settings, no_trunc, "Do not shorten"),
	OPT_END,
};

static const struct column columns[] = {
	{ "ID", "CONTAINER ID" },     { "Name", "NAME" },
	{ "CPUPerc", "CPU %" },	      { "MemUsage", "MEM USAGE / LIMIT" },
	{ "MemPerc", "MEM %" },	      { "NetIO", "NET I/O" },
	{ "BlockIO", "BLOCK I/O" },   { "PIDs", "PIDS" },
	{ "Container", "CONTAINER" },
};

enum { SHOWN = 8, READINGS_MAX = 4096 };

struct reading {
	char id[65];
	struct usage u;
	bool seen;
};

struct live {
	const struct stats_settings *set;
	const char *root;
	char *const *words;
	int n;
	struct reading *v; /* the last reading of each */
	size_t v_n;
	FILE *out;
};

static struct reading *reading_of(struct live *l, const char *id)
{
	for (size_t i = 0; i < l->v_n; i++)
		if (streq(l->v[i].id, id))
			return &l->v[i];
	if (l->v_n == READINGS_MAX)
		return NULL;
	struct reading *r = &l->v[l->v_n++];

	*r = (struct reading){ .seen = false };
	snprintf(r->id, sizeof(r->id), "%s", id);
	return r;
}

/* Reads one; adds its row unless `rows` is NULL. */
static void take(struct live *l, struct subject *s, json_object *rows)
{
	struct reading *r = reading_of(l, s->in.id);
	struct err e = ERR_INIT;
	struct usage now;
	json_object *row;

	if (subject_alive(s) && r && !usage_read(s, &now, &e)) {
		row = rows ? usage_row(s, r->seen ? &r->u : &now, &now, l->set->no_trunc) : NULL;
		r->u = now;
		r->seen = true;
	} else {
		row = rows ? usage_row_none(s, l->set->no_trunc) : NULL;
	}
	if (row)
		json_object_array_add(rows, row);
}

static int take_all(struct live *l, json_object *rows, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	int r = 0;

	for (int i = 0; !r && i < l->n; i++)
		r = strlist_add(&ids, l->words[i]);
	if (!r && !l->n)
		r = instance_list(l->root, &ids, e);
	for (size_t i = 0; !r && i < ids.n; i++) {
		struct subject s;

		r = subject_open(&s, l->root, ids.v[i], false, e);
		if (r == -ENOENT && !l->n) {
			err_clear(e);
			r = 0;
			continue;
		}
		if (r)
			break;
		if (l->n || l->set->all || subject_alive(&s))
			take(l, &s, rows);
		subject_fini(&s);
	}
	return r;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

int stats_show(const struct stats_settings *set, const char *root, char *const *words, int n,
	       struct err *e)
{
	struct live l = { .set = set, .root = root, .words = words, .n = n };
	bool screen = !set->once && isatty(STDOUT_FILENO);
	cleanup_free struct reading *v = calloc(READINGS_MAX, sizeof(*v));
	int r = v ? 0 : -ENOMEM;

	l.v = v;
	if (!r)
		r = take_all(&l, NULL, e);
	while (!r) {
		pause_ms(set->once ? 250 : 1000);
		json_object *rows = json_object_new_array();

		r = take_all(&l, rows, e);
		if (!r && screen)
			fputs("\033[2J\033[H", stdout);
		if (!r)
			r = table_print(stdout, set->format, columns, SHOWN, ARRAY_SIZE(columns),
					rows, e);
		json_object_put(rows);
		fflush(stdout);
		if (set->once || ferror(stdout))
			break;
	}
	return r;
}

/* Lines of a name and a number, as the hypervisor counts them. */
static int show_hypervisor(const char *root, const char *word, struct err *e)
{
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_with(buf_fini) struct buf text = BUF_INIT(64 << 10);
	int r = subject_open(&s, root, word, false, e);

	if (!r)
		r = guest_machine_stats(&s.in, &text, e);
	if (!r)
		fputs(buf_str(&text), stdout);
	return r ? err_wrap(e, "hypervisor of '%s'", word) : 0;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct stats_settings *set = settings;
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e);

	for (int i = 0; !r && set->hypervisor && i < argc; i++)
		r = show_hypervisor(root, argv[i], e);
	if (!r && set->hypervisor && !argc)
		r = err_set(e, -EINVAL, "--hypervisor: of which instance?");
	return r || set->hypervisor ? r : stats_show(settings, root, argv, argc, e);
}

extern const struct command cmd_stats;
const struct command cmd_stats = {
	.name = "stats",
	.args = "[INSTANCE...]",
	.summary = "Show what instances use",
	.opts = opts,
	.settings_size = sizeof(struct stats_settings),
	.run = run,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};
