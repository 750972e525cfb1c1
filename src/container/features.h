/* What the container wall can do, as the runtime-spec's features document. */
#pragma once

#include "base/buf.h"

/* One JSON object (features.md, features-linux.md). What depends on the host (AppArmor, SELinux) is said as "this
 * program can", as the specification wants it. 0 or the buffer's -errno. */
int container_features(struct buf *out);
