/*
 * The parent's side of a container: prepares what init needs, clones it, answers it, starts it.
 *
 * What both sides need is made before the clone, in memory that the child inherits: the config is parsed,
 * descriptors are opened. After it both sides work in parallel: the child makes its network namespace and builds
 * the root while the parent makes the cgroups, compiles the filter into memory that they share, writes its record
 * and, with the systemd manager, waits for the scope. They speak by
 * container/sync_int.h. Whatever fails here, the child is killed and reaped and the cgroup removed.
 *
 * Trust: the config's paths are the operator's. Threads: the caller has one. #syscalls: socketpair bind listen
 * clone3 connect pidfd_send_signal kill wait4 poll mmap munmap
 */
#include "container/container.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/util.h"
#include "container/clone_int.h"
#include "container/hooks_int.h"
#include "container/init_int.h"
#include "container/netdev_int.h"
#include "container/sync_int.h"
#include "container/userns_int.h"
#include "os/seal.h"
#include "os/sys.h"

static const struct {
	enum oci_ns ns;
	uint64_t flag;
} clone_flags[] = {
	{ OCI_NS_PID, CLONE_NEWPID },  { OCI_NS_NETWORK, CLONE_NEWNET },
	{ OCI_NS_MOUNT, CLONE_NEWNS }, { OCI_NS_IPC, CLONE_NEWIPC },
	{ OCI_NS_UTS, CLONE_NEWUTS },  { OCI_NS_USER, CLONE_NEWUSER },
};

void container_fini(struct container *c)
{
	close_fd(&c->pidfd);
	close_fd(&c->sync);
	close_fd(&c->master);
	cgroup_fini(&c->cgroup);
}

static bool is_new(const struct oci_linux *l, enum oci_ns ns)
{
	return l->ns[ns].present && !l->ns[ns].path;
}

/* What is made by mounts needs a namespace to make them in that nobody else uses. */
static int check_mounts(const struct oci_spec *spec, struct err *e)
{
	const struct oci_linux *l = spec->linux_;
	const char *what = l->masked_paths.n	 ? "linux.maskedPaths"
			   : l->readonly_paths.n ? "linux.readonlyPaths"
			   : spec->root_readonly ? "root.readonly"
						 : NULL;

	if (!what || is_new(l, OCI_NS_MOUNT))
		return 0;
	return err_set(e, -EINVAL, "config.json: %s: there is no new mount namespace for it", what);
}

static int check(const struct container_args *a, struct err *e)
{
	const struct oci_spec *spec = a->spec;

	if (!spec->linux_)
		return err_set(e, -EINVAL, "config.json: linux: missing");
	if (!spec->process)
		return err_set(e, -EINVAL, "config.json: process: missing");
	if (!spec->process->args.n)
		return err_set(e, -EINVAL, "config.json: process.args: missing");
	if (!spec->root_path)
		return err_set(e, -EINVAL, "config.json: root: missing");
	if (is_new(spec->linux_, OCI_NS_USER) &&
	    (!spec->linux_->uid_mappings.n || !spec->linux_->gid_mappings.n))
		return err_set(e, -EINVAL,
			       "config.json: linux.uidMappings, gidMappings: a new user namespace "
			       "needs them");
	if (spec->linux_->intel_rdt.present)
		return err_set(e, -EOPNOTSUPP, "config.json: linux.intelRdt: not supported");
	if (spec->linux_->net_devices_n && !spec->linux_->ns[OCI_NS_NETWORK].present)
		return err_set(e, -EINVAL,
			       "config.json: linux.netDevices: there is no network namespace");
	if (check_mounts(spec, e))
		return e->code;
	if (geteuid() && !spec->linux_->ns[OCI_NS_USER].present)
		return err_set(e, -EPERM,
			       "an ordinary user needs a user namespace: "
			       "config.json: linux.namespaces has none");
	return 0;
}

static int open_namespaces(struct init *in, struct err *e)
{
	const struct oci_linux *l = in->args->spec->linux_;

	for (int i = 0; i < OCI_NS_COUNT; i++) {
		if (!l->ns[i].present || !l->ns[i].path)
			continue;
		in->ns_fds[i] = open(l->ns[i].path, O_RDONLY | O_CLOEXEC);
		if (in->ns_fds[i] < 0)
			return err_sys(e, -errno, "namespace '%s'", l->ns[i].path);
	}
	return 0;
}

