/*
 * The keeper's jobs: what needs memory, locks or time is done by a short-lived child.
 *
 * The keeper itself holds descriptors and a few hundred bytes of facts. Parsing config.json, building the
 * container, rewriting state.json and cleaning up happen in a forked child that reports in one packet and
 * exits; the instance's first process, created by such a child, becomes the keeper's own child because
 * the keeper is a subreaper. A job dies with its keeper (PDEATHSIG).
 *
 * Trust: the report is our own child's. Threads: the loop's; each job is a process.
 * #syscalls: fork socketpair prctl sendmsg recvmsg waitid exit_group
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bundle/bundle.h"
#include "os/sock.h"
#include "os/tty.h"
#include "run/events.h"
#include "run/health.h"
#include "run/keeper_int.h"
#include "run/status.h"

/* The state as before any start, with us as its keeper. The wall writes it down with the pid, before
 * anything is mounted, and again when the command runs. */
static int prepare(struct keeper *k, struct subject *s, pid_t keeper, struct err *e)
{
	struct instance *in = &s->in;
	cleanup_free char *now = time_now_rfc3339();

	free(steal_ptr(&in->cgroup));
	free(steal_ptr(&in->wall_state));
	in->status = INSTANCE_CREATING;
	in->pid = 0;
	in->pid_start = 0;
	in->keeper_pid = keeper;
	s->rec.manual_stop = s->rec.restarting = s->rec.oom_killed = false;
	s->rec.exit_code = 0;
	s->rec.restarts = k->set.restarts;
	int r = record_set(&s->rec.error, NULL);

	r = r ? r : health_begin(&s->rec);
	r = r ? r : record_set(&s->rec.started, now);
	r = r ? r : record_set(&s->rec.finished, NULL);
	r = r ? r : process_start_time(keeper, &in->keeper_start);
	return r ? err_sys(e, r, "keeper %d", keeper) : record_store(&s->rec, in, e);
}

static int create(struct keeper *k, struct subject *s, const struct oci_spec *spec,
		  struct wall_process *p, struct err *e)
{
	struct wall_create a = WALL_CREATE_INIT;
	struct bundle_overlay layers = { 0 };
	struct container_overlay overlay;
	const char *init = oci_annotation(spec, BUNDLE_INIT);
	int r = bundle_overlay_parse(spec, &layers, e);

	if (r < 0)
		return r;
	overlay = (struct container_overlay){
		.lower = (const char *const *)layers.lower,
		.upper = layers.upper,
		.work = layers.work,
		.is_volatile = layers.is_volatile,
	};
	a.spec = spec;
	memcpy(a.stdio, k->child_stdio, sizeof(a.stdio));
	a.init_reaper = init && streq(init, "true");
	a.overlay = r ? &overlay : NULL;
	r = s->wall->create(&s->in, &a, p, e);
	bundle_overlay_fini(&layers);
	return r;
}

static int create_and_start(struct keeper *k, struct subject *s, pid_t keeper,
			    struct job_report *rep, struct wall_process *p)
{
	struct oci_spec *spec = NULL;
	int r = instance_load_config(&s->in, &spec, &rep->err);

	if (!r)
		r = prepare(k, s, keeper, &rep->err);
	if (!r)
		r = create(k, s, spec, p, &rep->err);
	if (!r) {
		rep->pid = p->pid;
		if (p->master >= 0 && k->rows)
			tty_size_set(p->master, k->rows, k->cols);
		r = s->wall->start(&s->in, spec, p, &rep->err);
		if (r)
			s->wall->cleanup(&s->in, spec, true, NULL);
	}
	if (r)
		rep->status = exit_status_for(r, &rep->err);
	oci_spec_free(spec);
	return r;
}

static int do_start(struct keeper *k, pid_t keeper, struct job_report *rep, struct wall_process *p)
{
	struct subject s;
	struct err ignored = ERR_INIT;
	int r = subject_open_id(&s, k->set.root, k->set.id, true, &rep->err);

	rep->status = 125;
	if (r)
		return r;
	/* A start that fails is none: `ps` goes on to say Created. */
	cleanup_free char *before = s.rec.started ? strdup(s.rec.started) : NULL;

	bool runs = subject_alive(&s);

	r = runs ? err_set(&rep->err, -EBUSY, "it is running already")
		 : create_and_start(k, &s, keeper, rep, p);
	if (!r) {
		rep->health_ms = health_next_ms(&s.rec);
		event_emit(k->set.root, &s, "start", NULL);
	} else if (!runs) {
		record_set(&s.rec.started, before);
		record_set(&s.rec.error, rep->err.msg);
		s.rec.exit_code = rep->status;
		s.in.status = INSTANCE_STOPPED;
		s.in.pid = 0;
		if (k->set.auto_remove)
			subject_remove(&s, k->set.root, &ignored);
		else
			subject_save(&s, &ignored);
	}
	subject_fini(&s);
	return r;
}

