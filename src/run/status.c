/*
 * docker's numbers for what could not be run.
 *
 * Trust: the error is our own. Threads: any. #syscalls: none
 */
#include "run/status.h"

#include <errno.h>

#include "base/str.h"

int exit_status_for(int error, const struct err *e)
{
	if (!str_after(e->msg, "exec '"))
		return 125;
	switch (error) {
	case -ENOENT:
	case -ENOTDIR:
		return 127;
	default:
		return 126;
	}
}
