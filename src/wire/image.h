/* The image specification's documents (OCI image-spec 1.1, and Docker's schema 2 that it came
 * from). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

/* All strings and arrays live in the arena that the parser is given. Absent strings are NULL. */
struct image_list {
	const char **v; /* NULL-terminated */
	size_t n;
};

struct image_pair {
	const char *key, *value;
};

struct image_map {
	struct image_pair *v;
	size_t n;
};

struct image_health {
	struct image_list test; /* "NONE", "CMD", "CMD-SHELL", ...; n == 0: none given */
	uint64_t interval, timeout, start_period, start_interval; /* ns, 0: default */
	int64_t retries;
};

struct image_history {
	const char *created, *created_by, *author, *comment;
	bool empty_layer;
};

/* config.md. `diff_ids` are checked digests. */
struct image_config {
	const char *created, *author, *architecture, *os, *variant;
	const char *user, *working_dir, *stop_signal;
	struct image_list env, entrypoint, cmd, shell, exposed_ports, volumes;
	struct image_map labels;
	struct image_health health;
	struct image_list diff_ids;
	struct image_history *history;
	size_t history_n;
};

/* descriptor.md, with the index's platform. `digest` is checked, `size` at most 2^50. */
struct image_descriptor {
	const char *media_type, *digest, *artifact_type;
	uint64_t size;
	struct image_map annotations;
	const char *os, *architecture, *variant;
};

/* manifest.md, image-index.md: one of the two. */
struct image_manifest {
	const char *media_type;
	bool is_index;
	struct image_descriptor config;
	struct image_descriptor *layers; /* of an index: its manifests */
	size_t layers_n;
	const char *artifact_type;
	struct image_map annotations;
};

/* docker save's manifest.json */
struct docker_entry {
	const char *config;
	struct image_list tags, layers;
};

/* Each parses `n` bytes of JSON (at most 4 MiB). `name` is what errors call the document:
 * "config.json: rootfs.diff_ids[3]: not a digest". 0 or -errno. */
int image_config_parse(const char *json, size_t n, const char *name, struct arena *a,
		       struct image_config *out, struct err *e);
int image_manifest_parse(const char *json, size_t n, const char *name, struct arena *a,
			 struct image_manifest *out, struct err *e);
int docker_manifest_parse(const char *json, size_t n, const char *name, struct arena *a,
			  struct docker_entry **out, size_t *out_n, struct err *e);

/* How a layer's media type says it is packed. */
enum layer_packing { LAYER_TAR, LAYER_GZIP, LAYER_ZSTD, LAYER_UNKNOWN };
enum layer_packing layer_packing(const char *media_type);

/* Picks the entry of an index for `os`/`architecture`[/`variant`]; NULL when there is none. */
const struct image_descriptor *image_index_pick(const struct image_manifest *index, const char *os,
						const char *architecture, const char *variant);
