/*
 * Starting, stopping, waiting for and removing instances.
 *
 * While an instance runs its keeper is asked, because the keeper must know what was wished for (a stop is no
 * reason to restart). If the keeper was killed the wall is used directly, so that everything can still be
 * stopped and removed.
 *
 * Trust: none crosses here. Threads: any, one subject each.
 * #syscalls: poll pidfd_open kill nanosleep
 */
#include "run/lifecycle.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "os/loop.h"
#include "run/detach.h"
#include "run/events.h"
#include "run/keeper.h"
#include "run/link.h"

static const char *shown(const struct subject *s)
{
	return s->rec.name ? s->rec.name : s->in.id;
}

int lifecycle_keep(struct subject *s, const char *root, struct keeper_seed *seed, struct err *e)
{
	int status, r = 0;

	/* It has just ended: its keeper is waited for. */
	if (subject_alive(s) && instance_probe(&s->in) == INSTANCE_STOPPED)
		r = lifecycle_wait(s, root, false, &status, e);
	if (r)
		return r;
	if (subject_alive(s))
		return err_set(e, -EALREADY, "'%s' is running already", shown(s));
	if (s->rec.restarting)
		return err_set(e, -EALREADY, "'%s' is being restarted by its keeper", shown(s));
	if (subject_status(s) == SUBJECT_DEAD)
		return err_set(
			e, -EINVAL,
			"'%s' was never made completely: its creator was killed. Remove it with "
			"'rm'",
			shown(s));
	cleanup_with(keeper_seed_fini) struct keeper_seed fresh = KEEPER_SEED_INIT;

	if (!seed || seed->sock < 0) {
		seed = &fresh;
		snprintf(fresh.id, sizeof(fresh.id), "%s", s->in.id);
		r = keeper_spawn(root, seed, e);
		if (r)
			return r;
	}
	cleanup_fd int sock = steal_fd(&seed->sock);

	r = link_greet(sock, e);
	return r ? err_wrap(e, "keeper of '%s'", shown(s)), r : steal_fd(&sock);
}

int lifecycle_start(struct subject *s, const char *root, struct keeper_seed *seed, int *status,
		    struct err *e)
{
	struct link_packet p;
	struct control_msg m;

	*status = 125;
	cleanup_fd int sock = lifecycle_keep(s, root, seed, e);

	if (sock < 0)
		return sock;
	int r = link_start(sock, s, e);

	if (r)
		return err_wrap(e, "keeper of '%s'", shown(s)), r;
	for (;;) {
		r = link_recv(sock, &p, &m, 0, e);
		if (r)
			return err_wrap(e, "start '%s'", shown(s)), r;
		if (m.type == CONTROL_STARTED)
			return 0;
		if (m.type == CONTROL_ERROR) {
			*status = m.b ? (int)m.b : 125;
			return err_set(e, (int)m.a < 0 ? (int)m.a : -EIO, "start '%s': %.*s",
				       shown(s), (int)m.n, (const char *)m.body);
		}
	}
}

