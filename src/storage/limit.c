/*
 * Rate limits of a disk, in front of any back end.
 *
 * Two buckets, one of requests and one of bytes, fill at their rate up to a second's worth. A request passes when no
 * bucket is in debt, and then takes what it costs, so that one larger than the bucket passes too and pays afterwards.
 * Those that must wait do so in their order, and a timer lets them go on. The descriptor that the owner's loop watches
 * is an epoll of that timer and of the back end's own.
 *
 * Trust: offsets and lengths were judged in block.c. Threads: one at a time.
 * #syscalls(disk,block): timerfd_settime read
 * #syscalls(start): epoll_create1 epoll_ctl timerfd_create timerfd_settime close
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/loop.h"
#include "storage/block.h"

#define SECOND_NS 1000000000ull
/* More a second is no limit, and keeps the arithmetic in 64 bits. */
#define RATE_MAX (1ull << 33)
/* Nor more debt, which grows when a guest has its requests rushed again and again. */
#define DEBT_MAX ((int64_t)1 << 42)

struct bucket {
	uint64_t rate; /* a second; 0: no limit */
	int64_t level; /* what may pass at once; less than nothing: debt */
	uint64_t filled_ns;
};

struct limited {
	struct block base;
	struct block *inner;
	struct bucket requests, bytes;
	int timer;
	struct block_io *first, **end; /* waiting */
};

static struct limited *limited_of(struct block *b)
{
	return container_of(b, struct limited, base);
}

static void bucket_fill(struct bucket *b, uint64_t now)
{
	uint64_t ns = MIN(now - b->filled_ns, SECOND_NS);
	uint64_t more = b->rate * (ns / 1000) / (SECOND_NS / 1000);

	if (!more)
		return; /* time goes on to count */
	b->level = MIN(b->level + (int64_t)more, (int64_t)b->rate);
	b->filled_ns = now;
}

/* How long until it is out of debt. */
static uint64_t bucket_wait(const struct bucket *b)
{
	return b->rate && b->level <= 0
		       ? ((uint64_t)(1 - b->level) * (SECOND_NS / 1000) / b->rate + 1) * 1000
		       : 0;
}

/* Zeroes too: some back ends have to write them. */
static uint64_t cost(const struct block_io *io)
{
	return io->op == BLOCK_READ || io->op == BLOCK_WRITE || io->op == BLOCK_ZERO ? io->len : 0;
}

static void bucket_take(struct bucket *b, uint64_t n)
{
	if (b->rate)
		b->level = MAX(b->level - (int64_t)n, -DEBT_MAX);
}

static void pay(struct limited *l, const struct block_io *io)
{
	bucket_take(&l->requests, 1);
	bucket_take(&l->bytes, cost(io));
}

/* 0 and paid for, or how long to wait. */
static uint64_t pass(struct limited *l, const struct block_io *io)
{
	uint64_t now = now_ns();

	bucket_fill(&l->requests, now);
	bucket_fill(&l->bytes, now);
	uint64_t wait = MAX(bucket_wait(&l->requests), bucket_wait(&l->bytes));

	if (wait)
		return wait;
	pay(l, io);
	return 0;
}

static void set_timer(const struct limited *l, uint64_t ns)
{
	const struct itimerspec when = { .it_value = { .tv_sec = (time_t)(ns / SECOND_NS),
						       .tv_nsec = (long)(ns % SECOND_NS) } };

	timerfd_settime(l->timer, 0, &when, NULL);
}

static void let_go_on(struct limited *l)
{
	while (l->first) {
		struct block_io *io = l->first;
		uint64_t wait = pass(l, io);

		if (wait) {
			set_timer(l, wait);
			return;
		}
		l->first = io->next;
		if (!l->first)
			l->end = &l->first;
		block_submit(l->inner, io);
	}
}

static void limited_submit(struct block *b, struct block_io *io)
{
	struct limited *l = limited_of(b);

	if (io->op == BLOCK_FLUSH) {
		block_submit(l->inner, io);
		return;
	}
	bool alone = !l->first;

	io->next = NULL;
	*l->end = io;
	l->end = &io->next;
	if (alone)
		let_go_on(l);
}

static void limited_kick(struct block *b)
{
	block_kick(limited_of(b)->inner);
}

/* What is rushed is paid for by what comes after it: else a reset would be a way around the limits. */
static void limited_rush(struct block *b)
{
	struct limited *l = limited_of(b);

	while (l->first) {
		struct block_io *io = l->first;

		pay(l, io);
		l->first = io->next;
		block_submit(l->inner, io);
	}
	l->end = &l->first;
	block_kick(l->inner);
}

static void limited_reap(struct block *b)
{
	struct limited *l = limited_of(b);
	uint64_t count;

	if (read(l->timer, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	let_go_on(l);
	block_kick(l->inner);
	block_reap(l->inner);
}

static void limited_free(struct block *b)
{
	struct limited *l = limited_of(b);

	block_free(l->inner);
	close_fd(&l->timer);
	close_fd(&b->event_fd);
	free(l);
}

static const struct block_ops ops = {
	.name = "limited",
	.submit = limited_submit,
	.kick = limited_kick,
	.reap = limited_reap,
	.rush = limited_rush,
	.free = limited_free,
};

static int watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static struct bucket bucket_of(uint64_t rate)
{
	rate = MIN(rate, RATE_MAX);
	return (struct bucket){ .rate = rate, .level = (int64_t)rate, .filled_ns = now_ns() };
}

struct block *block_limit_new(struct block *inner, const struct block_limits *limits, struct err *e)
{
	struct limited *l = calloc(1, sizeof(*l));
	int r;

	if (!l) {
		err_sys(e, -ENOMEM, "disk limits");
		block_free(inner);
		return NULL;
	}
	l->base = *inner;
	l->base.ops = &ops;
	l->inner = inner;
	l->requests = bucket_of(limits->iops);
	l->bytes = bucket_of(limits->bps);
	l->end = &l->first;
	l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	l->base.event_fd = epoll_create1(EPOLL_CLOEXEC);
	r = l->timer < 0 || l->base.event_fd < 0 ? -errno : watch(l->base.event_fd, l->timer);
	if (r == 0)
		r = watch(l->base.event_fd, inner->event_fd);
	if (r < 0) {
		err_sys(e, r, "disk limits");
		limited_free(&l->base);
		return NULL;
	}
	return &l->base;
}