/* Bound below the instance's directory by way of its descriptor: no length limit of sockets applies. */
static int open_start_socket(int dir, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, -errno, "start.sock");
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/start.sock", dir);
	mode_t mask = umask(0177);
	int r = bind(fd, (struct sockaddr *)&addr, sizeof(addr));

	umask(mask);
	if (r < 0 || listen(fd, 4) < 0)
		return err_sys(e, -errno, "start.sock");
	return steal_fd(&fd);
}

/* Whether init asks nothing of its parent: then neither need wait for the other. */
static bool may_go_on(const struct container_args *a, bool wait_for_parent)
{
	return a->go_on && !a->detached && !wait_for_parent &&
	       !a->spec->hooks[OCI_HOOK_PRESTART].n && !a->spec->hooks[OCI_HOOK_CREATE_RUNTIME].n &&
	       !a->spec->linux_->net_devices_n;
}

/* Everything init needs, before the clone. */
struct preparation {
	struct init init;
	struct seccomp_program *filter; /* shared with init, which does not wait for the compiler */
	struct cgroup_wish wish;
	int sync; /* the parent's end */
};

static void prepare_init(struct preparation *p, struct container *c, const struct container_args *a)
{
	const struct oci_linux *l = a->spec->linux_;
	struct init *in = &p->init;

	in->args = a;
	in->cgroup = &c->cgroup;
	in->sync = in->listen = p->sync = -1;
	for (int i = 0; i < OCI_NS_COUNT; i++)
		in->ns_fds[i] = -1;
	in->new_user = is_new(l, OCI_NS_USER);
	in->wait_for_parent = in->new_user || a->cgroup_manager == CGROUP_MANAGER_SYSTEMD;
	in->go_on = may_go_on(a, in->wait_for_parent);
	in->rootfs = (struct rootfs){
		.args = a,
		.cgroup = &c->cgroup,
		.user_ns = l->ns[OCI_NS_USER].present || userns_is_inner(),
		.new_mount = is_new(l, OCI_NS_MOUNT),
		.new_cgroup = is_new(l, OCI_NS_CGROUP),
		.new_net = is_new(l, OCI_NS_NETWORK),
		.proc = -1,
		.root_tree = -1,
		.root = -1,
		.null = -1,
	};
	in->process = (struct process_setup){
		.process = a->spec->process,
		.linux_ = l,
		.id = a->id,
		.proc = -1,
		.stdio = { a->stdio[0], a->stdio[1], a->stdio[2] },
		.preserve_fds = a->preserve_fds,
		.listen_fds = a->listen_fds,
		.user_ns = in->rootfs.user_ns,
		.no_setgroups = in->new_user && geteuid() && l->gid_mappings.n == 1 &&
				l->gid_mappings.v[0].size == 1,
		.no_new_keyring = a->no_new_keyring,
		.selinux = a->spec->process->selinux_label && mount_selinux(),
		.init_reaper = a->init_reaper,
	};
	p->wish = (struct cgroup_wish){
		.id = a->id,
		.path = l->cgroups_path,
		.manager = a->cgroup_manager,
		.resources = l->resources,
		.rootless = geteuid() != 0,
	};
}

