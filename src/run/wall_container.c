/*
 * The container wall as the rest of the program sees it: instances on one side, container/ on the other.
 *
 * Trust: none of its own. Threads: none. #syscalls: poll
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "run/wall.h"

enum { KILL_TIMEOUT_MS = 10000 };

static int load_cgroup(const struct instance *in, struct cgroup *cg, struct err *e)
{
	cgroup_init(cg);
	return in->cgroup ? cgroup_load(cg, in->cgroup, strlen(in->cgroup), e) : 0;
}

static void fini_live(void *live)
{
	if (live)
		container_fini(live);
	free(live);
}

struct recording {
	struct instance *in;
	bool at_once;
};

/* Init waits for our leave to go on: what is written here is what a later command finds. */
static int record(void *arg, pid_t pid, const struct cgroup *cg, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(1 << 20);
	const struct recording *r = arg;
	struct instance *in = r->in;
	int err = cgroup_save(cg, &text);

	if (err)
		return err_sys(e, err, "record the cgroup");
	free(in->cgroup);
	in->cgroup = buf_steal(&text);
	err = instance_set_pid(in, pid, e);
	if (err)
		return err;
	in->status = r->at_once ? INSTANCE_RUNNING : INSTANCE_CREATED;
	return instance_save(in, e);
}

static int create(struct instance *in, const struct wall_create *w, struct wall_process *p,
		  struct err *e)
{
	struct container *c = calloc(1, sizeof(*c));
	struct recording recording = { in, w->at_once };
	struct container_args a = {
		.spec = w->spec,
		.id = in->id,
		.bundle = in->bundle,
		.dir = in->dir,
		.detached = w->detached,
		.stdio = { w->stdio[0], w->stdio[1], w->stdio[2] },
		.console_socket = w->console_socket,
		.preserve_fds = w->preserve_fds,
		.listen_fds = w->listen_fds,
		.no_pivot = w->no_pivot,
		.no_new_keyring = w->no_new_keyring,
		.init_reaper = w->init_reaper,
		.go_on = w->go_on,
		.cgroup_manager = w->cgroup_manager,
		.overlay = w->overlay,
		.record = record,
		.record_arg = &recording,
	};

	if (!c)
		return err_sys(e, -ENOMEM, "container");
	int err = container_create(c, &a, e);

	if (err) {
		free(c);
		return err;
	}
	p->pid = c->pid;
	p->pidfd = steal_fd(&c->pidfd);
	p->master = steal_fd(&c->master);
	p->live = c;
	p->live_fini = fini_live;
	return 0;
}

static int start(struct instance *in, const struct oci_spec *spec, struct wall_process *p,
		 struct err *e)
{
	struct container found = CONTAINER_INIT;
	struct container *c = p && p->live ? p->live : &found;

	found.pid = in->pid;
	int err = container_start(c, spec, in->id, in->bundle, in->dir, e);

	if (err || in->status == INSTANCE_RUNNING)
		return err;
	in->status = INSTANCE_RUNNING;
	return instance_save(in, e);
}

static int signal_it(struct instance *in, int sig, bool all, struct err *e)
{
	cleanup_with(cgroup_fini) struct cgroup cg;
	cleanup_fd int pidfd = instance_pidfd(in);
	int err = load_cgroup(in, &cg, e);

	return err ? err : container_kill(pidfd, &cg, sig, all, e);
}

static int exec(struct instance *in, const struct wall_exec *w, struct wall_process *p,
		struct err *e)
{
	cleanup_with(cgroup_fini) struct cgroup cg;
	cleanup_fd int pidfd = instance_pidfd(in);
	struct container_exec x = {
		.spec = w->spec,
		.id = in->id,
		.bundle = in->bundle,
		.process = w->process,
		.cgroup = &cg,
		.pid = in->pid,
		.pidfd = pidfd,
		.stdio = { w->stdio[0], w->stdio[1], w->stdio[2] },
		.console_socket = w->console_socket,
		.preserve_fds = w->preserve_fds,
		.no_new_keyring = w->no_new_keyring,
	};
	struct container c = CONTAINER_INIT;
	int err = load_cgroup(in, &cg, e);

