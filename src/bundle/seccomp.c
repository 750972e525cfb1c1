/*
 * Seccomp profiles for config.json. A profile file in the specification's form is taken as it is.
 *
 * Trust: the file is the user's. Threads: none. #syscalls: openat read close
 */
#include "bundle/seccomp.h"

#include <errno.h>
#include <json-c/json.h>

int bundle_seccomp_default(uint64_t caps, struct json_object **out, struct err *e)
{
	(void)caps, (void)e;
	*out = NULL;
	return 0;
}

int bundle_seccomp_file(const char *path, uint64_t caps, struct json_object **out, struct err *e)
{
	struct json_object *o = json_object_from_file(path);

	(void)caps;
	if (!o)
		return err_set(e, -EINVAL, "'%s': cannot be read as JSON", path);
	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return err_set(e, -EINVAL, "'%s': not a JSON object", path);
	}
	*out = o;
	return 0;
}
