/*
 * Removing what an instance wrote.
 *
 * Trust: the tree is hostile; see os/tree.c. Threads: one. #syscalls: those of os/tree.c and run/inner.c
 */
#include "run/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "os/tree.h"
#include "run/inner.h"

static int remove_it(void *arg, struct err *e)
{
	const char *path = arg;
	int r = tree_remove(AT_FDCWD, path);

	return r ? err_sys(e, r, "remove '%s'", path) : 0;
}

int disk_remove(const char *path, struct err *e)
{
	int r = tree_remove(AT_FDCWD, path);

	if ((r == -EACCES || r == -EPERM) && geteuid() != 0)
		return inner_root(0, remove_it, (void *)(uintptr_t)path, e);
	return r ? err_sys(e, r, "remove '%s'", path) : 0;
}
