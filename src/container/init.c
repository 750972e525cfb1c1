/*
 * Init: from the clone to the command.
 *
 * The story, in order: make the network namespace; wait until the parent has mapped ids (only with a new
 * user namespace); join the namespaces that have a path; name the host, wake the loopback, set sysctls; build the root,
 * all that while the parent makes the cgroups, which takes as long; join the cgroups by our own hand, then make the
 * cgroup namespace, which must come after them (both earlier where the root shows the cgroups); let the hooks run; make the root "/";
 * open the terminal; become the user; tell the parent "created"; wait for the start; exec.
 *
 * An error at any step goes to the parent whole, over the sync socket, and ends this process. So does the end
 * of the parent: whoever waits on the socket sees it closed. Once created, a detached init waits at
 * start.sock instead.
 *
 * Trust: the config is the operator's, the root directory hostile. Threads: one.
 * #syscalls: setns unshare sethostname setdomainname socket ioctl accept4 getsockopt setsid setresuid setresgid
 * prctl recvmsg sendmsg exit_group
 */
#include "container/init_int.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "container/hooks_int.h"
#include "container/resolve_int.h"
#include "container/sync_int.h"
#include "os/sys.h"

int init_wait_for_parent(struct init *in, struct err *e)
{
	if (!in->wait_for_parent)
		return 0;
	int err = sync_send(in->sync, SYNC_MAP, 0, NULL, -1);

	if (err)
		return err_sys(e, err, "ask for id mappings");
	err = sync_expect(in->sync, SYNC_GO, e);
	if (err || !in->new_user)
		return err;
	/* From the overflow id to the namespace's root, if it has one. */
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		log_debug("the user namespace has no root: %s", strerror(errno));
	/* Our own files in /proc belong to us again. Nobody else is in here yet. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return 0;
}

static bool is_new(const struct oci_linux *l, enum oci_ns ns)
{
	return l->ns[ns].present && !l->ns[ns].path;
}

/* From here to the exec we have no more rights than processes of other containers may have, but no seccomp filter
 * yet: those who see us must not trace us. Only where nobody else sees us, in pid and user namespaces of our own,
 * an ordinary user goes on to reach us. */
static int hide(struct init *in, struct err *e)
{
	const struct oci_linux *l = in->args->spec->linux_;

	if (is_new(l, OCI_NS_PID) && l->ns[OCI_NS_USER].present)
		return 0;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? err_sys(e, -errno, "hide") : 0;
}

/* Those who are in the user namespace have its rights over us from the moment when we are. What hides may not
 * write to its own files in /proc there, so that comes before. */
static int join_user(struct init *in, struct err *e)
{
	int err = process_oom_score(&in->process, e);

	if (!err)
		err = hide(in, e);
	if (!err && setns(in->ns_fds[OCI_NS_USER], CLONE_NEWUSER) < 0)
		err = err_sys(e, -errno, "join the user namespace '%s'",
			      in->args->spec->linux_->ns[OCI_NS_USER].path);
	if (err)
		return err;
	close_fd(&in->ns_fds[OCI_NS_USER]);
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		log_debug("the user namespace has no root: %s", strerror(errno));
	return 0;
}

static int join_one(struct init *in, enum oci_ns ns, int flag, const char *name, struct err *e)
{
	int *fd = &in->ns_fds[ns];

	if (*fd < 0)
		return 0;
	if (setns(*fd, flag) < 0)
		return err_sys(e, -errno, "join the %s namespace '%s'", name,
			       in->args->spec->linux_->ns[ns].path);
	close_fd(fd);
	return 0;
}

int init_join(struct init *in, struct err *e)
{
	static const struct {
		enum oci_ns ns;
		int flag;
		const char *name;
	} order[] = {
		{ OCI_NS_NETWORK, CLONE_NEWNET, "network" },
		{ OCI_NS_IPC, CLONE_NEWIPC, "ipc" },
		{ OCI_NS_UTS, CLONE_NEWUTS, "uts" },
		{ OCI_NS_CGROUP, CLONE_NEWCGROUP, "cgroup" },
		{ OCI_NS_TIME, CLONE_NEWTIME, "time" },
		{ OCI_NS_MOUNT, CLONE_NEWNS, "mount" },
	};
	bool user = in->ns_fds[OCI_NS_USER] >= 0;

	/* Some belong to the host and are joined with our rights there, some to the user namespace. */
	for (int round = user ? 0 : 1; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
			int err = join_one(in, order[i].ns, order[i].flag, order[i].name, e);

			if (err == -EPERM && round == 0)
				err_clear(e);
			else if (err)
				return err;
		}
		if (round == 0) {
			int err = join_user(in, e);

			if (err)
				return err;
		}
	}
	return 0;
}

