/*
 * Small hands for building JSON objects: each call adds one member and remembers a lack of memory in the
 * maker, so that a hundred of them are checked once.
 *
 * Trust: values may hold any text; json-c escapes it. Threads: none. #syscalls: none
 */
#include <string.h>

#include "bundle/make_int.h"

void make_set(struct make *m, struct json_object *in, const char *key, struct json_object *v)
{
	if (!v || !in ||
	    (key ? json_object_object_add(in, key, v) : json_object_array_add(in, v))) {
		m->no_memory = true;
		json_object_put(v);
	}
}

struct json_object *make_object(struct make *m, struct json_object *in, const char *key)
{
	struct json_object *o = json_object_new_object();

	make_set(m, in, key, o);
	return m->no_memory ? NULL : o;
}

struct json_object *make_list(struct make *m, struct json_object *in, const char *key)
{
	struct json_object *o = json_object_new_array();

	make_set(m, in, key, o);
	return m->no_memory ? NULL : o;
}

void make_string(struct make *m, struct json_object *in, const char *key, const char *v)
{
	make_set(m, in, key, json_object_new_string(v));
}

void make_number(struct make *m, struct json_object *in, const char *key, int64_t v)
{
	make_set(m, in, key, json_object_new_int64(v));
}

void make_bool(struct make *m, struct json_object *in, const char *key, bool v)
{
	make_set(m, in, key, json_object_new_boolean(v));
}

void make_item(struct make *m, struct json_object *list, const char *v)
{
	make_set(m, list, NULL, json_object_new_string(v));
}

void make_words(struct make *m, struct json_object *in, const char *key, const char *words)
{
	struct json_object *list = make_list(m, in, key);

	for (const char *p = words; *p;) {
		size_t n = strcspn(p, ",");

		make_set(m, list, NULL, json_object_new_string_len(p, (int)n));
		p += n + (p[n] == ',');
	}
}
