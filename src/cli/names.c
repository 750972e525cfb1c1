/*
 * The names that exist on this host, for completion: instances from their directories, images from the store. What cannot
 * be read is left out; somebody who presses Tab wants no error.
 *
 * Trust: names come from our own directories. Threads: none. #syscalls: access
 */
#include <json-c/json.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "image/manage.h"
#include "os/paths.h"
#include "run/registry.h"

static void each_instance(name_fn *fn, void *arg)
{
	cleanup_free char *root = NULL;
	cleanup_with(strlist_fini) struct strlist ids = { 0 };

	if (registry_root(&root, NULL) || instance_list(root, &ids, NULL))
		return;
	for (size_t i = 0; i < ids.n; i++) {
		struct subject s = SUBJECT_INIT;

		if (subject_open_id(&s, root, ids.v[i], false, NULL) == 0)
			fn(s.rec.name ? s.rec.name : ids.v[i],
			   subject_status_name(subject_status(&s)), arg);
		subject_fini(&s);
	}
}

struct images {
	name_fn *fn;
	void *arg;
};

static int each_name(void *arg, struct json_object *o)
{
	const struct images *to = arg;
	struct json_object *names = json_object_object_get(o, "names");

	if (!json_object_is_type(names, json_type_array))
		return 0;
	for (size_t i = 0; i < json_object_array_length(names); i++)
		to->fn(json_object_get_string(json_object_array_get_idx(names, i)), "image",
		       to->arg);
	return 0;
}

static void each_image(name_fn *fn, void *arg)
{
	static const char *const words[] = { "list", NULL };
	char data[4096];

	/* Asking would make the store. */
	if (paths_data(data, sizeof(data), NULL) == 0 && access(data, R_OK | X_OK) == 0)
		image_manage(words, each_name, &(struct images){ fn, arg }, NULL);
}

void names_each(enum opt_complete kind, name_fn *fn, void *arg)
{
	if (kind == COMPLETE_INSTANCE)
		each_instance(fn, arg);
	else if (kind == COMPLETE_IMAGE)
		each_image(fn, arg);
}