static int share_filter(struct preparation *p, struct err *e)
{
	void *at = mmap(NULL, sizeof(*p->filter), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return err_sys(e, -errno, "seccomp");
	p->init.process.seccomp = p->filter = at;
	return 0;
}

static int prepare(struct preparation *p, struct container *c, const struct container_args *a,
		   struct err *e)
{
	const struct oci_linux *l = a->spec->linux_;
	struct init *in = &p->init;
	int ends[2], err;

	in->process.proc = in->rootfs.proc = procfs_open(e);
	if (in->process.proc < 0)
		return in->process.proc;
	err = open_namespaces(in, e);
	if (!err && l->seccomp)
		err = share_filter(p, e);
	if (!err && a->detached) {
		in->listen = open_start_socket(a->dir, e);
		err = in->listen < 0 ? in->listen : 0;
	}
	if (!err)
		err = rootfs_open_trees(&in->rootfs, e);
	if (!err && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		err = err_sys(e, -errno, "socketpair");
	if (err)
		return err;
	p->sync = ends[0];
	in->sync = ends[1];
	return cgroup_begin(&c->cgroup, &p->wish, e);
}

static void prepare_fini(struct preparation *p)
{
	struct init *in = &p->init;

	close_fd(&p->sync);
	close_fd(&in->sync);
	close_fd(&in->listen);
	close_fd(&in->process.proc);
	for (int i = 0; i < OCI_NS_COUNT; i++)
		close_fd(&in->ns_fds[i]);
	rootfs_close_trees(&in->rootfs);
	if (p->filter)
		munmap(p->filter, sizeof(*p->filter));
}

static int enter_user(void *arg, struct err *e)
{
	struct init *in = arg;

	if (!in->new_user)
		return init_join(in, e);
	if (unshare(CLONE_NEWUSER) < 0)
		return err_sys(e, -errno, "new user namespace");
	int err = init_wait_for_parent(in, e);

	in->wait_for_parent = in->new_user = false;
	return err;
}

static int map_user(void *arg, pid_t pid, struct err *e)
{
	struct init *in = arg;
	const struct oci_linux *l = in->args->spec->linux_;

	return userns_map(pid, &l->uid_mappings, &l->gid_mappings, e);
}

static int make_child(struct preparation *p, struct container *c, struct err *e)
{
	const struct oci_linux *l = p->init.args->spec->linux_;
	struct clone_plan plan = {
		.cgroup_fd = cgroup_clone_fd(&c->cgroup),
		.pid_ns = p->init.ns_fds[OCI_NS_PID],
		.time = is_new(l, OCI_NS_TIME) ? l : NULL,
		.sync_parent = p->sync,
		.sync_child = p->init.sync,
	};

	for (size_t i = 0; i < ARRAY_SIZE(clone_flags); i++)
		if (is_new(l, clone_flags[i].ns))
			plan.flags |= clone_flags[i].flag;
	if (p->init.ns_fds[OCI_NS_USER] >= 0 || (geteuid() && p->init.new_user)) {
		plan.enter = enter_user;
		plan.map = map_user;
		/* What is made new must belong to it. */
		plan.always = p->init.ns_fds[OCI_NS_USER] >= 0;
		plan.arg = &p->init;
	}
	/* Takes as long as all other namespaces together: init does it while we go on. It must belong to a new user
	 * namespace, if there is one. */
	if (!plan.enter && !p->init.new_user && plan.flags & CLONE_NEWNET) {
		plan.flags &= ~(uint64_t)CLONE_NEWNET;
		p->init.unshare_net = true;
	}
	pid_t pid = clone_child(&plan, &c->pidfd, e);

	if (pid == 0) {
		close_fd(&p->sync);
		init_main(&p->init);
	}
	c->pid = pid;
	return pid < 0 ? pid : 0;
}

/* "created": the environment stands (runtime.md, "State": after step 2 of the lifecycle; hooks are steps 3 to 5). */
static int run_runtime_hooks(const struct container_args *a, pid_t pid, struct err *e)
{
	struct container_state st = {
		.id = a->id,
		.status = "created",
		.bundle = a->bundle,
		.pid = pid,
		.annotations = &a->spec->annotations,
	};
	int err = netdev_move_all(a->spec->linux_, pid, e);

	if (!err)
		err = hooks_run(a->spec, OCI_HOOK_PRESTART, &st, e);

	return err ? err : hooks_run(a->spec, OCI_HOOK_CREATE_RUNTIME, &st, e);
}

static int send_terminal(struct container *c, const struct container_args *a, int master,
			 struct err *e)
{
	static const char name[] = "/dev/ptmx";

	if (a->console_socket < 0) {
		c->master = master;
		return 0;
	}
	int err = sys_send_fd(a->console_socket, name, sizeof(name) - 1, master);

	close(master);
	return err ? err_sys(e, err, "hand the terminal to the console socket") : 0;
}

static int pass_listener(struct preparation *p, struct container *c, int fd, struct err *e)
{
	const struct container_args *a = p->init.args;
	struct container_state st = {
		.id = a->id,
		.status = "creating",
		.bundle = a->bundle,
		.pid = c->pid,
		.annotations = &a->spec->annotations,
	};

	return container_pass_listener(a->spec, &st, c->pid, fd, e);
}

static int answer(struct preparation *p, struct container *c, const struct sync_msg *m, int fd,
		  struct err *e)
{
	const struct container_args *a = p->init.args;
	const struct oci_linux *l = a->spec->linux_;
	int err = 0;

	switch (m->type) {
	case SYNC_ERROR:
		return sync_error(m, e);
	case SYNC_TERMINAL:
		return send_terminal(c, a, fd, e);
	case SYNC_LISTENER:
		err = fd >= 0 && l->seccomp ? pass_listener(p, c, fd, e) : 0;
		if (fd >= 0)
			close(fd);
		return err;
	case SYNC_MAP:
		err = cgroup_attach(&c->cgroup, &p->wish, c->pid, true, e);
		if (!err && p->init.new_user)
			err = userns_map(c->pid, &l->uid_mappings, &l->gid_mappings, e);
		break;
	case SYNC_HOOKS:
		err = run_runtime_hooks(a, c->pid, e);
		break;
	default:
		err = err_sys(e, -EPROTO, "init says %d", m->type);
	}
	if (!err) {
		err = sync_send(p->sync, SYNC_GO, 0, NULL, -1);
		if (err)
			err_sys(e, err, "answer init");
	}
	return err;
}

/* What init needs later than at its birth. A message that finds nobody is no error here: init said why before. */
static int equip(struct preparation *p, struct container *c, struct err *e)
{
	const struct oci_linux *l = p->init.args->spec->linux_;
	int fds[CGROUP_DIRS_MAX], err = 0;

	if (c->cgroup.pending) {
		err = cgroup_finish(&c->cgroup, &p->wish, e);
		if (err)
			return err;
		int n = cgroup_join_fds(&c->cgroup, fds);

		err = sync_send_fds(p->sync, SYNC_CGROUP, (int)c->cgroup.kept, fds, n);
		if (err && err != -EPIPE)
			return err_sys(e, err, "hand over the cgroups");
		cgroup_close(&c->cgroup);
	}
	seal_release();
	err = l->seccomp ? container_seccomp_compile(l->seccomp, p->filter, e) : 0;
	return err ? err_wrap(e, "seccomp") : 0;
}

/* Nothing but the record stands between init and its start: it is told in advance. */
static int let_go_on(struct preparation *p, struct container *c, struct err *e)
{
	const struct container_args *a = p->init.args;
	int err = a->record ? a->record(a->record_arg, c->pid, &c->cgroup, e) : 0;

	/* Init has given up already, and said why. */
	if (err == -ESRCH) {
		err_clear(e);
		return 0;
	}
	if (err)
		return err;
	c->told = true;
	err = sync_send(p->sync, SYNC_START, 0, NULL, -1);
	return err && err != -EPIPE ? err_sys(e, err, "start init") : 0;
}

/* Until init reports that it waits, or that it runs the command: then its end of the socket closes. */
static int accompany(struct preparation *p, struct container *c, struct err *e)
{
	for (;;) {
		struct sync_msg m;
		int fd = -1, err = sync_recv(p->sync, &m, &fd);

		if (err == -EPIPE)
			return c->told ? 0 : err_set(e, -ECHILD, "init ended without a word");
		if (err)
			return err_sys(e, err, "listen to init");
		if (m.type == SYNC_CREATED)
			return 0;
		err = answer(p, c, &m, fd, e);
		if (err)
			return err;
	}
}

void container_abort(struct container *c)
{
	struct err ignored = ERR_INIT;

	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		while (waitpid(c->pid, NULL, __WALL) < 0 && errno == EINTR)
			continue;
	}
	c->pid = 0;
	cgroup_kill(&c->cgroup, SIGKILL, &ignored);
	cgroup_remove(&c->cgroup, &ignored);
	container_fini(c);
}

int container_create(struct container *c, const struct container_args *a, struct err *e)
{
	struct preparation p = { .sync = -1 };
	int err = check(a, e);

	*c = (struct container)CONTAINER_INIT;
	cgroup_init(&c->cgroup);
	if (err)
		return err;
	prepare_init(&p, c, a);
	err = prepare(&p, c, a, e);
	if (!err)
		err = make_child(&p, c, e);
	/* Those two codes are the program's. */
	if (err == -ENOENT || err == -EACCES)
		err = -EINVAL;
	if (!err) {
		close_fd(&p.init.sync);
		err = equip(&p, c, e);
	}
	if (!err && p.init.go_on)
		err = let_go_on(&p, c, e);
	if (!err)
		err = accompany(&p, c, e);
	if (!err && a->record && !c->told)
		err = a->record(a->record_arg, c->pid, &c->cgroup, e);
	if (!err && a->detached) {
		/* From here on init waits at its socket, without us. */
		err = sync_send(p.sync, SYNC_GO, 0, NULL, -1);
		if (err)
			err_sys(e, err, "let init go");
	}
	if (!err && !a->detached)
		c->sync = steal_fd(&p.sync);
	if (err)
		container_abort(c);
	prepare_fini(&p);
	return err;
}

/* Starting */

static int connect_start_socket(int dir, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, -errno, "start.sock");
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/start.sock", dir);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno == ECONNREFUSED || errno == ENOENT)
			return err_set(e, -EALREADY, "it is not waiting to be started");
		return err_sys(e, -errno, "start.sock");
	}
	return steal_fd(&fd);
}

