/* What registries and credential files say: challenges, tokens, error lists, auth.json. */
#include "fuzz.h"
#include "wire/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = fuzz_string(data, size), *edited = NULL;
	static struct credentials c, again;
	static char token[65536];
	char text[256];
	struct challenge ch;
	struct err e = ERR_INIT;
	int r = challenge_parse(s, &ch, &e);

	FUZZ_CHECK(r == 0 || r < 0);
	if (r == 0)
		FUZZ_CHECK(ch.bearer || ch.basic);
	token_parse(s, size, token, sizeof(token), &e);
	registry_message(s, size, text, sizeof(text));
	FUZZ_CHECK(memchr(text, '\0', sizeof(text)));
	r = credentials_parse(s, size, "auth.json", "example.org", &c, &e);
	FUZZ_CHECK(r <= 1);
	credentials_parse_helper(s, size, &c, &e);
	r = credentials_edit(s, size, "auth.json", "example.org", "user", "pass:word", &edited, &e);
	if (r == 0) {
		r = credentials_parse(edited, strlen(edited), "auth.json", "example.org", &again,
				      &e);
		if (r == 1 && !again.helper[0])
			FUZZ_CHECK(!strcmp(again.user, "user") &&
				   !strcmp(again.password, "pass:word"));
		free(edited);
	}
	free(s);
	return 0;
}
