/*
 * warren inspect: all that is known about instances and images, as JSON in docker's shape. A word means the
 * instance of that name, and only when there is none the image.
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
#include "cli/images.h"
#include "image/image.h"
#include "run/describe.h"
#include "run/registry.h"
#include "wire/template.h"

struct settings {
	const char *format, *type;
	bool size;
};

static const struct opt opts[] = {
	OPT_STRING('f', "format", "json|TEMPLATE", struct settings, format, "How to print"),
	OPT_STRING(0, "type", "container|image", struct settings, type, "Only things of this kind",
		   .choices = "container|image"),
	OPT_BOOL('s', "size", struct settings, size, "Accepted; sizes are not counted"),
	OPT_END,
};

static int describe_instance(const char *root, const char *word, json_object **o, struct err *e)
{
	cleanup_with(subject_fini) struct subject s;
	int r = subject_open(&s, root, word, false, e);

	return r ? r : describe_inspect(&s, root, o, e);
}

static int describe_image(const char *word, json_object **o, struct err *e)
{
	struct image img = { 0 };
	int r = image_resolve(word, &img, e);

	if (!r)
		*o = images_describe(&img);
	image_fini(&img);
	return r;
}

static int describe(const struct settings *set, const char *root, const char *word, json_object **o,
		    struct err *e)
{
	bool images = !set->type || streq(set->type, "image");
	bool instances = !set->type || streq(set->type, "container");
	int r = instances ? describe_instance(root, word, o, e) : -ENOENT;

	if (r != -ENOENT || !images)
		return r;
	err_clear(e);
	r = describe_image(word, o, e);
	if (r == -ENOENT && instances)
		return err_set(e, r, "no such instance or image: %s", word);
	return r;
}

static int show(const char *template, json_object *o, json_object *all, struct err *e)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(16 << 20);

	if (!template) {
		json_object_array_add(all, json_object_get(o));
		return 0;
	}
	int r = template_render(template, o, &b, e);

	if (!r)
		printf("%s\n", buf_str(&b));
	return r;
}

static void print_all(json_object *all, bool plain)
{
	printf("%s\n",
	       json_object_to_json_string_ext(
		       all, JSON_C_TO_STRING_NOSLASHESCAPE |
				    (plain ? JSON_C_TO_STRING_PLAIN
					   : JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED)));
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;
	bool json = set->format && streq(set->format, "json");
	cleanup_free char *template = set->format && !json ? template_unescape(set->format) : NULL;
	cleanup_free char *root = NULL;
	json_object *all;
	int r = registry_root(&root, e), status = 0;

	if (r)
		return r;
	all = json_object_new_array();
	for (int i = 0; i < argc; i++) {
		struct err one = ERR_INIT;
		json_object *o = NULL;

		r = describe(set, root, argv[i], &o, &one);
		if (!r)
			r = show(template, o, all, &one);
		json_object_put(o);
		if (r) {
			fflush(stdout);
			cli_complain(&one);
			status = EXIT_WARREN;
		}
	}
	if (!template)
		print_all(all, json);
	json_object_put(all);
	return status;
}

extern const struct command cmd_inspect;
const struct command cmd_inspect = {
	.name = "inspect",
	.args = "INSTANCE|IMAGE...",
	.summary = "Show all that is known about instances and images",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};
