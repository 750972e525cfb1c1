/* passt, the program behind a guest's private network. */
#pragma once

#include <limits.h>
#include <stdbool.h>

/* Whether it is installed, and where. */
bool passt_find(char path[PATH_MAX]);
