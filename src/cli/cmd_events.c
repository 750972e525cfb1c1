/*
 * warren events: what happens to instances, as it happens.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/events.c
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
#include "cli/when.h"
#include "run/events.h"
#include "wire/logline.h"
#include "wire/template.h"

struct settings {
	const char *since, *until, *format;
	struct strlist filters;
};

static const struct opt opts[] = {
	OPT_LIST('f', "filter", "NAME=VALUE", struct settings, filters,
		 "container, event, image, label, type"),
	OPT_STRING(0, "format", "json|TEMPLATE", struct settings, format, "How to print"),
	OPT_STRING(0, "since", "TIME", struct settings, since,
		   "Show earlier ones since then first"),
	OPT_STRING(0, "until", "TIME", struct settings, until, "Stop there"),
	OPT_END,
};

static const char *member(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : NULL;
}

static json_object *attributes_of(json_object *event)
{
	json_object *actor, *attributes = NULL;

	if (json_object_object_get_ex(event, "Actor", &actor))
		json_object_object_get_ex(actor, "Attributes", &attributes);
	return attributes;
}

static bool label_holds(json_object *attributes, const char *v)
{
	char key[256];
	const char *eq = strchr(v, '=');
	json_object *value;

	if ((size_t)snprintf(key, sizeof(key), "%.*s", (int)(eq ? eq - v : (long)strlen(v)), v) >=
		    sizeof(key) ||
	    !json_object_object_get_ex(attributes, key, &value))
		return false;
	return !eq || streq(json_object_get_string(value), eq + 1);
}

static bool filter_holds(json_object *o, const char *name, const char *v)
{
	json_object *attributes = attributes_of(o);
	const char *got = NULL;

	if (streq(name, "label"))
		return label_holds(attributes, v);
	if (streq(name, "container")) {
		got = member(o, "id");
		if (got && strlen(v) >= 4 && str_after(got, v))
			return true;
		got = member(attributes, "name");
	} else if (streq(name, "event")) {
		got = member(o, "Action");
		/* exec_start carries its command behind a colon. */
		return got && strncmp(got, v, strlen(v)) == 0 &&
		       (!got[strlen(v)] || got[strlen(v)] == ':');
	} else if (streq(name, "image")) {
		got = member(attributes, "image");
	} else if (streq(name, "type")) {
		got = member(o, "Type");
	}
	return got && streq(got, v);
}

static int check_filters(const struct settings *set, struct err *e)
{
	static const char *const names[] = { "container", "event", "image", "label", "type" };

	for (size_t i = 0; i < set->filters.n; i++) {
		bool known = false;

		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			const char *rest = str_after(set->filters.v[i], names[k]);

			known |= rest && *rest == '=';
		}
		if (!known)
			return err_set(e, -EINVAL, "invalid filter '%s'", set->filters.v[i]);
	}
	return 0;
}

/* Words of one name are alternatives, different names must all hold. */
static bool wanted(const struct settings *set, json_object *o)
{
	for (size_t i = 0; i < set->filters.n; i++) {
		const char *w = set->filters.v[i];
		size_t n = strcspn(w, "=");
		bool any = false;

		for (size_t k = 0; k < set->filters.n; k++) {
			const char *other = set->filters.v[k];
			char name[32];

			if (strncmp(w, other, n + 1) != 0 || n >= sizeof(name))
				continue;
			memcpy(name, other, n);
			name[n] = '\0';
			any |= filter_holds(o, name, other + n + 1);
		}
		if (!any)
			return false;
	}
	return true;
}

/* docker's line: time type action id (attributes). */
static void print_line(json_object *o)
{
	json_object *nano, *attributes = attributes_of(o);
	char when[31];
	bool first = true;
	int64_t ns = json_object_object_get_ex(o, "timeNano", &nano) ? json_object_get_int64(nano)
								     : 0;

	time_rfc3339_format((struct timespec){ ns / 1000000000, ns % 1000000000 }, when);
	printf("%s %s %s %s (", when, member(o, "Type"), member(o, "Action"), member(o, "id"));
	json_object_object_foreach(attributes, key, v)
	{
		printf("%s%s=%s", first ? "" : ", ", key, json_object_get_string(v));
		first = false;
	}
	printf(")\n");
}

static int show(void *arg, const char *json, size_t n)
{
	const struct settings *set = arg;
	struct json_tokener *tok = json_tokener_new();
	json_object *o = tok ? json_tokener_parse_ex(tok, json, (int)n) : NULL;
	cleanup_with(buf_fini) struct buf b = BUF_INIT(1 << 20);
	int r = 0;

	json_tokener_free(tok);
	if (json_object_is_type(o, json_type_object) && attributes_of(o) && wanted(set, o)) {
		if (!set->format) {
			print_line(o);
		} else if (streq(set->format, "json")) {
			printf("%.*s\n", (int)n, json);
		} else {
			r = template_render(set->format, o, &b, NULL);
			printf("%s\n", buf_str(&b));
		}
		fflush(stdout);
	}
	json_object_put(o);
	return ferror(stdout) ? -EPIPE : r;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	struct settings *set = settings;
	cleanup_free char *root = NULL;
	cleanup_free char *format = set->format ? template_unescape(set->format) : NULL;
	struct timespec since, until = { 0 }, now;
	int r = check_filters(set, e);

	(void)argc, (void)argv;
	set->format = format;
	clock_gettime(CLOCK_REALTIME, &now);
	since = now;
	if (!r && set->since)
		r = when_parse("--since", set->since, &since, e);
	if (!r && set->until)
		r = when_parse("--until", set->until, &until, e);
	if (!r)
		r = registry_root(&root, e);
	/* An end that lies behind us: nothing more can come. */
	bool follow = !set->until || until.tv_sec > now.tv_sec ||
		      (until.tv_sec == now.tv_sec && until.tv_nsec > now.tv_nsec);

	if (!r)
		r = events_read(root, since, until, follow, -1, show, set, e);
	return r == -EPIPE ? 0 : r;
}

extern const struct command cmd_events;
const struct command cmd_events = {
	.name = "events",
	.summary = "Show what happens to instances",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
};
