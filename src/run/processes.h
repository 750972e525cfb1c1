/* Processes as `top` shows them. */
#pragma once

#include <sys/types.h>

struct json_object;

/* An array of objects with UID, PID, PPID, C, STIME, TTY, TIME, CMD. The caller puts it. */
struct json_object *processes_rows(const pid_t *pids, int n);