static int wake_loopback(struct err *e)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &req) < 0)
		return err_sys(e, -errno, "bring up the loopback interface");
	return 0;
}

static int set_up_namespaces(struct init *in, struct err *e)
{
	const struct oci_spec *spec = in->args->spec;
	const struct oci_linux *l = spec->linux_;
	int err = init_join(in, e);

	if (err)
		return err;
	if (spec->hostname && *spec->hostname) {
		if (!l->ns[OCI_NS_UTS].present)
			return err_set(e, -EINVAL, "hostname: there is no uts namespace");
		if (sethostname(spec->hostname, strlen(spec->hostname)) < 0)
			return err_sys(e, -errno, "hostname '%s'", spec->hostname);
	}
	if (spec->domainname && *spec->domainname) {
		if (!l->ns[OCI_NS_UTS].present)
			return err_set(e, -EINVAL, "domainname: there is no uts namespace");
		if (setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
			return err_sys(e, -errno, "domainname '%s'", spec->domainname);
	}
	if (is_new(l, OCI_NS_NETWORK))
		err = wake_loopback(e);
	return err ? err : procfs_sysctls(in->process.proc, l, e);
}

static int run_hooks(struct init *in, enum oci_hook_stage stage, const char *status, struct err *e)
{
	const struct container_args *a = in->args;
	struct container_state st = {
		.id = a->id,
		.status = status,
		.bundle = a->bundle,
		.pid = getpid(),
		.annotations = &a->spec->annotations,
	};

	return a->spec->hooks[stage].n ? hooks_run(a->spec, stage, &st, e) : 0;
}

/* The runtime's own hooks run outside, by the parent. */
static int run_create_hooks(struct init *in, struct err *e)
{
	const struct oci_spec *spec = in->args->spec;
	int err = 0;

	if (spec->hooks[OCI_HOOK_PRESTART].n || spec->hooks[OCI_HOOK_CREATE_RUNTIME].n ||
	    spec->linux_->net_devices_n) {
		err = sync_send(in->sync, SYNC_HOOKS, 0, NULL, -1);
		if (err)
			return err_sys(e, err, "ask for hooks");
		err = sync_expect(in->sync, SYNC_GO, e);
	}
	return err ? err : run_hooks(in, OCI_HOOK_CREATE_CONTAINER, "created", e);
}

static int make_cwd(struct init *in)
{
	if (!in->rootfs.new_mount)
		return 0;
	int fd = root_make(in->rootfs.root, in->args->spec->process->cwd, true);

	if (fd >= 0)
		close(fd);
	return 0;
}

static int set_up_terminal(struct init *in, struct err *e)
{
	const struct oci_process *p = in->args->spec->process;
	cleanup_fd int slave = -1;

	if (!p->terminal)
		return 0;
	cleanup_fd int master = terminal_open(in->rootfs.root, p, &slave, e);

	if (master < 0)
		return master;
	int err = console_mount(&in->rootfs, slave, e);

	if (err)
		return err;
	err = sync_send(in->sync, SYNC_TERMINAL, 0, NULL, master);
	if (!err)
		err = process_take_terminal(slave);
	return err ? err_sys(e, err, "terminal") : 0;
}

/* What the parent had open for itself, its lock on the instance above all, ends here. */
static void leave_parent(struct init *in)
{
	if (in->args->dir >= 0)
		close(in->args->dir);
	if (in->args->console_socket >= 0)
		close(in->args->console_socket);
}

/* Ways to the host that waiting needs no more. */
static void close_host(struct init *in)
{
	close_fd(&in->rootfs.root);
	close_fd(&in->rootfs.null);
	close_fd(&in->process.proc);
}

/* What the parent makes while we make our network namespace and build the root. */
static int receive_cgroup(struct init *in, struct err *e)
{
	int fds[SYS_FDS_MAX], n = 0, kept = 0;
	int err = sync_expect_fds(in->sync, SYNC_CGROUP, &kept, fds, &n, e);

	if (err)
		return err;
	cgroup_keep(in->cgroup, (uint32_t)kept);
	cgroup_take_fds(in->cgroup, fds, n);
	return 0;
}

static int join_cgroup(struct init *in, struct err *e)
{
	int err = in->cgroup->pending ? receive_cgroup(in, e) : 0;

	if (!err)
		err = cgroup_join(in->cgroup, e);
	cgroup_close(in->cgroup);
	return err;
}

/* A cgroup namespace starts where we are, so it comes after the cgroup. */
static int enter_cgroup(void *arg, struct err *e)
{
	struct init *in = arg;
	int err = in->in_cgroup ? 0 : join_cgroup(in, e);

	in->in_cgroup = true;
	if (!err && in->rootfs.new_cgroup && !in->in_cgroup_ns && unshare(CLONE_NEWCGROUP) < 0)
		err = err_sys(e, -errno, "new cgroup namespace");
	in->in_cgroup_ns = true;
	return err;
}

static int create(struct init *in, struct err *e)
{
	int err = 0;

	if (in->unshare_net && unshare(CLONE_NEWNET) < 0)
		err = err_sys(e, -errno, "new network namespace");
	/* The parent answers in order: when we ask for something, this comes first. */
	if (!err && in->wait_for_parent) {
		err = join_cgroup(in, e);
		in->in_cgroup = true;
	}
	in->rootfs.enter_cgroup = enter_cgroup;
	in->rootfs.enter_arg = in;
	if (!err)
		err = init_wait_for_parent(in, e);
	if (!err)
		err = set_up_namespaces(in, e);
	if (!err && setsid() < 0)
		err = err_sys(e, -errno, "setsid");
	if (!err)
		err = rootfs_build(&in->rootfs, e);
	if (!err)
		err = enter_cgroup(in, e);
	if (!err)
		err = make_cwd(in);
	if (!err)
		err = set_up_terminal(in, e);
	if (!err)
		err = run_create_hooks(in, e);
	if (!err)
		err = rootfs_seal(&in->rootfs, e);
	if (!err)
		err = rootfs_enter(&in->rootfs, e);
	if (!err)
		err = process_limits(&in->process, e);
	if (!err)
		err = hide(in, e);
	return err ? err : process_become(&in->process, e);
}

/* Whether the peer is of the user who made us, and not one of the container itself: that has a number in our pid
 * namespace when this is a new one. */
static bool may_start(const struct init *in, const struct ucred *creator, int fd)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
	       peer.uid == creator->uid &&
	       (!is_new(in->args->spec->linux_, OCI_NS_PID) || !peer.pid);
}

