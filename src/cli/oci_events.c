/*
 * warren oci events: what a container uses, once (--stats) or every few seconds, and a line when the kernel killed
 * something in it for want of memory. One JSON object a line, as runc prints them.
 *
 * Trust: numbers are the kernel's. Threads: none. #syscalls: poll write pidfd_open eventfd2
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/oci.h"
#include "os/loop.h"

struct settings {
	uint64_t interval; /* ns */
	bool stats;
};

static const struct opt opts[] = {
	OPT_DURATION(0, "interval", "TIME", struct settings, interval,
		     "Time between two lines (5s)"),
	OPT_BOOL(0, "stats", struct settings, stats, "Print one line and end"),
	OPT_END,
};

static int say(struct buf *line, struct err *e)
{
	if (line->error)
		return err_sys(e, line->error, "statistics");
	puts(buf_str(line));
	buf_clear(line);
	return fflush(stdout) ? err_sys(e, -errno, "write to stdout") : 0;
}

static int print_stats(struct instance *in, const struct wall_ops *wall, struct buf *line,
		       struct err *e)
{
	cleanup_with(oci_stats_fini) struct oci_stats st = { .huge_n = 0 };
	int err = wall->stats(in, &st, e);

	if (!err)
		oci_stats_print(&st, in->id, line);
	return err ? err : say(line, e);
}

/* Wakes up by the kernel's notification where there is one; counts tell what really happened, since the same
 * descriptor also wakes when the cgroup goes. */
struct oom_watch {
	struct cgroup cg;
	int fd;
	bool v2;
	int64_t count;
};

static void oom_init(struct oom_watch *w, const struct instance *in)
{
	*w = (struct oom_watch){ .fd = -1 };
	cgroup_init(&w->cg);
	if (!in->cgroup || cgroup_load(&w->cg, in->cgroup, strlen(in->cgroup), NULL))
		return;
	w->fd = cgroup_oom_fd(&w->cg, &w->v2);
	w->count = cgroup_oom_count(&w->cg);
}

static void oom_fini(struct oom_watch *w)
{
	close_fd(&w->fd);
	cgroup_fini(&w->cg);
}

static int check_oom(struct oom_watch *w, const char *id, struct buf *line, struct err *e)
{
	char text[512];

	/* An eventfd is readable until it is read; on v2 reading acknowledges the change. */
	ssize_t n = w->v2 ? pread(w->fd, text, sizeof(text), 0) : read(w->fd, text, 8);

	if (n < 0 && errno != EAGAIN)
		close_fd(&w->fd);
	int64_t now = cgroup_oom_count(&w->cg);

	if (now <= w->count)
		return 0;
	w->count = now;
	oci_event_print("oom", id, line);
	return say(line, e);
}

static int follow(struct instance *in, const struct wall_ops *wall, uint64_t interval,
		  struct err *e)
{
	cleanup_with(buf_fini) struct buf line = BUF_INIT(1 << 20);
	cleanup_with(oom_fini) struct oom_watch oom;
	cleanup_fd int pidfd = instance_pidfd(in);
	uint64_t due = now_ns() + interval;
	int err = 0;

	oom_init(&oom, in);
	while (!err && pidfd >= 0) {
		struct pollfd p[2] = {
			{ .fd = pidfd, .events = POLLIN },
			{ .fd = oom.fd, .events = oom.v2 ? POLLPRI : POLLIN },
		};
		uint64_t now = now_ns();
		int n = poll(p, 2, due > now ? (int)((due - now) / 1000000 + 1) : 0);

		if (n < 0 && errno != EINTR)
			return err_sys(e, -errno, "poll");
		if (p[1].revents)
			err = check_oom(&oom, in->id, &line, e);
		if (err || p[0].revents)
			break;
		if (now_ns() < due)
			continue;
		due = now_ns() + interval;
		err = wall->stats ? print_stats(in, wall, &line, e) : 0;
	}
	/* It may have ended because of the OOM killer. */
	return err ? err : check_oom(&oom, in->id, &line, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(instance_fini) struct instance in = INSTANCE_INIT;
	cleanup_with(buf_fini) struct buf line = BUF_INIT(1 << 20);
	const struct settings *s = settings;
	const struct wall_ops *wall;
	int err = oci_open(&in, argv[0], false, &wall, e);

	if (!err && instance_probe(&in) == INSTANCE_STOPPED)
		err = err_set(e, -ESRCH, "container is not running");
	if (!err && !wall->stats)
		err = err_set(e, -EOPNOTSUPP, "the %s wall has no statistics", wall->name);
	if (!err)
		err = s->stats ? print_stats(&in, wall, &line, e)
			       : follow(&in, wall, s->interval ? s->interval : 5000000000ULL, e);
	if (err)
		err_wrap(e, "events '%s'", argv[0]);
	return err;
}

extern const struct command oci_cmd_events;
const struct command oci_cmd_events = {
	.name = "events",
	.args = "ID",
	.summary = "Print statistics and out-of-memory events of a container",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
