/* registries.conf: what is read must answer for any name. */
#include "fuzz.h"
#include "wire/registries.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "debian", "a/b:1", "docker.io/x",
					     "a.example.org:5/x/y",
					     "quay.io/x@sha256:0123456789abcdef0123456789abcdef0123"
					     "456789abcdef0123456789abcdef" };
	char *text = fuzz_string(data, size);
	struct registries c = { .n = 0 };
	struct err e = ERR_INIT;
	int r = registries_parse(&c, text, size, "f", &e);

	FUZZ_CHECK(r <= 0);
	for (size_t i = 0; !r && i < sizeof(names) / sizeof(names[0]); i++) {
		struct strlist l = { .n = 0 };
		struct reference ref, out;
		bool insecure;

		registries_candidates(&c, names[i], &l, NULL);
		FUZZ_CHECK(l.n);
		strlist_fini(&l);
		if (reference_parse(names[i], &ref, NULL))
			continue;
		const struct registries_rule *rule = registries_find(&c, &ref);

		for (size_t k = 0; registries_place(rule, &ref, k, &out, &insecure, NULL) == 1; k++)
			FUZZ_CHECK(k < 1000 && *out.registry && *out.repository);
	}
	registries_fini(&c);
	free(text);
	return 0;
}