	if (!err && pidfd < 0)
		err = err_set(e, -ESRCH, "not running");
	if (!err)
		err = container_exec(&c, &x, e);
	if (err)
		return err;
	p->pid = c.pid;
	p->pidfd = steal_fd(&c.pidfd);
	p->master = steal_fd(&c.master);
	container_fini(&c);
	return 0;
}

static int freeze(struct instance *in, bool on, struct err *e)
{
	cleanup_with(cgroup_fini) struct cgroup cg;
	int err = load_cgroup(in, &cg, e);

	return err ? err : cgroup_freeze(&cg, on, e);
}

static int pause_it(struct instance *in, struct err *e)
{
	return freeze(in, true, e);
}

static int resume(struct instance *in, struct err *e)
{
	return freeze(in, false, e);
}

static int paused(struct instance *in)
{
	cleanup_with(cgroup_fini) struct cgroup cg;
	int err = load_cgroup(in, &cg, NULL);

	return err ? err : cgroup_frozen(&cg);
}

static int update(struct instance *in, const struct oci_resources *r, struct err *e)
{
	cleanup_with(cgroup_fini) struct cgroup cg;
	int err = load_cgroup(in, &cg, e);

	return err ? err : cgroup_update(&cg, r, e);
}

static int64_t oom_kills(struct instance *in)
{
	cleanup_with(cgroup_fini) struct cgroup cg;

	return load_cgroup(in, &cg, NULL) ? 0 : cgroup_oom_count(&cg);
}

static int stats(struct instance *in, struct oci_stats *st, struct err *e)
{
	cleanup_with(cgroup_fini) struct cgroup cg;
	int err = load_cgroup(in, &cg, e);

	return err ? err : cgroup_stats(&cg, st, e);
}

static int pids(struct instance *in, pid_t **out, struct err *e)
{
	cleanup_with(cgroup_fini) struct cgroup cg;
	int err = load_cgroup(in, &cg, e);

	if (err)
		return err;
	if (cg.n)
		return cgroup_pids(&cg, out, e);
	/* Without a cgroup only the first process is known for sure. */
	*out = malloc(sizeof(pid_t));
	if (!*out)
		return err_sys(e, -ENOMEM, "processes");
	**out = in->pid;
	return instance_probe(in) == INSTANCE_STOPPED ? 0 : 1;
}

static int end(struct instance *in, struct cgroup *cg, struct err *e)
{
	cleanup_fd int pidfd = instance_pidfd(in);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int err = container_kill(pidfd, cg, SIGKILL, true, e);

	if (err && err != -ESRCH)
		return err;
	err_clear(e);
	if (pidfd >= 0 && poll(&p, 1, KILL_TIMEOUT_MS) == 0)
		return err_set(e, -EBUSY, "process %d does not end", (int)in->pid);
	return 0;
}

static int cleanup(struct instance *in, const struct oci_spec *spec, bool force, struct err *e)
{
	cleanup_with(cgroup_fini) struct cgroup cg;
	struct container_state st = {
		.id = in->id,
		.status = "stopped",
		.bundle = in->bundle ? in->bundle : "/",
		.annotations = &in->annotations,
	};
	int err = load_cgroup(in, &cg, e);
	bool ended = instance_probe(in) == INSTANCE_STOPPED;

	/* Its creator died before it wrote down what it had made. */
	if (!err && !in->cgroup && spec && in->status == INSTANCE_CREATING)
		err = container_find_cgroup(spec, in->id, &cg, e);
	if (!err && !ended && !force && in->status != INSTANCE_CREATING)
		err = err_set(e, -EBUSY, "still running");
	/* With the first process of a pid namespace all others have ended. */
	bool alone = ended && spec && spec->linux_ && spec->linux_->ns[OCI_NS_PID].present &&
		     !spec->linux_->ns[OCI_NS_PID].path;

	if (!err && force && !alone)
		err = end(in, &cg, e);
	return err ? err : container_cleanup(spec, &st, &cg, e);
}

extern const struct wall_ops wall_container;
const struct wall_ops wall_container = {
	.name = "container",
	.summary = "namespaces, control groups and seccomp on the host's kernel",
	.probe = container_probe,
	.create = create,
	.start = start,
	.kill = signal_it,
	.exec = exec,
	.pause = pause_it,
	.resume = resume,
	.paused = paused,
	.update = update,
	.stats = stats,
	.oom_kills = oom_kills,
	.pids = pids,
	.cleanup = cleanup,
};
