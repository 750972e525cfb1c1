/*
 * warren inspect: all that is known about instances, as JSON in docker's shape.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/registry.c
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/each.h"
#include "run/describe.h"
#include "wire/template.h"

struct settings {
	const char *format, *type;
	bool size;
};

static const struct opt opts[] = {
	OPT_STRING('f', "format", "json|TEMPLATE", struct settings, format, "How to print"),
	OPT_STRING(0, "type", "container", struct settings, type, "Of what kind it is",
		   .choices = "container"),
	OPT_BOOL('s', "size", struct settings, size, "Accepted; sizes are not counted"),
	OPT_END,
};

struct collect {
	json_object *all;
	char *template;
};

static int one(struct subject *s, const char *root, void *arg, struct err *e)
{
	struct collect *c = arg;
	json_object *o = NULL;
	int r = describe_inspect(s, root, &o, e);

	if (r)
		return r;
	if (!c->template) {
		json_object_array_add(c->all, o);
		return 0;
	}
	cleanup_with(buf_fini) struct buf b = BUF_INIT(16 << 20);

	r = template_render(c->template, o, &b, e);
	json_object_put(o);
	if (!r)
		printf("%s\n", buf_str(&b));
	return r;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;
	bool json = set->format && streq(set->format, "json");
	cleanup_free char *template = set->format && !json ? template_unescape(set->format) : NULL;
	struct collect c = { json_object_new_array(), template };
	int status = each_subject(argv, argc, false, one, &c, e);

	if (!template && status >= 0)
		printf("%s\n",
		       json_object_to_json_string_ext(
			       c.all, json ? JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE
					   : JSON_C_TO_STRING_PRETTY |
						      JSON_C_TO_STRING_NOSLASHESCAPE |
						      JSON_C_TO_STRING_SPACED));
	json_object_put(c.all);
	return status;
}

extern const struct command cmd_inspect;
const struct command cmd_inspect = {
	.name = "inspect",
	.args = "INSTANCE...",
	.summary = "Show all that is known about instances",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};
