/* Messages from the system bus. */
#include "fuzz.h"
#include "wire/dbus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct dbus_msg m;
	size_t used = 0;

	FUZZ_CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	int r = dbus_parse(copy, size, &m, &used);

	if (r == 1) {
		struct dbus_reader reader = { m.body, m.body_n, 0 };
		const char *s;
		uint32_t v;
		size_t total = 0;

		FUZZ_CHECK(used <= size && used <= DBUS_MESSAGE_MAX);
		const char *const strings[] = { m.path,	      m.interface,   m.member,
						m.error_name, m.destination, m.sender,
						m.signature };

		for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
			total += strings[i] ? strlen(strings[i]) : 0;
		FUZZ_CHECK(total < size);
		while (!dbus_get_string(&reader, &s))
			FUZZ_CHECK(strlen(s) < size);
		reader.at = 0;
		while (!dbus_get_u32(&reader, &v))
			;
		reader.at = 0;
		while (!dbus_get_signature(&reader, &s))
			FUZZ_CHECK(strlen(s) < size);
	}
	free(copy);
	return 0;
}
