/* Points in time on the command line. */
#pragma once

#include <time.h>

#include "base/err.h"

/* RFC 3339 (with or without zone, then local time), Unix seconds with or without fraction, or a duration
 * that lies back ("10m"). 0, or -EINVAL naming `option`. */
int when_parse(const char *option, const char *s, struct timespec *t, struct err *e);
