/*
 * The image specification's documents as structs. A document is parsed whole by json-c (depth and
 * size limited), then read member by member; the place of each member is kept as a chain of frames
 * on the stack, so that an error names it: "config.json: rootfs.diff_ids[3]: not a digest". Members
 * that the specification allows and Warren does not need are passed over. JSON null counts as
 * absent, because Go programs write it for empty lists.
 *
 * Trust: every byte is hostile. What leaves here is checked: digests are digests, sizes are below
 * 2^50, strings hold no NUL, counts are bounded by the document's size. Threads: any. #syscalls:
 * none
 */
#include "wire/image.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "wire/reference.h"

#define DOCUMENT_MAX (4u << 20)
#define DEPTH_MAX    32
#define BYTES_MAX    (1ull << 50)

struct place {
	const struct place *up;
	const char *key; /* NULL: `index` of an array */
	size_t index;
};

struct doc {
	const char *name;
	struct arena *arena;
	struct err *e;
};

static void cleanup_json(struct json_object **o)
{
	json_object_put(*o);
}

static void place_text(const struct place *p, char *out, size_t size)
{
	out[0] = '\0';
	if (!p)
		return;
	place_text(p->up, out, size);
	size_t n = strlen(out);

	if (p->key)
		snprintf(out + n, size - n, "%s%s", n ? "." : "", p->key);
	else
		snprintf(out + n, size - n, "[%zu]", p->index);
}

static int wrong(const struct doc *d, const struct place *p, const char *what)
{
	char where[256];

	place_text(p, where, sizeof(where));
	return err_set(d->e, -EINVAL, "%s: %s%s%s", d->name, where, *where ? ": " : "", what);
}

static int no_memory(const struct doc *d)
{
	return err_set(d->e, -ENOMEM, "%s: larger than the memory for it", d->name);
}

static int document(const char *json, size_t n, enum json_type type, const struct doc *d,
		    struct json_object **out)
{
	if (n > DOCUMENT_MAX)
		return err_set(d->e, -EFBIG, "%s: %zu bytes, at most %u are read", d->name, n,
			       DOCUMENT_MAX);
	struct json_tokener *t = json_tokener_new_ex(DEPTH_MAX);

	if (!t)
		return no_memory(d);
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_object *o = json_tokener_parse_ex(t, json, (int)n);
	enum json_tokener_error r = json_tokener_get_error(t);
	size_t end = json_tokener_get_parse_end(t);

	json_tokener_free(t);
	if (!o) {
		if (r == json_tokener_continue)
			return err_set(d->e, -EINVAL, "%s: truncated JSON (%zu bytes)", d->name, n);
		return err_set(d->e, -EINVAL, "%s: byte %zu: not JSON: %s", d->name, end,
			       json_tokener_error_desc(r));
	}
	while (end < n && strchr(" \t\r\n", json[end]) && json[end])
		end++;
	if (end < n || json_object_get_type(o) != type) {
		json_object_put(o);
		return err_set(d->e, -EINVAL, "%s: %s", d->name,
			       end < n ? "more follows after the JSON document"
				       : "not a JSON document of the expected kind");
	}
	*out = o;
	return 0;
}

/* The member, NULL when absent or null. */
static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	return o && json_object_object_get_ex(o, key, &v) ? v : NULL;
}

static int take_string(const struct doc *d, const struct place *p, struct json_object *o,
		       const char **out)
{
	if (!o)
		return 0;
	if (json_object_get_type(o) != json_type_string)
		return wrong(d, p, "expected a string");
	const char *s = json_object_get_string(o);

	if (strlen(s) != (size_t)json_object_get_string_len(o))
		return wrong(d, p, "contains a NUL character");
	*out = arena_strdup(d->arena, s);
	return *out ? 0 : no_memory(d);
}

static int string_at(const struct doc *d, const struct place *up, struct json_object *o,
		     const char *key, const char **out)
{
	return take_string(d, &(struct place){ .up = up, .key = key }, member(o, key), out);
}