/* Until the process has ended or the time is over (-1: no limit). 1: it has ended. */
static int wait_process(struct subject *s, int64_t ms)
{
	cleanup_fd int fd = instance_pidfd(&s->in);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (fd < 0)
		return 1;
	int n;

	do
		n = poll(&p, 1, ms < 0 ? -1 : ms > 3600000 ? 3600000 : (int)ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* Without a keeper. */
static int end_orphan(struct subject *s, const char *root, int sig, int64_t timeout_ms,
		      struct err *e)
{
	int r = timeout_ms ? s->wall->kill(&s->in, sig, false, e) : 0;

	if ((r && r != -ESRCH) || (!r && timeout_ms && wait_process(s, timeout_ms)))
		return r ? r : subject_reopen(s, root, true, e);
	err_clear(e);
	r = s->wall->kill(&s->in, SIGKILL, true, e);
	if (r && r != -ESRCH)
		return r;
	wait_process(s, -1);
	err_clear(e);
	/* Opening it again cleans up and writes down what happened. */
	return subject_reopen(s, root, true, e);
}

/* Waits for EXIT on a connection that said WAIT. */
static int wait_exit(int sock, int *status, struct err *e)
{
	struct link_packet p;
	struct control_msg m;

	for (;;) {
		int r = link_recv(sock, &p, &m, 0, e);

		if (r)
			return r;
		if (m.type == CONTROL_EXIT) {
			*status = (m.flags & CONTROL_EXIT_TIMEOUT) ? 124 : (int)m.a;
			return 0;
		}
	}
}

static int ask_to_stop(struct subject *s, int sig, int64_t timeout_ms, struct err *e)
{
	struct control_msg m = { .type = CONTROL_WAIT, .a = CONTROL_WAIT_END };
	int status;
	cleanup_fd int sock = link_open(s, e);

	if (sock < 0)
		return sock;
	int r = link_send(sock, &m, 0);

	m = (struct control_msg){ .type = CONTROL_STOP,
				  .a = (uint32_t)sig,
				  .b = timeout_ms < 0 ? CONTROL_FOREVER : (uint32_t)timeout_ms };
	if (!r)
		r = link_send(sock, &m, 0);
	return r ? r : wait_exit(sock, &status, e);
}

int lifecycle_stop(struct subject *s, const char *root, int sig, int64_t timeout_ms, struct err *e)
{
	int r;

	if (!subject_alive(s) && !s->rec.restarting)
		return 0;
	if (!sig) {
		r = signal_parse(s->rec.stop_signal ? s->rec.stop_signal : "SIGTERM", &sig, e);
		if (r)
			return r;
	}
	if (s->wall->resume && wall_status(&s->in) == INSTANCE_PAUSED) {
		r = lifecycle_pause(s, root, false, e);
		if (r)
			return r;
	}
	r = subject_orphaned(s) ? -ECONNREFUSED : ask_to_stop(s, sig, timeout_ms, e);
	if (r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE) {
		err_clear(e);
		r = subject_reopen(s, root, false, e);
		if (!r && subject_alive(s))
			r = end_orphan(s, root, sig, timeout_ms, e);
	}
	if (!r)
		event_emit(root, s, "stop", NULL);
	return r ? err_wrap(e, "stop '%s'", shown(s)), r : 0;
}

int lifecycle_kill(struct subject *s, const char *root, int sig, struct err *e)
{
	struct control_msg m = { .type = CONTROL_SIGNAL, .a = (uint32_t)sig };
	char attribute[32];
	int own = SIGTERM, r;

	if (!subject_alive(s))
		return err_set(e, -ESRCH, "'%s' is not running", shown(s));
	if (s->rec.stop_signal)
		signal_parse(s->rec.stop_signal, &own, NULL);
	m.b = sig == SIGKILL || sig == own;
	r = link_once(s, &m, e);
	if (r == -ECONNREFUSED || r == -ECONNRESET) {
		err_clear(e);
		r = s->wall->kill(&s->in, sig, false, e);
	}
	if (r)
		return err_wrap(e, "kill '%s'", shown(s)), r;
	snprintf(attribute, sizeof(attribute), "signal=%d", sig);
	event_emit(root, s, "kill", (const char *const[]){ attribute, NULL });
	return 0;
}

int lifecycle_pause(struct subject *s, const char *root, bool pause, struct err *e)
{
	int r = subject_reopen(s, root, true, e);
	enum instance_status st = r ? INSTANCE_STOPPED : wall_status(&s->in);

	if (r)
		return r;
	if (pause && st == INSTANCE_PAUSED)
		r = err_set(e, -EALREADY, "'%s' is paused already", shown(s));
	else if (!pause && st != INSTANCE_PAUSED)
		r = err_set(e, -EINVAL, "'%s' is not paused", shown(s));
	else if (pause && st != INSTANCE_RUNNING)
		r = err_set(e, -ESRCH, "'%s' is not running", shown(s));
	else if (!s->wall->pause || !s->wall->resume)
		r = err_set(e, -EOPNOTSUPP, "the %s wall cannot pause", s->wall->name);
	else
		r = pause ? s->wall->pause(&s->in, e) : s->wall->resume(&s->in, e);
	if (r)
		return r;
	event_emit(root, s, pause ? "pause" : "unpause", NULL);
	return subject_reopen(s, root, false, e);
}

int lifecycle_wait(struct subject *s, const char *root, bool next, int *status, struct err *e)
{
	const struct control_msg m = { .type = CONTROL_WAIT,
				       .a = next ? CONTROL_WAIT_EXIT : CONTROL_WAIT_END };

	while (subject_alive(s) || s->rec.restarting) {
		cleanup_fd int sock = subject_orphaned(s) ? -ECONNREFUSED : link_open(s, e);
		int r = sock < 0 ? sock : link_send(sock, &m, 0);

		if (!r)
			r = wait_exit(sock, status, e);
		if (!r)
			return 0;
		if (r != -ECONNREFUSED && r != -ECONNRESET && r != -EPIPE)
			return r;
		err_clear(e);
		/* The keeper has just left, or was killed: then the process itself is waited for. */
		wait_process(s, subject_orphaned(s) ? -1 : 20);
		r = subject_reopen(s, root, false, e);
		if (r == -ENOENT) {
			/* Removed by --rm in the meantime. */
			*status = 0;
			err_clear(e);
			return 0;
		}
		if (r)
			return r;
	}
	*status = (int)s->rec.exit_code;
	return 0;
}

/* Ends it if need be and takes the lock. With the lock held nobody can start it again. */
static int end_and_lock(struct subject *s, const char *root, bool force, struct err *e)
{
	for (int tries = 0; tries < 10; tries++) {
		int r = 0;

		if (subject_alive(s) || s->rec.restarting) {
			if (!force)
				return err_set(e, -EBUSY,
					       "'%s' is %s. Stop it first or use --force", shown(s),
					       subject_status_name(subject_status(s)));
			r = lifecycle_stop(s, root, SIGKILL, 0, e);
		}
		if (!r)
			r = subject_reopen(s, root, true, e);
		if (r || (!subject_alive(s) && !s->rec.restarting))
			return r;
		/* A start that was under way has just come to its end. */
		r = subject_reopen(s, root, false, e);
		if (r)
			return r;
	}
	return err_set(e, -EBUSY, "'%s' is started again and again", shown(s));
}

int lifecycle_remove(struct subject *s, const char *root, bool force, bool volumes, struct err *e)
{
	int r = end_and_lock(s, root, force, e);

	/* --rm was faster. */
	if (r == -ENOENT && force) {
		err_clear(e);
		return 0;
	}
	if (r)
		return r;
	s->rec.removing = true;
	s->rec.remove_volumes = volumes;
	r = subject_save(s, e);
	if (!r)
		r = subject_remove(s, root, e);
	if (!r)
		event_emit(root, s, "destroy", NULL);
	return r ? err_wrap(e, "remove '%s'", shown(s)), r : 0;
}

int lifecycle_rename(struct subject *s, const char *root, const char *name, struct err *e)
{
	int r = subject_reopen(s, root, true, e);
	char attribute[192];

	if (!r)
		r = registry_name_claim(root, name, s->in.id, e);
	if (r)
		return r;
	cleanup_free char *old = steal_ptr(&s->rec.name);

	r = record_set(&s->rec.name, name);
	if (!r)
		r = subject_save(s, e);
	if (r) {
		registry_name_release(root, name, s->in.id);
		return r;
	}
	registry_name_release(root, old, s->in.id);
	snprintf(attribute, sizeof(attribute), "oldName=/%s", old ? old : "");
	event_emit(root, s, "rename", (const char *const[]){ attribute, NULL });
	return 0;
}
