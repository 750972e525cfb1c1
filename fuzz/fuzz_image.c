/* Manifests, indexes and configurations of images. */
#include "base/arena.h"
#include "fuzz.h"
#include "wire/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *json = fuzz_string(data, size);
	struct arena a;
	struct err e = ERR_INIT;
	struct image_config config;
	struct image_manifest manifest;
	struct docker_entry *entries;
	size_t n;

	arena_init(&a, 64 << 20);
	int r = image_config_parse(json, size, "config", &a, &config, &e);

	if (r)
		FUZZ_CHECK_ERROR(r, e);
	err_clear(&e);
	r = image_manifest_parse(json, size, "manifest", &a, &manifest, &e);
	if (r)
		FUZZ_CHECK_ERROR(r, e);
	else if (manifest.is_index)
		image_index_pick(&manifest, "linux", "amd64", NULL);
	for (size_t i = 0; !r && i < manifest.layers_n; i++)
		layer_packing(manifest.layers[i].media_type);
	err_clear(&e);
	r = docker_manifest_parse(json, size, "manifest.json", &a, &entries, &n, &e);
	if (r)
		FUZZ_CHECK_ERROR(r, e);
	arena_fini(&a);
	free(json);
	return 0;
}
