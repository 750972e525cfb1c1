/*
 * logs -f without a daemon: inotify tells that the log's directory changed, the keeper's EXIT message that
 * no more will come.
 *
 * Trust: none crosses here. Threads: one. #syscalls: inotify_init1 inotify_add_watch poll read clock_gettime
 */
#include "run/follow.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "run/link.h"

/* A socket that says EXIT at the end, a pidfd when nobody keeps it, or -1 when it has ended. */
static int open_end(struct subject *s)
{
	const struct control_msg wait = { .type = CONTROL_WAIT, .a = CONTROL_WAIT_END };

	if (!subject_alive(s) && !s->rec.restarting)
		return -1;
	if (subject_orphaned(s))
		return instance_pidfd(&s->in);
	cleanup_fd int sock = link_open(s, NULL);

	if (sock < 0 || link_send(sock, &wait, 0))
		return -1;
	return steal_fd(&sock);
}

static int ms_until(const struct timespec *until)
{
	struct timespec now;

	if (!until->tv_sec && !until->tv_nsec)
		return -1;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t ms = (until->tv_sec - now.tv_sec) * 1000 +
		     (until->tv_nsec - now.tv_nsec) / 1000000 + 1;

	return ms < 0 ? 0 : ms > 3600000 ? 3600000 : (int)ms;
}

static int follow_on(struct log_reader *r, int end, int watch, struct err *e)
{
	for (;;) {
		struct pollfd p[] = { { .fd = watch, .events = POLLIN },
				      { .fd = end, .events = POLLIN } };
		char sink[4096];
		int s = log_reader_run(r, e);

		if (s || end < 0)
			return s;
		fflush(stdout);
		int n = poll(p, 2, ms_until(&r->want.until));

		if (n < 0 && errno != EINTR)
			return err_sys(e, -errno, "poll");
		if (n == 0)
			return 0;
		/* Any word of the keeper, or its absence, is the end. */
		if (n > 0 && p[1].revents)
			return log_reader_run(r, e);
		while (read(watch, sink, sizeof(sink)) > 0)
			;
	}
}

int follow_log(struct subject *s, const struct log_filter *want, bool follow, log_line_fn *fn,
	       void *arg, struct err *e)
{
	cleanup_fd int watch = -1;
	cleanup_fd int end = -1;
	struct log_reader r;

	if (!s->rec.log)
		return err_set(e, -EOPNOTSUPP, "'%s' keeps no log (--log-driver none)",
			       s->rec.name);
	if (follow) {
		watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (watch < 0 ||
		    inotify_add_watch(watch, s->rec.disk, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
			return err_sys(e, -errno, "watch '%s'", s->rec.disk);
		end = open_end(s);
	}
	int ret = log_reader_open(&r, s->rec.log, want, fn, arg, e);

	if (!ret)
		ret = follow ? follow_on(&r, end, watch, e) : log_reader_run(&r, e);
	log_reader_close(&r);
	return ret;
}
