/*
 * The keeper: one small process an instance, and the only one that stays.
 *
 * `run` and `start` spawn it (keeper_spawn) with the first client's socket. It then goes through
 *
 *	IDLE      until the creator says START (a creator that dies before leaves nothing)
 *	STARTING  a job creates and starts the instance
 *	RUNNING   its streams flow, clients come and go
 *	ENDING    the first process has ended; a job cleans up and writes the outcome
 *	WAITING   the restart policy starts it again after a pause that doubles from 100 ms to a minute
 *		  (docker's), and is forgotten once it has run for ten seconds
 *	DONE      the last output and the exit status are delivered; then the keeper leaves
 *
 * It is a subreaper, so that the instance's first process, made by a job, is its child.
 * See keeper_clients.c, keeper_streams.c and keeper_jobs.c for the parts.
 *
 * Trust: see the parts. Threads: one.
 * #syscalls: prctl waitid wait4 setsid dup2 close_range epoll_wait signalfd4 read exit_group
 */
#include "run/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "run/keeper_int.h"

#define MS	   1000000ull
#define DELAY_MIN  (100 * MS)
#define DELAY_MAX  (60000 * MS)
#define RAN_WELL   (10000 * MS)
#define RETRY_KILL (1000 * MS)

static void finish(struct keeper *k)
{
	k->phase = PHASE_DONE;
	/* Nobody can come any more; who came in the meantime reads the state. */
	loop_unwatch(&k->loop, &k->listener);
	close_fd(&k->listener.fd);
	loop_disarm(&k->kill_timer);
	loop_disarm(&k->timeout_timer);
	loop_disarm(&k->health_timer);
	keeper_leave_if_idle(k);
}

/* In DONE: reads what output is left as clients take it, then says the exit status and ends. */
void keeper_leave_if_idle(struct keeper *k)
{
	if (k->phase == PHASE_IDLE) {
		bool creator = false;

		list_for_each (p, &k->clients)
			creator |= list_item(p, struct client, link)->creator;
		if (!creator)
			loop_stop(&k->loop, 0);
		return;
	}
	if (k->phase != PHASE_DONE || clients_blocked(k))
		return;
	streams_drain(k);
	if (clients_blocked(k))
		return;
	if (k->init_ended) {
		k->init_ended = false;
		streams_close(k);
		logfile_close(&k->log);
		clients_exit(k, k->status, false, k->timed_out);
		if (clients_blocked(k))
			return;
	}
	loop_stop(&k->loop, 0);
}

static void start(struct keeper *k)
{
	struct err e = ERR_INIT;
	int r = streams_make(k);

	k->phase = PHASE_STARTING;
	k->timed_out = false;
	if (!r)
		r = job_run(k, JOB_START, 0, false, NULL);
	if (!r)
		return;
	err_sys(&e, r, "start '%.12s'", k->set.id);
	streams_close(k);
	list_for_each_safe (p, &k->clients)
		client_send_err(list_item(p, struct client, link), &e, 125);
	finish(k);
}

void keeper_stop(struct keeper *k, int sig, uint32_t ms)
{
	k->manual = true;
	if (k->phase == PHASE_WAITING) {
		loop_disarm(&k->restart_timer);
		k->phase = PHASE_ENDING;
		job_run(k, JOB_SETTLE, 0, false, NULL);
		return;
	}
	if (k->phase != PHASE_RUNNING && k->phase != PHASE_STARTING)
		return;
	if (ms)
		job_run(k, JOB_KILL, sig, false, NULL);
	if (ms != CONTROL_FOREVER)
		loop_arm(&k->loop, &k->kill_timer, ms * MS);
}

static bool wants_restart(const struct keeper *k)
{
	const struct settings *s = &k->set;

	if (k->manual || k->timed_out)
		return false;
	switch ((enum control_policy)s->restart_policy) {
	case CONTROL_POLICY_ON_FAILURE:
		return k->status && (!s->restart_max || s->restarts < s->restart_max);
	case CONTROL_POLICY_ALWAYS:
	case CONTROL_POLICY_UNLESS_STOPPED:
		return true;
	case CONTROL_POLICY_NO:
		break;
	}
	return false;
}

