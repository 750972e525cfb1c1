/* --format templates, over a document with every kind of value. */
#include <errno.h>
#include <json-c/json.h>

#include "base/buf.h"
#include "fuzz.h"
#include "wire/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct json_object *document;
	char *text = fuzz_string(data, size), *plain;
	struct buf out = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;

	if (!document)
		document = json_tokener_parse("{\"ID\":\"abc\",\"Names\":[\"a\",\"b\"],\"N\":7,"
					      "\"F\":1.5,\"T\":true,\"Z\":null,"
					      "\"M\":{\"k\":\"v\",\"L\":[{\"x\":1},{\"x\":2}]},"
					      "\"Labels\":{\"a.b\":\"c\"}}");
	int r = template_render(text, document, &out, &e);

	if (r == -EINVAL)
		FUZZ_CHECK_ERROR(r, e);
	plain = template_unescape(text);
	FUZZ_CHECK(!plain || strlen(plain) <= strlen(text));
	free(plain);
	free(text);
	buf_fini(&out);
	return 0;
}
