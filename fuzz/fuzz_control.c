/* The keeper's control protocol, from both sides: an accepted packet prints as it came. */
#include "fuzz.h"
#include "wire/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1), head[CONTROL_HEAD];

	FUZZ_CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	for (int to_keeper = 0; to_keeper < 2; to_keeper++) {
		struct control_msg m;
		struct err e = ERR_INIT;
		int r = control_parse(copy, size, to_keeper, &m, &e);

		if (r) {
			FUZZ_CHECK_ERROR(r, e);
			continue;
		}
		FUZZ_CHECK(m.n == size - CONTROL_HEAD && m.n <= CONTROL_BODY_MAX);
		control_head(&m, head);
		FUZZ_CHECK(memcmp(head, copy, CONTROL_HEAD) == 0);
	}
	free(copy);
	return 0;
}