/* The listener of a notifying filter goes to whoever the profile names. */
int container_pass_listener(const struct oci_spec *spec, const struct container_state *st,
			    pid_t pid, int listener, struct err *e)
{
	cleanup_with(buf_fini) struct buf state = BUF_INIT(4 << 20);
	int err = container_state_json(st, &state);

	if (err)
		return err_sys(e, err, "state");
	return container_seccomp_hand_over(spec->linux_->seccomp, buf_str(&state), pid, listener,
					   e);
}

/* Listens until init's end of the socket closes, which the exec does. */
static int await_exec(int sync, const struct oci_spec *spec, const struct container_state *st,
		      pid_t pid, struct err *e)
{
	for (;;) {
		struct sync_msg m;
		int fd = -1, err = sync_recv(sync, &m, &fd);

		if (err == -EPIPE)
			return 0;
		if (err)
			return err_sys(e, err, "listen to init");
		if (m.type == SYNC_ERROR)
			return sync_error(&m, e);
		if (m.type == SYNC_LISTENER && fd >= 0 && spec->linux_->seccomp)
			err = container_pass_listener(spec, st, pid, fd, e);
		if (fd >= 0)
			close(fd);
		if (err)
			return err;
	}
}

int container_start(struct container *c, const struct oci_spec *spec, const char *id,
		    const char *bundle, int dir, struct err *e)
{
	cleanup_fd int own = c->sync < 0 ? connect_start_socket(dir, e) : -1;
	int sync = c->sync >= 0 ? c->sync : own;
	struct container_state st = {
		.id = id,
		.status = "creating",
		.bundle = bundle,
		.pid = c->pid,
		.annotations = &spec->annotations,
	};

	if (sync < 0)
		return sync;
	/* Told in advance, it runs already. */
	int err = c->told ? 0 : sync_send(sync, SYNC_START, 0, NULL, -1);

	if (err)
		return err_sys(e, err, "init is gone");
	if (!c->told)
		err = await_exec(sync, spec, &st, c->pid, e);
	close_fd(&c->sync);
	if (err)
		return err;
	st.status = "running";
	hooks_run_all(spec, OCI_HOOK_POSTSTART, &st);
	return 0;
}

