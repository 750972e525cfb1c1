/*
 * A further process in a running container.
 *
 * The parent points its children at the container's pid namespace and clones into the cgroup; the child enters
 * every other namespace with one setns on the pidfd of the container's init, which also moves it to the
 * container's root. It is born undumpable, so that nobody inside can look at our program's memory or
 * descriptors, or reach its file, while it is on the way. Then it becomes the command as init does
 * (container/process.c).
 *
 * Trust: the container's processes are hostile and see us from the clone on. Threads: the caller has one.
 * #syscalls: setns clone3 socketpair prctl setsid openat
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "container/clone_int.h"
#include "container/container.h"
#include "container/init_int.h"
#include "container/process_int.h"
#include "container/sync_int.h"
#include "os/sys.h"

struct exec {
	const struct container_exec *x;
	struct process_setup process;
	struct seccomp_program filter;
	int sync_parent, sync_child;
	int root;     /* of a container that has no mount namespace, or -1 */
	bool in_user; /* the user namespace is entered already */
};

static int namespaces_of(const struct oci_linux *l)
{
	static const struct {
		enum oci_ns ns;
		int flag;
	} all[] = {
		{ OCI_NS_NETWORK, CLONE_NEWNET }, { OCI_NS_MOUNT, CLONE_NEWNS },
		{ OCI_NS_IPC, CLONE_NEWIPC },	  { OCI_NS_UTS, CLONE_NEWUTS },
		{ OCI_NS_USER, CLONE_NEWUSER },	  { OCI_NS_CGROUP, CLONE_NEWCGROUP },
		{ OCI_NS_TIME, CLONE_NEWTIME },
	};
	int flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (l->ns[all[i].ns].present)
			flags |= all[i].flag;
	return flags;
}

static int enter_user(void *arg, struct err *e)
{
	struct exec *x = arg;

	if (setns(x->x->pidfd, CLONE_NEWUSER) < 0)
		return err_sys(e, -errno, "enter the user namespace");
	x->in_user = true;
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return 0; /* a namespace without root: we stay who we are */
	return 0;
}

static int enter(struct exec *x, struct err *e)
{
	int flags = namespaces_of(x->x->spec->linux_);

	if (x->in_user)
		flags &= ~CLONE_NEWUSER;
	if (flags && setns(x->x->pidfd, flags) < 0)
		return err_sys(e, -errno, "enter the namespaces");
	if ((flags & CLONE_NEWUSER) && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		errno = 0; /* a namespace without root: we stay who we are */
	if (x->root >= 0 && (fchdir(x->root) < 0 || chroot(".") < 0))
		return err_sys(e, -errno, "enter the root");
	close_fd(&x->root);
	return 0;
}

static int take_terminal(struct exec *x, struct err *e)
{
	cleanup_fd int root = -1, slave = -1, master = -1;

	if (!x->process.process->terminal)
		return 0;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, -errno, "open '/'");
	master = terminal_open(root, x->process.process, &slave, e);
	if (master < 0)
		return master;
	int err = sync_send(x->sync_child, SYNC_TERMINAL, 0, NULL, master);

	if (!err)
		err = process_take_terminal(slave);
	return err ? err_sys(e, err, "terminal") : 0;
}

__attribute__((noreturn)) static void exec_main(struct exec *x)
{
	struct err e = ERR_INIT;
	int err = cgroup_join(x->x->cgroup, &e);

	x->process.sync = x->sync_child;
	if (!err)
		err = process_affinity(x->process.process->cpu_affinity_final, &e);
	/* procfs answers for the writer: limits that need /proc come before the user namespace. */
	if (!err)
		err = process_limits(&x->process, &e);
	if (!err)
		err = enter(x, &e);
	if (!err && setsid() < 0)
		err = err_sys(&e, -errno, "setsid");
	if (!err)
		err = take_terminal(x, &e);
	if (!err)
		err = process_become(&x->process, &e);
	bool at_program = !err;

	if (!err)
		err = process_find(&x->process, &e);
	if (!err)
		err = process_exec(&x->process, &e);
	sync_send(x->sync_child, SYNC_ERROR, at_program, &e, -1);
	_exit(err == -ENOENT ? 127 : 126);
}