static int digest_at(const struct doc *d, const struct place *up, struct json_object *o,
		     const char *key, const char **out)
{
	const struct place p = { .up = up, .key = key };
	int r = take_string(d, &p, member(o, key), out);

	if (!r && (!*out || !digest_valid(*out)))
		return wrong(d, &p, *out ? "not a sha256 digest" : "missing");
	return r;
}

static int number_at(const struct doc *d, const struct place *up, struct json_object *o,
		     const char *key, uint64_t max, uint64_t *out)
{
	struct json_object *v = member(o, key);

	if (!v)
		return 0;
	const struct place p = { .up = up, .key = key };

	if (json_object_get_type(v) != json_type_int || json_object_get_int64(v) < 0 ||
	    json_object_get_uint64(v) > max)
		return wrong(d, &p, "expected a whole number, not negative and not absurd");
	*out = json_object_get_uint64(v);
	return 0;
}

static int object_at(const struct doc *d, const struct place *up, struct json_object *o,
		     const char *key, enum json_type type, struct json_object **out)
{
	*out = member(o, key);
	if (*out && json_object_get_type(*out) != type)
		return wrong(d, &(struct place){ .up = up, .key = key },
			     type == json_type_array ? "expected a list" : "expected an object");
	return 0;
}

static int list_at(const struct doc *d, const struct place *up, struct json_object *o,
		   const char *key, bool digests, struct image_list *out)
{
	struct place p = { .up = up, .key = key };
	struct json_object *list;
	int r = object_at(d, up, o, key, json_type_array, &list);

	if (r || !list)
		return r;
	size_t n = json_object_array_length(list);

	out->v = arena_calloc(d->arena, n + 1, sizeof(*out->v));
	if (!out->v)
		return no_memory(d);
	for (size_t i = 0; i < n; i++) {
		const struct place item = { .up = &p, .index = i };
		struct json_object *v = json_object_array_get_idx(list, i);

		r = v ? take_string(d, &item, v, &out->v[i]) : wrong(d, &item, "is null");
		if (!r && digests && !digest_valid(out->v[i]))
			r = wrong(d, &item, "not a sha256 digest");
		if (r)
			return r;
	}
	out->n = n;
	return 0;
}

/* {"80/tcp": {}, ...}: the names. */
static int keys_at(const struct doc *d, const struct place *up, struct json_object *o,
		   const char *key, struct image_list *out)
{
	struct json_object *set;
	int r = object_at(d, up, o, key, json_type_object, &set);

	if (r || !set)
		return r;
	out->v = arena_calloc(d->arena, (size_t)json_object_object_length(set) + 1,
			      sizeof(*out->v));
	if (!out->v)
		return no_memory(d);
	json_object_object_foreach(set, name, value)
	{
		(void)value;
		out->v[out->n] = arena_strdup(d->arena, name);
		if (!out->v[out->n++])
			return no_memory(d);
	}
	return 0;
}

static int map_at(const struct doc *d, const struct place *up, struct json_object *o,
		  const char *key, struct image_map *out)
{
	struct place p = { .up = up, .key = key };
	struct json_object *map;
	int r = object_at(d, up, o, key, json_type_object, &map);

	if (r || !map)
		return r;
	out->v = arena_calloc(d->arena, (size_t)json_object_object_length(map) + 1,
			      sizeof(*out->v));
	if (!out->v)
		return no_memory(d);
	json_object_object_foreach(map, name, value)
	{
		struct image_pair *pair = &out->v[out->n++];
		const struct place item = { .up = &p, .key = name };

		pair->key = arena_strdup(d->arena, name);
		if (!pair->key)
			return no_memory(d);
		pair->value = "";
		r = take_string(d, &item, value, &pair->value);
		if (r)
			return r;
	}
	return 0;
}

