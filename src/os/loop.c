/*
 * The event loop of the keeper and the VMM's main thread.
 *
 * Level-triggered epoll; timers are a list ordered by deadline (there are never more than a
 * handful), and the nearest one is the timeout of epoll_wait. A callback may remove and free any
 * source: sources that leave while a batch is being dispatched are blanked out of that batch.
 *
 * Trust: none crosses here. Threads: one loop, one thread.
 * #syscalls: clock_gettime
 * #syscalls(main,net): epoll_ctl epoll_wait
 * #syscalls(start): epoll_create1 rt_sigprocmask signalfd4 close
 */
#include "os/loop.h"

#include <errno.h>
#include <limits.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int loop_init(struct loop *l)
{
	*l = (struct loop){ .epfd = epoll_create1(EPOLL_CLOEXEC) };
	list_init(&l->timers);
	return l->epfd < 0 ? -errno : 0;
}

void loop_fini(struct loop *l)
{
	list_for_each_safe (p, &l->timers)
		loop_disarm(list_item(p, struct loop_timer, link));
	if (l->epfd >= 0)
		close(l->epfd);
	l->epfd = -1;
}

int loop_watch(struct loop *l, struct loop_fd *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	if (epoll_ctl(l->epfd, s->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &ev) < 0)
		return -errno;
	s->added = true;
	return 0;
}

void loop_unwatch(struct loop *l, struct loop_fd *s)
{
	if (!s->added)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, s->fd, NULL);
	s->added = false;
	for (int i = 0; i < l->batch_n; i++)
		if (l->batch[i].data.ptr == s)
			l->batch[i].data.ptr = NULL;
}

void loop_arm(struct loop *l, struct loop_timer *t, uint64_t ns)
{
	loop_disarm(t);
	if (__builtin_add_overflow(now_ns(), ns, &t->deadline))
		t->deadline = UINT64_MAX;
	struct list *after = l->timers.prev;

	while (after != &l->timers &&
	       list_item(after, struct loop_timer, link)->deadline > t->deadline)
		after = after->prev;
	/* Adding before a node equals adding at the end of a list that starts there. */
	list_add(after->next, &t->link);
	t->armed = true;
}

void loop_disarm(struct loop_timer *t)
{
	if (!t->armed)
		return;
	list_del(&t->link);
	t->armed = false;
}

static int timeout_for(struct loop *l, int timeout_ms)
{
	if (list_empty(&l->timers))
		return timeout_ms;
	uint64_t deadline = list_item(l->timers.next, struct loop_timer, link)->deadline;
	uint64_t now = now_ns();
	uint64_t ms = deadline <= now ? 0 : (deadline - now + 999999) / 1000000;

	if (ms > INT_MAX)
		ms = INT_MAX;
	return timeout_ms >= 0 && (uint64_t)timeout_ms < ms ? timeout_ms : (int)ms;
}

/* Timers armed by a callback wait for the next round, so a timer that re-arms itself cannot starve
 * us. */
static void fire_timers(struct loop *l)
{
	uint64_t now = now_ns();

	while (!list_empty(&l->timers) && !l->stopping) {
		struct loop_timer *t = list_item(l->timers.next, struct loop_timer, link);

		if (t->deadline > now)
			break;
		loop_disarm(t);
		t->fn(t);
	}
}

/* epoll_wait that may look a while before it sleeps. */
static int wait_for(struct loop *l, struct epoll_event *batch, int timeout_ms)
{
	if (!l->spin_ns || !timeout_ms)
		return epoll_wait(l->epfd, batch, BATCH, timeout_ms);
	uint64_t begin = now_ns(), end = l->spinning ? begin + l->spin_ns : 0;
	int n = 0;

	while (!n && now_ns() < end)
		n = epoll_wait(l->epfd, batch, BATCH, 0);
	if (n)
		return n;
	begin = now_ns();
	n = epoll_wait(l->epfd, batch, BATCH, timeout_ms);
	l->spinning = now_ns() - begin < 2 * l->spin_ns;
	return n;
}

int loop_once(struct loop *l, int timeout_ms)
{
	struct epoll_event batch[BATCH];
	int n = wait_for(l, batch, timeout_for(l, timeout_ms));

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->batch = batch;
	l->batch_n = n;
	for (int i = 0; i < n && !l->stopping; i++) {
		struct loop_fd *s = batch[i].data.ptr;

		if (s)
			s->fn(s, batch[i].events);
	}
	l->batch_n = 0;
	l->batch = NULL;
	fire_timers(l);
	return 0;
}

int loop_run(struct loop *l)
{
	l->stopping = false;
	while (!l->stopping) {
		int r = loop_once(l, -1);

		if (r)
			return r;
	}
	return l->result;
}

void loop_stop(struct loop *l, int result)
{
	l->stopping = true;
	l->result = result;
}

int signal_fd_open(const sigset_t *set)
{
	if (sigprocmask(SIG_BLOCK, set, NULL) < 0)
		return -errno;
	int fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}
