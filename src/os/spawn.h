/* Other programs, started with three descriptors of our choice and waited for. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/* Starts `path` with descriptors 0, 1 and 2 as given (-1: /dev/null) and no other that is close-on-exec;
 * signals are unblocked and default. The environment is ours. 0 or -errno with `e` set. */
int spawn_program(pid_t *pid, const char *path, const char *const *argv, const int stdio[3],
		  struct err *e);

/* As spawn_program, found in PATH, with the end of a pipe in `*stderr_fd` from which spawn_finish reads
 * what the program complains about. `stdio[2]` is not used. */
int spawn_with_stderr(pid_t *pid, const char *path, const char *const *argv, const int stdio[3],
		      int *stderr_fd, struct err *e);

/* Waits for a program of ours, reads and closes `stderr_fd` (-1: none). 0 when it ended with 0; else
 * -EPROTO and `e` says "<what>: <its last words, or how it ended>". */
int spawn_finish(pid_t pid, int stderr_fd, const char *what, struct err *e);