static int bool_at(const struct doc *d, const struct place *up, struct json_object *o,
		   const char *key, bool *out)
{
	struct json_object *v = member(o, key);

	if (!v)
		return 0;
	if (json_object_get_type(v) != json_type_boolean)
		return wrong(d, &(struct place){ .up = up, .key = key }, "expected true or false");
	*out = json_object_get_boolean(v);
	return 0;
}

static int read_health(const struct doc *d, const struct place *up, struct json_object *o,
		       struct image_health *out)
{
	const struct place p = { .up = up, .key = "Healthcheck" };
	struct json_object *h;
	uint64_t retries = 0;
	int r = object_at(d, up, o, p.key, json_type_object, &h);

	if (r || !h)
		return r;
	if ((r = list_at(d, &p, h, "Test", false, &out->test)) ||
	    (r = number_at(d, &p, h, "Interval", INT64_MAX, &out->interval)) ||
	    (r = number_at(d, &p, h, "Timeout", INT64_MAX, &out->timeout)) ||
	    (r = number_at(d, &p, h, "StartPeriod", INT64_MAX, &out->start_period)) ||
	    (r = number_at(d, &p, h, "StartInterval", INT64_MAX, &out->start_interval)) ||
	    (r = number_at(d, &p, h, "Retries", INT32_MAX, &retries)))
		return r;
	out->retries = (int64_t)retries;
	return 0;
}

static int read_history(const struct doc *d, struct json_object *o, struct image_config *out)
{
	const struct place p = { .key = "history" };
	struct json_object *list;
	int r = object_at(d, NULL, o, p.key, json_type_array, &list);

	if (r || !list)
		return r;
	size_t n = json_object_array_length(list);

	out->history = arena_calloc(d->arena, n, sizeof(*out->history));
	if (!out->history)
		return no_memory(d);
	for (size_t i = 0; i < n; i++) {
		const struct place item = { .up = &p, .index = i };
		struct json_object *v = json_object_array_get_idx(list, i);
		struct image_history *h = &out->history[i];

		if (!v || json_object_get_type(v) != json_type_object)
			return wrong(d, &item, "expected an object");
		if ((r = string_at(d, &item, v, "created", &h->created)) ||
		    (r = string_at(d, &item, v, "created_by", &h->created_by)) ||
		    (r = string_at(d, &item, v, "author", &h->author)) ||
		    (r = string_at(d, &item, v, "comment", &h->comment)) ||
		    (r = bool_at(d, &item, v, "empty_layer", &h->empty_layer)))
			return r;
	}
	out->history_n = n;
	return 0;
}

static int read_process(const struct doc *d, struct json_object *top, struct image_config *out)
{
	const struct place p = { .key = "config" };
	struct json_object *c;
	int r = object_at(d, NULL, top, p.key, json_type_object, &c);

	if (r || !c)
		return r;
	if ((r = string_at(d, &p, c, "User", &out->user)) ||
	    (r = string_at(d, &p, c, "WorkingDir", &out->working_dir)) ||
	    (r = string_at(d, &p, c, "StopSignal", &out->stop_signal)) ||
	    (r = list_at(d, &p, c, "Env", false, &out->env)) ||
	    (r = list_at(d, &p, c, "Entrypoint", false, &out->entrypoint)) ||
	    (r = list_at(d, &p, c, "Cmd", false, &out->cmd)) ||
	    (r = list_at(d, &p, c, "Shell", false, &out->shell)) ||
	    (r = keys_at(d, &p, c, "ExposedPorts", &out->exposed_ports)) ||
	    (r = keys_at(d, &p, c, "Volumes", &out->volumes)) ||
	    (r = map_at(d, &p, c, "Labels", &out->labels)) ||
	    (r = read_health(d, &p, c, &out->health)))
		return r;
	for (size_t i = 0; i < out->env.n; i++) {
		const struct place env = { .up = &p, .key = "Env" };

		if (out->env.v[i][0] == '=' || !strchr(out->env.v[i], '='))
			return wrong(d, &(struct place){ .up = &env, .index = i },
				     "not of the form NAME=value");
	}
	return 0;
}

