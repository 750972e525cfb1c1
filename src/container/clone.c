/*
 * Making the process that becomes a container's.
 *
 * Usually one clone3. A pid or time namespace cannot be entered by a process for itself, only for its children: the
 * caller points itself there for the moment of the clone and back. An ordinary user may only do that inside the
 * user namespace; then an intermediate process enters it first and makes the child with CLONE_PARENT, so that it is
 * the caller's child all the same.
 *
 * Trust: none decided here. Threads: the caller has one (setns and unshare change the calling thread).
 * #syscalls: clone3 setns unshare openat write pidfd_open wait4 close
 */
#include "container/clone_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "container/sync_int.h"
#include "os/file.h"
#include "os/sys.h"

static pid_t plain_clone(const struct clone_plan *p, uint64_t more, int *pidfd)
{
	int fd = -1;
	struct clone_args args = {
		.flags = p->flags | more | (pidfd ? CLONE_PIDFD : 0),
		.pidfd = (uint64_t)(uintptr_t)&fd,
		.exit_signal = more & CLONE_PARENT ? 0 : SIGCHLD,
	};

	if (p->cgroup_fd >= 0 && !(more & CLONE_PARENT)) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)p->cgroup_fd;
	}
	pid_t pid = sys_clone3(&args);

	if (pid > 0 && pidfd)
		*pidfd = fd;
	return pid;
}

/* Before a first process is in the new namespace, and from outside it (time_namespaces(7)). */
static int write_offsets(const struct oci_linux *l)
{
	char text[160];
	int n = 0;

	if (l->monotonic.set)
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "monotonic %" PRId64 " %" PRIu32 "\n", l->monotonic.secs,
			      l->monotonic.nanosecs);
	if (l->boottime.set)
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "boottime %" PRId64 " %" PRIu32 "\n", l->boottime.secs,
			      l->boottime.nanosecs);
	return n ? file_poke(AT_FDCWD, "/proc/self/timens_offsets", text) : 0;
}

static int point_children(const struct clone_plan *p, struct err *e)
{
	if (p->time) {
		if (unshare(CLONE_NEWTIME) < 0)
			return err_sys(e, -errno, "new time namespace");
		int err = write_offsets(p->time);

		if (err)
			return err_sys(e, err, "timeOffsets");
	}
	if (p->pid_ns >= 0 && setns(p->pid_ns, CLONE_NEWPID) < 0)
		return err_sys(e, -errno, "join the pid namespace");
	return 0;
}

/* In the intermediate process: never returns but in the child, with 0. */
static pid_t in_between(const struct clone_plan *p)
{
	struct err e = ERR_INIT;
	int err = p->enter ? p->enter(p->arg, &e) : 0;
	pid_t pid = 0;

	if (!err)
		err = point_children(p, &e);
	if (!err) {
		struct clone_plan last = *p;

		last.flags &= ~(uint64_t)CLONE_NEWUSER;
		pid = plain_clone(&last, CLONE_PARENT, NULL);
		if (pid == 0)
			return 0;
		if (pid < 0)
			err = err_sys(&e, pid, "clone");
	}
	if (err)
		sync_send(p->sync_child, SYNC_ERROR, 0, &e, -1);
	else
		sync_send(p->sync_child, SYNC_PID, pid, NULL, -1);
	_exit(err ? 1 : 0);
}

static pid_t clone_through(const struct clone_plan *p, int *pidfd, struct err *e)
{
	struct clone_plan first = *p;
	struct sync_msg m;

	first.flags = 0;
	pid_t between = plain_clone(&first, 0, NULL);

	if (between < 0)
		return err_sys(e, between, "clone");
	if (!between)
		return in_between(p);
	int err = sync_recv(p->sync_parent, &m, NULL);

	if (!err && m.type == SYNC_MAP && p->map) {
		err = p->map(p->arg, between, e);
		if (err) {
			kill(between, SIGKILL);
		} else {
			sync_send(p->sync_parent, SYNC_GO, 0, NULL, -1);
			err = sync_recv(p->sync_parent, &m, NULL);
		}
	}
	while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
		continue;
	if (e->code)
		return e->code;
	if (err)
		return err_sys(e, err, "the process in between is gone");
	if (m.type == SYNC_ERROR) {
		*e = m.err;
		return e->code;
	}
	if (m.type != SYNC_PID || m.value <= 0)
		return err_sys(e, -EPROTO, "the process in between");
	*pidfd = pidfd_open(m.value, 0);
	return *pidfd < 0 ? err_sys(e, -errno, "pidfd of %d", m.value) : m.value;
}

pid_t clone_child(const struct clone_plan *p, int *pidfd, struct err *e)
{
	cleanup_fd int own_pid = -1, own_time = -1;
	pid_t pid;

	if (p->enter && (p->always || p->time || p->pid_ns >= 0))
		return clone_through(p, pidfd, e);
	if (p->pid_ns >= 0)
		own_pid = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (p->time)
		own_time = open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);
	int err = point_children(p, e);

	if (err)
		return err;
	pid = plain_clone(p, 0, pidfd);
	if (pid == 0)
		return 0;
	if (pid < 0)
		pid = err_sys(e, pid, "clone%s",
			      pid == -EPERM && geteuid()
				      ? ": an ordinary user needs a user namespace"
				      : "");
	if ((own_pid >= 0 && setns(own_pid, CLONE_NEWPID) < 0) ||
	    (own_time >= 0 && setns(own_time, CLONE_NEWTIME) < 0)) {
		err = err_sys(e, -errno, "return to our own namespaces");
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			close_fd(pidfd);
		}
		return err;
	}
	return pid;
}
