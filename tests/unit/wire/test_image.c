/* Manifests, indexes and configurations: what is read, and that each wrong member is named. */
#include <errno.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "wire/image.h"

#define D "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LAYER                                                                            \
	"{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"" D \
	"\",\"size\":5}"
#define CONFIG "{\"mediaType\":\"c\",\"digest\":\"" D "\",\"size\":7}"

static void reads_a_manifest(void **state)
{
	static const char text[] = "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER
				   "," LAYER "],\"annotations\":{\"a\":\"b\"},\"subject\":null}";
	struct arena a = ARENA_INIT(1 << 20);
	struct image_manifest m;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(image_manifest_parse(text, strlen(text), "m", &a, &m, &e), 0);
	assert_false(m.is_index);
	assert_int_equal(m.layers_n, 2);
	assert_int_equal(m.config.size, 7);
	assert_int_equal(layer_packing(m.layers[1].media_type), LAYER_GZIP);
	assert_string_equal(m.annotations.v[0].value, "b");
	arena_fini(&a);
}

static void picks_a_platform(void **state)
{
	static const char text[] = "{\"schemaVersion\":2,\"manifests\":["
				   "{\"mediaType\":\"m\",\"digest\":\"" D
				   "\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":"
				   "\"arm64\",\"variant\":\"v8\"}},"
				   "{\"mediaType\":\"m\",\"digest\":\"" D
				   "\",\"size\":2,\"platform\":{\"os\":\"linux\",\"architecture\":"
				   "\"amd64\"}}]}";
	struct arena a = ARENA_INIT(1 << 20);
	struct image_manifest m;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(image_manifest_parse(text, strlen(text), "m", &a, &m, &e), 0);
	assert_int_equal(image_index_pick(&m, "linux", "amd64", NULL)->size, 2);
	assert_int_equal(image_index_pick(&m, "linux", "arm64", NULL)->size, 1);
	assert_null(image_index_pick(&m, "linux", "arm64", "v7"));
	assert_null(image_index_pick(&m, "windows", "amd64", NULL));
	arena_fini(&a);
}

struct row {
	const char *text, *says;
};

static void refuse(const struct row *rows, size_t n, bool config)
{
	for (size_t i = 0; i < n; i++) {
		struct arena a = ARENA_INIT(1 << 20);
		struct image_manifest m;
		struct image_config c;
		struct err e = ERR_INIT;
		int r = config ? image_config_parse(rows[i].text, strlen(rows[i].text), "c", &a, &c,
						    &e)
			       : image_manifest_parse(rows[i].text, strlen(rows[i].text), "m", &a,
						      &m, &e);

		if (r >= 0 || !strstr(e.msg, rows[i].says))
			fail_msg("%s: %d '%s', wanted '%s'", rows[i].text, r, e.msg, rows[i].says);
		arena_fini(&a);
	}
}

static void wrong_manifests_are_named(void **state)
{
	static const struct row rows[] = {
		{ "", "m: truncated" },
		{ "[]", "m: not a JSON document of the expected kind" },
		{ "{\"schemaVersion\":1}", "m: schemaVersion: version 1" },
		{ "{\"schemaVersion\":\"2\"}", "m: schemaVersion: expected a whole number" },
		{ "{\"schemaVersion\":2}", "neither manifests nor layers" },
		{ "{\"schemaVersion\":2,\"layers\":[]}", "m: config: missing" },
		{ "{\"schemaVersion\":2,\"layers\":[],\"manifests\":[]}", "both an index" },
		{ "{\"schemaVersion\":2,\"layers\":{}}", "m: layers: expected a list" },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[null]}",
		  "m: layers[0]: missing" },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[5]}",
		  "m: layers[0]: expected" },
		{ "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" D "\",\"size\":1}]}",
		  "m: manifests[0].mediaType: missing" },
		{ "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"m\",\"digest\":\"" D
		  "\"}]}",
		  "m: manifests[0].size: missing" },
		{ "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"m\",\"digest\":\"x\","
		  "\"size\":1}]}",
		  "m: manifests[0].digest: not a sha256 digest" },
		{ "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"m\",\"digest\":\"" D
		  "\",\"size\":1,\"platform\":{\"os\":3}}]}",
		  "m: manifests[0].platform.os: expected a string" },
	};

	(void)state;
	refuse(rows, ARRAY_SIZE(rows), false);
}

static void wrong_configurations_are_named(void **state)
{
	static const struct row rows[] = {
		{ "{}", "c: rootfs: missing" },
		{ "{\"rootfs\":{}}", "c: rootfs.type: expected \"layers\"" },
		{ "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D "\",\"" D "\",\"no\"]}}",
		  "c: rootfs.diff_ids[2]: not a sha256 digest" },
		{ "{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"Env\":[\"A=1\",\"B\"]}}",
		  "c: config.Env[1]: not of the form" },
		{ "{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"Cmd\":[\"a\",7]}}",
		  "c: config.Cmd[1]: expected a string" },
		{ "{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"User\":[]}}",
		  "c: config.User: expected a string" },
		{ "{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"Healthcheck\":{\"Retries\":-1}}"
		  "}",
		  "c: config.Healthcheck.Retries" },
		{ "{\"rootfs\":{\"type\":\"layers\"},\"history\":[{\"empty_layer\":1}]}",
		  "c: history[0].empty_layer: expected true or false" },
	};

	(void)state;
	refuse(rows, ARRAY_SIZE(rows), true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_manifest),
		cmocka_unit_test(picks_a_platform),
		cmocka_unit_test(wrong_manifests_are_named),
		cmocka_unit_test(wrong_configurations_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
