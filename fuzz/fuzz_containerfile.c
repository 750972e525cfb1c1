/* Containerfiles: instructions, expansion, words and lists. */
#include "base/arena.h"
#include "fuzz.h"
#include "wire/containerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_string(data, size);
	char pair[] = "A=value";
	char *vars[] = { pair, NULL };
	const struct strlist known = { vars, 1 };
	struct arena a;
	struct err e = ERR_INIT;
	struct instruction *steps;
	size_t n;

	arena_init(&a, 64 << 20);
	int r = containerfile_parse(text, size, "Containerfile", &a, &steps, &n, &e);

	if (r)
		FUZZ_CHECK_ERROR(r, e);
	for (size_t i = 0; !r && i < n; i++) {
		struct strlist words = { 0 };
		char *s = containerfile_expand(steps[i].args, &known);

		FUZZ_CHECK(*steps[i].args && steps[i].line);
		if (s && containerfile_list(s, &words) == 0)
			containerfile_words(s, &words);
		strlist_fini(&words);
		free(s);
	}
	arena_fini(&a);
	free(text);
	return 0;
}