static int do_end(struct keeper *k, struct err *e)
{
	struct subject s;
	char code[32];
	int r = subject_open_id(&s, k->set.root, k->set.id, true, e);

	if (r)
		return r;
	/* config.json is not read again: bundle/ writes no hooks, and the cgroup is in the state. */
	s.rec.oom_killed = s.wall->oom_kills && s.wall->oom_kills(&s.in) > 0;
	bool kept = s.wall->kept && s.wall->kept(&s.in);
	r = s.wall->cleanup(&s.in, NULL, true, e);
	char *now = time_now_rfc3339();

	record_set(&s.rec.finished, now);
	free(now);
	s.rec.exit_code = k->status;
	s.rec.restarting = k->will_restart;
	s.rec.manual_stop = k->manual;
	s.rec.restarts = k->set.restarts;
	s.in.status = INSTANCE_STOPPED;
	s.in.pid = 0;
	snprintf(code, sizeof(code), "exitCode=%d", k->status);
	if (s.rec.oom_killed)
		event_emit(k->set.root, &s, "oom", NULL);
	event_emit(k->set.root, &s, "die", (const char *const[]){ code, NULL });
	if (k->set.auto_remove && !kept && !r) {
		r = subject_forget(&s, k->set.root, e);
		if (!r)
			event_emit(k->set.root, &s, "destroy", NULL);
	} else {
		if (r)
			record_set(&s.rec.error, e->msg);
		int r2 = subject_save(&s, r ? NULL : e);

		r = r ? r : r2;
	}
	subject_fini(&s);
	return r;
}

static int do_settle(struct keeper *k, struct err *e)
{
	struct subject s;
	int r = subject_open_id(&s, k->set.root, k->set.id, true, e);

	if (r)
		return r;
	s.rec.restarting = false;
	s.rec.manual_stop = k->manual;
	r = subject_save(&s, e);
	subject_fini(&s);
	return r;
}

static int do_kill(struct keeper *k, int sig, bool all, struct err *e)
{
	struct subject s;
	int r = subject_open_id(&s, k->set.root, k->set.id, false, e);

	if (r)
		return r;
	/* A frozen process takes no signal but the last. */
	if (sig == SIGKILL && s.wall->resume && wall_status(&s.in) == INSTANCE_PAUSED)
		s.wall->resume(&s.in, NULL);
	r = s.wall->kill(&s.in, sig, all, e);
	subject_fini(&s);
	return r;
}

static void job_child(struct job *j, pid_t keeper, int sock)
{
	struct keeper *k = j->k;
	struct job_report rep = { 0 };
	struct wall_process p = WALL_PROCESS_INIT;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	switch (j->kind) {
	case JOB_START:
		rep.result = do_start(k, keeper, &rep, &p);
		break;
	case JOB_END:
		rep.result = do_end(k, &rep.err);
		break;
	case JOB_SETTLE:
		rep.result = do_settle(k, &rep.err);
		break;
	case JOB_HEALTH:
		rep.result = health_ask(k->set.root, k->set.id, &rep.health_ms, &rep.err);
		break;
	case JOB_KILL:
		rep.result = do_kill(k, j->sig, j->all, &rep.err);
		break;
	}
	bool with_master = !rep.result && p.master >= 0;

	sock_send(sock, &rep, sizeof(rep), &p.master, with_master, 0);
	_exit(0);
}

int job_run(struct keeper *k, enum job_kind kind, int sig, bool all, struct client *client)
{
	struct job *j = calloc(1, sizeof(*j));
	pid_t keeper = getpid();
	int socks[2];

	if (!j)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0) {
		free(j);
		return -errno;
	}
	*j = (struct job){ .k = k,
			   .kind = kind,
			   .sock = socks[0],
			   .master = -1,
			   .sig = sig,
			   .all = all,
			   .client = client };
	j->pid = fork();
	if (j->pid == 0)
		job_child(j, keeper, socks[1]);
	close(socks[1]);
	if (j->pid < 0) {
		int r = -errno;

		close(socks[0]);
		free(j);
		return r;
	}
	list_add(&k->jobs, &j->link);
	return 0;
}

void job_collect(struct job *j)
{
	size_t fds_n = 1;
	int fd = -1;

	if (j->reported)
		return;
	ssize_t n = sock_recv(j->sock, &j->report, sizeof(j->report), &fd, &fds_n, MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(j->report)) {
		j->reported = true;
		j->master = fds_n ? fd : -1;
		err_sanitize(&j->report.err);
	} else if (fds_n && fd >= 0) {
		close(fd);
	}
}

void job_free(struct job *j)
{
	list_del(&j->link);
	close_fd(&j->sock);
	close_fd(&j->master);
	free(j);
}