/* Ending */

int container_kill(int pidfd, const struct cgroup *cg, int sig, bool all, struct err *e)
{
	int reached = 0;

	if (all && cg && cg->n) {
		reached = cgroup_kill(cg, sig, e);
		if (reached < 0)
			return reached;
	}
	if (pidfd >= 0 && pidfd_send_signal(pidfd, sig, NULL, 0) == 0)
		return 0;
	if (pidfd >= 0 && errno != ESRCH)
		return err_sys(e, -errno, "signal %d", sig);
	return reached > 0 ? 0 : err_set(e, -ESRCH, "not running");
}

int container_find_cgroup(const struct oci_spec *spec, const char *id, struct cgroup *cg,
			  struct err *e)
{
	struct cgroup_wish wish = {
		.id = id,
		.path = spec->linux_ ? spec->linux_->cgroups_path : NULL,
		.rootless = geteuid() != 0,
	};

	return cgroup_find(cg, &wish, e);
}

int container_cleanup(const struct oci_spec *spec, const struct container_state *st,
		      struct cgroup *cg, struct err *e)
{
	int err = cg ? cgroup_remove(cg, e) : 0;

	if (spec)
		hooks_run_all(spec, OCI_HOOK_POSTSTOP, st);
	return err;
}

int container_probe(struct err *e)
{
	struct stat st;

	if (geteuid() == 0)
		return 0;
	if (stat("/proc/self/ns/user", &st) < 0)
		return err_set(e, -EOPNOTSUPP,
			       "this kernel has no user namespaces, which an ordinary "
			       "user needs. [USERNS-01]");
	return 0;
}