static int prepare(struct exec *x, const struct container_exec *a, struct err *e)
{
	const struct oci_linux *l = a->spec->linux_;
	char path[64];
	int ends[2], err = 0;

	x->process = (struct process_setup){
		.process = a->process ? a->process : a->spec->process,
		.linux_ = l,
		.id = a->id,
		.proc = procfs_open(e),
		.stdio = { a->stdio[0], a->stdio[1], a->stdio[2] },
		.preserve_fds = a->preserve_fds,
		.user_ns = l->ns[OCI_NS_USER].present,
		.no_setgroups = l->ns[OCI_NS_USER].present && geteuid() && l->gid_mappings.n == 1 &&
				l->gid_mappings.v[0].size == 1,
		.no_new_keyring = a->no_new_keyring,
	};
	if (x->process.proc < 0)
		return x->process.proc;
	if (!x->process.process || !x->process.process->args.n)
		return err_set(e, -EINVAL, "process.args: missing");
	x->process.selinux = x->process.process->selinux_label && mount_selinux();
	if (l->seccomp) {
		err = container_seccomp_compile(l->seccomp, &x->filter, e);
		if (err)
			return err_wrap(e, "seccomp");
		x->process.seccomp = &x->filter;
	}
	if (!l->ns[OCI_NS_MOUNT].present) {
		snprintf(path, sizeof(path), "/proc/%d/root", (int)a->pid);
		x->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (x->root < 0)
			return err_sys(e, -errno, "the container's root");
	}
	if (a->cgroup->n)
		err = cgroup_open(a->cgroup, e);
	if (!err && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		err = err_sys(e, -errno, "socketpair");
	if (err)
		return err;
	x->sync_parent = ends[0];
	x->sync_child = ends[1];
	return 0;
}

/* A workload that hands its controllers on to groups of its own (systemd does) leaves no room for processes in the
 * group above them (cgroup-v2, "No Internal Process Constraint"): those that join later get a group beside. */
static int open_leaf(int group)
{
	if (mkdirat(group, "exec.warren", 0755) < 0 && errno != EEXIST)
		return -errno;
	return openat(group, "exec.warren", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int make_child(struct exec *x, struct container *out, struct err *e)
{
	const struct container_exec *a = x->x;
	const struct oci_linux *l = a->spec->linux_;
	cleanup_fd int pid_ns = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)a->pid);
	if (l->ns[OCI_NS_PID].present) {
		pid_ns = open(path, O_RDONLY | O_CLOEXEC);
		if (pid_ns < 0)
			return err_sys(e, -errno, "the container's pid namespace");
	}
	struct clone_plan plan = {
		.cgroup_fd = cgroup_clone_fd(a->cgroup),
		.pid_ns = pid_ns,
		.enter = l->ns[OCI_NS_USER].present && geteuid() ? enter_user : NULL,
		.arg = x,
		.sync_parent = x->sync_parent,
		.sync_child = x->sync_child,
	};
	/* Inherited by the clone: between that and a prctl of the child's own somebody inside could take hold of it. */
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, -errno, "hide from the container");
	pid_t pid = clone_child(&plan, &out->pidfd, e);
	cleanup_fd int leaf = -1;

	if (pid == -EBUSY && plan.cgroup_fd >= 0) {
		leaf = open_leaf(plan.cgroup_fd);
		if (leaf >= 0) {
			err_clear(e);
			plan.cgroup_fd = leaf;
			pid = clone_child(&plan, &out->pidfd, e);
		}
	}
	if (pid == 0) {
		close_fd(&x->sync_parent);
		exec_main(x);
	}
	/* 2 is the kernel's to give. */
	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	out->pid = pid;
	close_fd(&x->sync_child);
	return pid < 0 ? pid : 0;
}

static int answer(const struct container_exec *a, struct container *out, const struct sync_msg *m,
		  int fd, struct err *e)
{
	static const char name[] = "/dev/ptmx";
	struct container_state st = {
		.id = a->id,
		.status = "running",
		.bundle = a->bundle,
		.pid = a->pid,
		.annotations = &a->spec->annotations,
	};
	int err = 0;

	if (m->type == SYNC_ERROR)
		return sync_error(m, e);
	if (m->type == SYNC_TERMINAL && a->console_socket < 0) {
		out->master = fd;
		return 0;
	}
	if (m->type == SYNC_TERMINAL) {
		err = sys_send_fd(a->console_socket, name, sizeof(name) - 1, fd);
		if (err)
			err_sys(e, err, "hand the terminal to the console socket");
	} else if (m->type == SYNC_LISTENER && fd >= 0 && a->spec->linux_->seccomp) {
		err = container_pass_listener(a->spec, &st, out->pid, fd, e);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

int container_exec(struct container *out, const struct container_exec *a, struct err *e)
{
	struct exec x = { .x = a, .sync_parent = -1, .sync_child = -1, .root = -1 };
	int err;

	*out = (struct container)CONTAINER_INIT;
	cgroup_init(&out->cgroup);
	x.process.proc = -1;
	err = prepare(&x, a, e);
	if (!err && a->process)
		err = process_affinity(a->process->cpu_affinity_initial, e);
	if (!err)
		err = make_child(&x, out, e);
	while (!err) {
		struct sync_msg m;
		int fd = -1;

		err = sync_recv(x.sync_parent, &m, &fd);
		if (err == -EPIPE) {
			err = 0;
			break;
		}
		err = err ? err_sys(e, err, "listen to the process") : answer(a, out, &m, fd, e);
	}
	if (err && out->pid > 0) {
		kill(out->pid, SIGKILL);
		while (waitpid(out->pid, NULL, __WALL) < 0 && errno == EINTR)
			continue;
	}
	if (err)
		container_fini(out);
	close_fd(&x.sync_parent);
	close_fd(&x.sync_child);
	close_fd(&x.process.proc);
	close_fd(&x.root);
	return err;
}
