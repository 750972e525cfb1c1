/*
 * Removing what an instance wrote.
 *
 * A rootless instance's files belong to the user's subordinate ids. Only root of a user namespace with the
 * same map may remove them, so a child makes one, gets the map, and does the removal there.
 *
 * Trust: the tree is hostile; see os/tree.c. Threads: any; the child is a process of its own.
 * #syscalls: fork unshare pipe2 read write waitpid setresuid setresgid and those of os/tree.c
 */
#include "run/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/subid.h"
#include "os/tree.h"

/* In the child: says when the namespace is there, waits for its map, removes. Exit status: the errno. */
static void remove_inside(const char *path, int to_parent, int from_parent)
{
	char c = 0;

	if (unshare(CLONE_NEWUSER) < 0)
		_exit(errno);
	if (write(to_parent, &c, 1) != 1 || read(from_parent, &c, 1) != 1)
		_exit(EIO);
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		_exit(errno);
	_exit(-tree_remove(AT_FDCWD, path));
}

static int close_pair(int pair[2])
{
	close_fd(&pair[0]);
	close_fd(&pair[1]);
	return 0;
}

static int remove_as_inner_root(const char *path, struct err *e)
{
	int up[2] = { -1, -1 }, down[2] = { -1, -1 }, status = 0, r = 0;
	struct subid_map map;
	char c = 0;

	if (pipe2(up, O_CLOEXEC) < 0 || pipe2(down, O_CLOEXEC) < 0)
		r = -errno;
	pid_t pid = r ? -1 : fork();

	if (pid == 0) {
		close_fd(&up[0]);
		close_fd(&down[1]);
		remove_inside(path, up[1], down[0]);
	}
	close_fd(&up[1]);
	close_fd(&down[0]);
	if (pid > 0) {
		r = read(up[0], &c, 1) == 1 ? subid_load(&map, e) : 0;
		if (!r)
			r = subid_apply(pid, &map, e);
		/* Without the byte the child ends by itself. */
		if (!r && write(down[1], &c, 1) != 1)
			r = -EIO;
		close_fd(&down[1]);
		if (waitpid(pid, &status, 0) == pid && !r)
			r = WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
	}
	close_pair(up);
	close_pair(down);
	return r;
}

int disk_remove(const char *path, struct err *e)
{
	int r = tree_remove(AT_FDCWD, path);

	if ((r == -EACCES || r == -EPERM) && geteuid() != 0)
		r = remove_as_inner_root(path, e);
	return r ? err_sys(e, r, "remove '%s'", path) : 0;
}