int image_config_parse(const char *json, size_t n, const char *name, struct arena *a,
		       struct image_config *out, struct err *e)
{
	const struct doc d = { name, a, e };
	__attribute__((cleanup(cleanup_json))) struct json_object *o = NULL;
	const struct place p = { .key = "rootfs" };
	struct json_object *rootfs;
	const char *type = NULL;
	int r = document(json, n, json_type_object, &d, &o);

	*out = (struct image_config){ 0 };
	if (r || (r = string_at(&d, NULL, o, "created", &out->created)) ||
	    (r = string_at(&d, NULL, o, "author", &out->author)) ||
	    (r = string_at(&d, NULL, o, "architecture", &out->architecture)) ||
	    (r = string_at(&d, NULL, o, "os", &out->os)) ||
	    (r = string_at(&d, NULL, o, "variant", &out->variant)) ||
	    (r = object_at(&d, NULL, o, "rootfs", json_type_object, &rootfs)))
		return r;
	if (!rootfs)
		return wrong(&d, &p, "missing");
	if ((r = string_at(&d, &p, rootfs, "type", &type)))
		return r;
	if (!type || !streq(type, "layers"))
		return wrong(&d, &(struct place){ .up = &p, .key = "type" }, "expected \"layers\"");
	if ((r = list_at(&d, &p, rootfs, "diff_ids", true, &out->diff_ids)) ||
	    (r = read_process(&d, o, out)))
		return r;
	return read_history(&d, o, out);
}

static int read_descriptor(const struct doc *d, const struct place *p, struct json_object *o,
			   struct image_descriptor *out)
{
	const struct place plat = { .up = p, .key = "platform" };
	struct json_object *v;
	int r;

	if (!o || json_object_get_type(o) != json_type_object)
		return wrong(d, p, o ? "expected a descriptor object" : "missing");
	if ((r = string_at(d, p, o, "mediaType", &out->media_type)) ||
	    (r = digest_at(d, p, o, "digest", &out->digest)) ||
	    (r = string_at(d, p, o, "artifactType", &out->artifact_type)) ||
	    (r = map_at(d, p, o, "annotations", &out->annotations)) ||
	    (r = number_at(d, p, o, "size", BYTES_MAX, &out->size)) ||
	    (r = object_at(d, p, o, "platform", json_type_object, &v)))
		return r;
	if (!member(o, "size"))
		return wrong(d, &(struct place){ .up = p, .key = "size" }, "missing");
	if (!out->media_type)
		return wrong(d, &(struct place){ .up = p, .key = "mediaType" }, "missing");
	if (!v)
		return 0;
	if ((r = string_at(d, &plat, v, "os", &out->os)) ||
	    (r = string_at(d, &plat, v, "architecture", &out->architecture)))
		return r;
	return string_at(d, &plat, v, "variant", &out->variant);
}

int image_manifest_parse(const char *json, size_t n, const char *name, struct arena *a,
			 struct image_manifest *out, struct err *e)
{
	const struct doc d = { name, a, e };
	__attribute__((cleanup(cleanup_json))) struct json_object *o = NULL;
	struct json_object *list, *index;
	uint64_t version = 0;
	int r = document(json, n, json_type_object, &d, &o);

	*out = (struct image_manifest){ 0 };
	if (r || (r = number_at(&d, NULL, o, "schemaVersion", 100, &version)) ||
	    (r = string_at(&d, NULL, o, "mediaType", &out->media_type)) ||
	    (r = string_at(&d, NULL, o, "artifactType", &out->artifact_type)) ||
	    (r = map_at(&d, NULL, o, "annotations", &out->annotations)) ||
	    (r = object_at(&d, NULL, o, "manifests", json_type_array, &index)) ||
	    (r = object_at(&d, NULL, o, "layers", json_type_array, &list)))
		return r;
	if (version != 2)
		return wrong(&d, &(struct place){ .key = "schemaVersion" },
			     version == 1 ? "version 1 manifests are not read; push the image anew"
					  : "expected 2");
	if (index && (list || member(o, "config")))
		return wrong(&d, NULL, "is both an index (manifests) and a manifest (layers)");
	if (!index && !list)
		return wrong(&d, NULL, "has neither manifests nor layers");
	out->is_index = index != NULL;
	const struct place p = { .key = index ? "manifests" : "layers" };