/* Another process starts us: the first peer that may, and that asks for it. */
static int wait_at_socket(struct init *in, struct err *e)
{
	struct ucred creator;
	socklen_t n = sizeof(creator);
	int err = sync_expect(in->sync, SYNC_GO, e);

	if (err)
		return err;
	if (getsockopt(in->sync, SOL_SOCKET, SO_PEERCRED, &creator, &n) < 0)
		return err_sys(e, -errno, "wait for the start");
	close_fd(&in->sync);
	for (;;) {
		int fd = accept4(in->listen, NULL, NULL, SOCK_CLOEXEC);
		struct sync_msg m;

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			return err_sys(e, -errno, "wait for the start");
		if (sync_recv(fd, &m, NULL) == 0 && m.type == SYNC_START) {
			struct err no = ERR_INIT;

			if (may_start(in, &creator, fd)) {
				in->sync = fd;
				close_fd(&in->listen);
				return 0;
			}
			err_set(&no, -EPERM, "only the user who created it can start it");
			sync_send(fd, SYNC_ERROR, 0, &no, -1);
		}
		close(fd);
	}
}

static int wait_for_start(struct init *in, struct err *e)
{
	int err = in->go_on ? 0 : sync_send(in->sync, SYNC_CREATED, 0, NULL, -1);

	if (err)
		return err_sys(e, err, "report");
	return in->listen >= 0 ? wait_at_socket(in, e) : sync_expect(in->sync, SYNC_START, e);
}

void init_main(struct init *in)
{
	struct err e = ERR_INIT;
	bool at_program = false;

	leave_parent(in);
	int err = create(in, &e);

	close_host(in);
	if (!err) {
		err = process_find(&in->process, &e);
		at_program = err;
	}
	if (!err)
		err = wait_for_start(in, &e);
	if (!err)
		err = run_hooks(in, OCI_HOOK_START_CONTAINER, "created", &e);
	in->process.sync = in->sync;
	if (!err) {
		err = process_exec(&in->process, &e);
		at_program = true;
	}
	sync_send(in->sync, SYNC_ERROR, at_program, &e, -1);
	_exit(err == -ENOENT ? 127 : 126);
}
