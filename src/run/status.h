/* Exit statuses of commands that could not be run. */
#pragma once

#include "base/err.h"

/* 127: not found; 126: found but cannot be executed; 125: anything that is not the command's fault. A wall
 * that refuses the command itself says "exec 'x': why". */
int exit_status_for(int error, const struct err *e);