/* The first process has ended. */
static void begin_end(struct keeper *k)
{
	k->phase = PHASE_ENDING;
	loop_disarm(&k->kill_timer);
	loop_disarm(&k->timeout_timer);
	loop_disarm(&k->health_timer);
	k->will_restart = wants_restart(k);
	if (now_ns() - k->started_at >= RAN_WELL)
		k->delay = 0;
	streams_drain(k);
	logfile_flush(&k->log);
	if (job_run(k, JOB_END, 0, false, NULL))
		finish(k);
}

static void settle_or_restart(struct keeper *k)
{
	if (k->will_restart && k->manual) {
		k->will_restart = false;
		if (!job_run(k, JOB_SETTLE, 0, false, NULL))
			return;
	}
	if (!k->will_restart) {
		finish(k);
		return;
	}
	streams_drain(k);
	streams_close(k);
	clients_exit(k, k->status, true, false);
	k->init_ended = false;
	k->phase = PHASE_WAITING;
	k->delay = k->delay ? MIN(k->delay * 2, DELAY_MAX) : DELAY_MIN;
	loop_arm(&k->loop, &k->restart_timer, k->delay);
}

static void init_ended(struct keeper *k, int status)
{
	k->init_ended = true;
	k->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	begin_end(k);
}

static void started(struct keeper *k, struct job *j)
{
	const struct control_msg m = { .type = CONTROL_STARTED, .a = (uint32_t)j->report.pid };
	int dead;

	k->phase = PHASE_RUNNING;
	k->init = j->report.pid;
	k->started_at = now_ns();
	streams_open(k, steal_fd(&j->master));
	list_for_each_safe (p, &k->clients) {
		struct client *c = list_item(p, struct client, link);

		if (c->creator)
			client_send(c, &m);
	}
	if (j->report.health_ms)
		loop_arm(&k->loop, &k->health_timer, j->report.health_ms * MS);
	if (k->set.timeout_ns)
		loop_arm(&k->loop, &k->timeout_timer, k->set.timeout_ns);
	/* It may have ended before its report was read. */
	if (waitpid(k->init, &dead, WNOHANG) == k->init)
		init_ended(k, dead);
}

static void start_failed(struct keeper *k, struct job *j)
{
	streams_close(k);
	k->status = j->report.status ? j->report.status : 125;
	k->set.restart_policy = CONTROL_POLICY_NO;
	if (!j->reported)
		err_set(&j->report.err, -ECHILD, "start '%.12s': the starting process died",
			k->set.id);
	list_for_each_safe (p, &k->clients)
		client_send_err(list_item(p, struct client, link), &j->report.err, k->status);
	finish(k);
}

static void job_done(struct keeper *k, struct job *j)
{
	switch (j->kind) {
	case JOB_START:
		if (j->reported && !j->report.result)
			started(k, j);
		else
			start_failed(k, j);
		break;
	case JOB_END:
		settle_or_restart(k);
		break;
	case JOB_SETTLE:
		clients_exit(k, k->status, false, false);
		k->init_ended = true;
		finish(k);
		break;
	case JOB_HEALTH:
		if (k->phase == PHASE_RUNNING && j->report.health_ms)
			loop_arm(&k->loop, &k->health_timer, j->report.health_ms * MS);
		break;
	case JOB_KILL:
		if (!client_listed(k, j->client))
			break;
		if (!j->report.result)
			client_send(j->client, &(struct control_msg){ .type = CONTROL_OK });
		else
			client_send_err(j->client, &j->report.err, 0);
		break;
	}
	job_free(j);
}

static struct job *job_of(struct keeper *k, pid_t pid)
{
	list_for_each (p, &k->jobs) {
		struct job *j = list_item(p, struct job, link);

		if (j->pid == pid)
			return j;
	}
	return NULL;
}

/* Jobs first: an instance that ended before its start was reported stays a zombie until started() asks
 * for it. Orphans of the instance, ours as a subreaper, are reaped whenever no start is under way. */
static void reap(struct keeper *k)
{
	int status;
	pid_t pid;

	list_for_each_safe (p, &k->jobs) {
		struct job *j = list_item(p, struct job, link);

		if (waitpid(j->pid, &status, WNOHANG) != j->pid)
			continue;
		job_collect(j);
		job_done(k, j);
	}
	while (k->phase != PHASE_STARTING && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct job *j = job_of(k, pid);

		if (j) {
			job_collect(j);
			job_done(k, j);
		} else if (pid == k->init && k->phase == PHASE_RUNNING) {
			init_ended(k, status);
		}
	}
}

