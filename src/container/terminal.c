/*
 * The container's terminal: a pair from its own devpts.
 *
 * Trust: the root is hostile. The master is opened inside it and must lie on a devpts; the slave comes from the
 * master by TIOCGPTPEER, so no name is looked up for it. Threads: none; runs in init.
 * #syscalls: openat2 fstatfs ioctl dup3 setsid fchown
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "container/process_int.h"
#include "os/sys.h"

int terminal_open(int root, const struct oci_process *p, int *slave, struct err *e)
{
	cleanup_fd int master = sys_openat2(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0,
					    RESOLVE_IN_ROOT);
	struct winsize size = { .ws_row = p->rows, .ws_col = p->cols };
	struct statfs st;
	int unlock = 0;

	if (master < 0)
		return err_sys(e, master, "terminal: /dev/pts/ptmx");
	if (fstatfs(master, &st) < 0 || st.f_type != DEVPTS_SUPER_MAGIC)
		return err_set(e, -ENODEV, "terminal: the container's /dev/pts is not a devpts");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_sys(e, -errno, "terminal: unlock");
	if ((p->rows || p->cols) && ioctl(master, TIOCSWINSZ, &size) < 0)
		return err_sys(e, -errno, "terminal: set its size");
	*slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave < 0)
		return err_sys(e, -errno, "terminal: open its other end");
	if (p->uid && fchown(*slave, p->uid, (gid_t)-1) < 0) {
		int err = err_sys(e, -errno, "terminal: hand it to the user");

		close_fd(slave);
		return err;
	}
	return steal_fd(&master);
}

int process_take_terminal(int slave)
{
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return -errno;
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			return -errno;
	return 0;
}