	list = index ? index : list;
	size_t count = json_object_array_length(list);

	if (!index) {
		r = read_descriptor(&d, &(struct place){ .key = "config" }, member(o, "config"),
				    &out->config);
		if (r)
			return r;
	}
	out->layers = arena_calloc(a, count, sizeof(*out->layers));
	if (!out->layers)
		return no_memory(&d);
	for (size_t i = 0; i < count; i++) {
		const struct place item = { .up = &p, .index = i };

		r = read_descriptor(&d, &item, json_object_array_get_idx(list, i), &out->layers[i]);
		if (r)
			return r;
	}
	out->layers_n = count;
	return 0;
}

int docker_manifest_parse(const char *json, size_t n, const char *name, struct arena *a,
			  struct docker_entry **out, size_t *out_n, struct err *e)
{
	const struct doc d = { name, a, e };
	__attribute__((cleanup(cleanup_json))) struct json_object *o = NULL;
	int r = document(json, n, json_type_array, &d, &o);

	if (r)
		return r;
	size_t count = json_object_array_length(o);
	struct docker_entry *v = arena_calloc(a, count, sizeof(*v));

	if (!v)
		return no_memory(&d);
	for (size_t i = 0; i < count; i++) {
		const struct place item = { .index = i };
		struct json_object *x = json_object_array_get_idx(o, i);

		if (!x || json_object_get_type(x) != json_type_object)
			return wrong(&d, &item, "expected an object");
		if ((r = string_at(&d, &item, x, "Config", &v[i].config)) ||
		    (r = list_at(&d, &item, x, "RepoTags", false, &v[i].tags)) ||
		    (r = list_at(&d, &item, x, "Layers", false, &v[i].layers)))
			return r;
		if (!v[i].config)
			return wrong(&d, &(struct place){ .up = &item, .key = "Config" },
				     "missing");
	}
	*out = v;
	*out_n = count;
	return 0;
}

enum layer_packing layer_packing(const char *media_type)
{
	static const struct {
		const char *type;
		enum layer_packing packing;
	} known[] = {
		{ "application/vnd.oci.image.layer.v1.tar", LAYER_TAR },
		{ "application/vnd.oci.image.layer.v1.tar+gzip", LAYER_GZIP },
		{ "application/vnd.oci.image.layer.v1.tar+zstd", LAYER_ZSTD },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar", LAYER_TAR },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", LAYER_GZIP },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", LAYER_ZSTD },
		{ "application/vnd.docker.image.rootfs.diff.tar", LAYER_TAR },
		{ "application/vnd.docker.image.rootfs.diff.tar.gzip", LAYER_GZIP },
		{ "application/vnd.docker.image.rootfs.diff.tar.zstd", LAYER_ZSTD },
		{ "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", LAYER_GZIP },
	};

	for (size_t i = 0; media_type && i < ARRAY_SIZE(known); i++)
		if (streq(media_type, known[i].type))
			return known[i].packing;
	return LAYER_UNKNOWN;
}

const struct image_descriptor *image_index_pick(const struct image_manifest *index, const char *os,
						const char *architecture, const char *variant)
{
	const struct image_descriptor *fallback = NULL;

	for (size_t i = 0; i < index->layers_n; i++) {
		const struct image_descriptor *d = &index->layers[i];

		if (!d->os || !d->architecture) {
			fallback = fallback ? fallback : d;
			continue;
		}
		if (streq(d->os, os) && streq(d->architecture, architecture) &&
		    (!variant || !d->variant || streq(d->variant, variant)))
			return d;
	}
	return fallback;
}