static void on_signal(struct loop_fd *src, uint32_t events)
{
	struct keeper *k = container_of(src, struct keeper, signals);
	struct signalfd_siginfo info;
	bool child = false;

	(void)events;
	while (read(src->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			child = true;
		else
			keeper_stop(k, SIGTERM, 10000);
	}
	if (child)
		reap(k);
}

static void on_restart(struct loop_timer *t)
{
	struct keeper *k = container_of(t, struct keeper, restart_timer);

	k->set.restarts++;
	start(k);
}

static void on_kill(struct loop_timer *t)
{
	struct keeper *k = container_of(t, struct keeper, kill_timer);

	if (k->phase == PHASE_RUNNING)
		job_run(k, JOB_KILL, SIGKILL, true, NULL);
	loop_arm(&k->loop, t, RETRY_KILL);
}

static void on_health(struct loop_timer *t)
{
	struct keeper *k = container_of(t, struct keeper, health_timer);

	/* Without memory for it now, try again later. */
	if (job_run(k, JOB_HEALTH, 0, false, NULL))
		loop_arm(&k->loop, t, RETRY_KILL);
}

static void on_timeout(struct loop_timer *t)
{
	struct keeper *k = container_of(t, struct keeper, timeout_timer);

	k->timed_out = true;
	job_run(k, JOB_KILL, SIGKILL, true, NULL);
}

/* A process with nothing of its creator's: no terminal, no descriptors, no directory. */
static int settle_in(int *creator)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	if (*creator != 3) {
		if (dup2(*creator, 3) < 0)
			return -errno;
		*creator = 3;
	}
	fcntl(3, F_SETFD, FD_CLOEXEC);
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	if (null > 3)
		close(steal_fd(&null));
	close_range(4, ~0u, 0);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || chdir("/") < 0)
		return -errno;
	/* Files of the instance must not depend on the creator's umask. */
	umask(022);
	prctl(PR_SET_NAME, "warren-keeper");
	return 0;
}

static int watch_signals(struct keeper *k)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	k->signals = (struct loop_fd){ .fd = signal_fd_open(&set), .fn = on_signal };
	return k->signals.fd < 0 ? k->signals.fd : loop_watch(&k->loop, &k->signals, EPOLLIN);
}

static int set_up(struct keeper *k, int creator)
{
	int r = loop_init(&k->loop);

	if (!r)
		r = watch_signals(k);
	struct client *c = r ? NULL : client_add(k, creator);

	if (!c)
		return r ? r : -ENOMEM;
	c->creator = true;
	return 0;
}

int keeper_begin(struct keeper *k, const struct control_start *s, struct err *e)
{
	char path[4096];
	int r;

	k->set.tty = s->flags & CONTROL_START_TTY;
	k->set.open_stdin = s->flags & CONTROL_START_STDIN;
	k->set.stdin_once = s->flags & CONTROL_START_STDIN_ONCE;
	k->set.auto_remove = s->flags & CONTROL_START_REMOVE;
	k->set.restart_policy = (uint32_t)s->policy;
	k->set.restart_max = s->retries;
	k->set.timeout_ns = s->timeout_ms * MS;
	snprintf(path, sizeof(path), "%s/%s", k->set.root, k->set.id);
	k->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = k->dir < 0 ? err_sys(e, -errno, "'%s'", path) : clients_listen(k, e);
	if (!r)
		r = logfile_open(&k->log, *s->log ? s->log : NULL, s->log_max_size, s->log_max_file,
				 e);
	if (!r)
		start(k);
	return r;
}

int keeper_main(const char *root, const char *id, int creator)
{
	static struct keeper k;

	k = (struct keeper){
		.set = { .root = root, .id = id },
		.dir = -1,
		.log = LOGFILE_INIT,
		.listener.fd = -1,
		.input.fd = -1,
		.restart_timer.fn = on_restart,
		.kill_timer.fn = on_kill,
		.timeout_timer.fn = on_timeout,
		.health_timer.fn = on_health,
		.child_stdio = { -1, -1, -1 },
	};
	list_init(&k.clients);
	list_init(&k.jobs);
	buf_init(&k.input_wait, 1 << 20);
	for (int i = 0; i < 2; i++)
		k.out[i] = (struct output){ .k = &k, .src.fd = -1, .is_stderr = i };
	int r = settle_in(&creator);

	if (!r)
		r = set_up(&k, creator);
	if (!r)
		r = loop_run(&k.loop);
	logfile_close(&k.log);
	return r < 0;
}
