/*
 * Removing what an instance wrote.
 *
 * Trust: the tree is hostile; see os/tree.c. Threads: any. #syscalls: those of os/tree.c
 */
#include "run/disk.h"

#include <fcntl.h>

#include "os/tree.h"

int disk_remove(const char *path, struct err *e)
{
	int r = tree_remove(AT_FDCWD, path);

	return r ? err_sys(e, r, "remove '%s'", path) : 0;
}
