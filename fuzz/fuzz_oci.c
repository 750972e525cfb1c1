/* config.json, a lone process, lone resources, a lone seccomp profile. */
#include "fuzz.h"
#include "wire/oci.h"

typedef int parser(const char *json, size_t n, const char *name, struct oci_spec **out,
		   struct err *e);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static parser *const parsers[] = { oci_spec_parse, oci_process_parse, oci_resources_parse,
					   oci_seccomp_parse };
	char *json = fuzz_string(data, size);

	for (size_t i = 0; i < sizeof(parsers) / sizeof(parsers[0]); i++) {
		struct oci_spec *spec = NULL;
		struct err e = ERR_INIT;
		int r = parsers[i](json, size, "config.json", &spec, &e);

		if (r)
			FUZZ_CHECK_ERROR(r, e);
		else
			oci_annotation(spec, "dev.warren.init");
		if (!r)
			oci_spec_free(spec);
	}
	free(json);
	return 0;
}
