/* Everything that changes the image store, or needs its whole list. The work is done by the helper
 * program warren-store, which alone links sqlite; for an ordinary user it runs in a user namespace, since
 * layers hold files of many users. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "wire/json.h"

/* Asks warren-store. `words` are the verb and its arguments (see docs/FORMATS.md, "warren-store"),
 * NULL-terminated. `line` gets each JSON object of the answer; non-zero stops. 0 or -errno with the
 * helper's own error. */
int image_manage(const char *const *words, int (*line)(void *arg, struct json_object *o), void *arg,
		 struct err *e);
