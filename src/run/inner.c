/*
 * Inner root.
 *
 * A rootless instance's files belong to the user's subordinate ids, which only root of a user namespace with
 * that map may touch. A child enters the instance's namespace, or makes one like it and gets its map from
 * this process, does the work, and sends the outcome back through a pipe.
 *
 * Trust: the child runs our code only. Threads: one; the child is a process of its own.
 * #syscalls: fork unshare setns pipe2 read write waitpid setresuid setresgid setgroups openat prctl
 */
#include "run/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"
#include "os/subid.h"

struct outcome {
	int32_t result;
	struct err err;
};

/* Says that the namespace is there and waits for its map. */
static int make_namespace(int to_parent, int from_parent, struct err *e)
{
	char c = 0;

	if (unshare(CLONE_NEWUSER) < 0)
		return err_sys(e, -errno, "user namespace");
	if (write(to_parent, &c, 1) != 1 || read(from_parent, &c, 1) != 1)
		return err_set(e, -EIO, "user namespace: no map");
	return 0;
}

static int join_namespace(pid_t pid, struct err *e)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWUSER) < 0)
		return err_sys(e, -errno, "user namespace of process %d", (int)pid);
	return 0;
}

static void child(pid_t pid, inner_fn *fn, void *arg, int out, int up, int down)
{
	struct outcome o = { 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	o.result = pid ? join_namespace(pid, &o.err) : make_namespace(up, down, &o.err);
	if (!o.result && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		o.result = err_sys(&o.err, -errno, "become root of the user namespace");
	if (!o.result && !pid && unshare(CLONE_NEWNS) < 0)
		o.result = err_sys(&o.err, -errno, "mount namespace");
	if (!o.result)
		o.result = fn(arg, &o.err);
	fflush(stdout);
	_exit(write_full(out, &o, sizeof(o)) ? 1 : 0);
}

struct pipes {
	int out[2], up[2], down[2];
};

static void close_pipes(struct pipes *p)
{
	for (int i = 0; i < 2; i++) {
		close_fd(&p->out[i]);
		close_fd(&p->up[i]);
		close_fd(&p->down[i]);
	}
}

/* The child waits for one byte; without it, it ends by itself. */
static int give_map(pid_t pid, struct pipes *p, struct err *e)
{
	struct subid_map map;
	char c;

	if (read(p->up[0], &c, 1) != 1)
		return 0;
	int r = subid_load(&map, e);

	if (!r)
		r = subid_apply(pid, &map, e);
	if (!r && write(p->down[1], &c, 1) != 1)
		r = err_sys(e, -EIO, "user namespace");
	return r;
}

static int collect(pid_t pid, struct pipes *p, struct err *e)
{
	struct outcome o;
	int status;
	bool whole = read_full(p->out[0], &o, sizeof(o)) == (ssize_t)sizeof(o);

	waitpid(pid, &status, 0);
	if (!whole)
		return err_set(e, -ECHILD, "the process in the user namespace died");
	err_sanitize(&o.err);
	if (o.result && e)
		*e = o.err;
	return o.result;
}

int inner_root(pid_t pid, inner_fn *fn, void *arg, struct err *e)
{
	cleanup_with(close_pipes) struct pipes p = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	int r = 0;

	if (geteuid() == 0)
		return fn(arg, e);
	if (pipe2(p.out, O_CLOEXEC) < 0 || pipe2(p.up, O_CLOEXEC) < 0 ||
	    pipe2(p.down, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "pipe");
	fflush(stdout);
	pid_t kid = fork();

	if (kid < 0)
		return err_sys(e, -errno, "fork");
	if (kid == 0) {
		close_fd(&p.out[0]);
		close_fd(&p.up[0]);
		close_fd(&p.down[1]);
		child(pid, fn, arg, p.out[1], p.up[1], p.down[0]);
	}
	close_fd(&p.out[1]);
	close_fd(&p.up[1]);
	close_fd(&p.down[0]);
	if (!pid)
		r = give_map(kid, &p, e);
	close_fd(&p.down[1]);
	int done = collect(kid, &p, r ? NULL : e);

	return r ? r : done;
}
