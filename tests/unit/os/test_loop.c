/* The event loop: order of timers, sources that leave while a batch is dispatched, signals. */
#include "os/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../test.h"
#include "base/util.h"

static struct loop loop;
static int order[8], fired;

struct mark {
	struct loop_timer timer;
	int number;
};

static void note(struct loop_timer *t)
{
	order[fired++] = container_of(t, struct mark, timer)->number;
	if (fired == 3)
		loop_stop(&loop, 77);
}

static int enter(void **state)
{
	(void)state;
	fired = 0;
	return loop_init(&loop);
}

static int leave(void **state)
{
	(void)state;
	loop_fini(&loop);
	return 0;
}

static void timers_fire_in_order(void **state)
{
	struct mark a = { { .fn = note }, 1 }, b = { { .fn = note }, 2 }, c = { { .fn = note }, 3 };

	(void)state;
	loop_arm(&loop, &c.timer, 9000000);
	loop_arm(&loop, &a.timer, 1000000);
	loop_arm(&loop, &b.timer, 5000000);
	uint64_t begin = now_ns();

	assert_int_equal(loop_run(&loop), 77);
	assert_true(now_ns() - begin >= 9000000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(order[i], i + 1);
}

static void arming_again_moves_a_timer(void **state)
{
	struct mark a = { { .fn = note }, 1 }, b = { { .fn = note }, 2 };

	(void)state;
	loop_arm(&loop, &a.timer, 1000000);
	loop_arm(&loop, &b.timer, 2000000);
	loop_arm(&loop, &a.timer, 4000000);
	loop_disarm(&b.timer);
	loop_disarm(&b.timer);
	uint64_t begin = now_ns();

	while (fired < 1)
		assert_int_equal(loop_once(&loop, -1), 0);
	assert_int_equal(order[0], 1);
	assert_true(now_ns() - begin >= 4000000);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(fired, 1);
}

static void rearm_at_once(struct loop_timer *t)
{
	fired++;
	loop_arm(&loop, t, 0);
}

static void a_timer_that_rearms_cannot_starve_the_loop(void **state)
{
	struct loop_timer t = { .fn = rearm_at_once };

	(void)state;
	loop_arm(&loop, &t, 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_once(&loop, -1), 0);
	assert_true(fired >= 1 && fired <= 20);
	loop_disarm(&t);
}

/* Two sources are ready at once; whichever runs first frees the other, which must not be called. */
struct pair {
	struct loop_fd source;
	struct pair *other;
};

static struct pair *freed;

static void free_the_other(struct loop_fd *s, uint32_t events)
{
	struct pair *p = container_of(s, struct pair, source);

	(void)events;
	fired++;
	loop_unwatch(&loop, &p->other->source);
	close(p->other->source.fd);
	free(p->other);
	freed = p->other;
}

static void a_callback_may_free_another_source(void **state)
{
	struct pair *pair[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		pair[i] = calloc(1, sizeof(*pair[i]));
		assert_non_null(pair[i]);
		pair[i]->source.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
		pair[i]->source.fn = free_the_other;
		assert_int_equal(loop_watch(&loop, &pair[i]->source, EPOLLIN), 0);
	}
	pair[0]->other = pair[1];
	pair[1]->other = pair[0];
	assert_int_equal(loop_once(&loop, -1), 0);
	assert_int_equal(fired, 1);
	struct pair *left = freed == pair[0] ? pair[1] : pair[0];

	loop_unwatch(&loop, &left->source);
	loop_unwatch(&loop, &left->source);
	close(left->source.fd);
	free(left);
}

static void count(struct loop_fd *s, uint32_t events)
{
	fired++;
	assert_int_equal(events, (uint32_t)(intptr_t)EPOLLOUT);
	(void)s;
}

static void watching_again_changes_the_events(void **state)
{
	struct loop_fd s = { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = count };

	(void)state;
	assert_int_equal(loop_watch(&loop, &s, EPOLLIN), 0);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(fired, 0);
	assert_int_equal(loop_watch(&loop, &s, EPOLLOUT), 0);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(fired, 1);
	loop_unwatch(&loop, &s);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(fired, 1);
	close(s.fd);
	assert_int_equal(loop_watch(&loop, &s, EPOLLIN), -EBADF);
}

static void take_signal(struct loop_fd *s, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	assert_int_equal(read(s->fd, &info, sizeof(info)), sizeof(info));
	loop_stop(&loop, (int)info.ssi_signo);
}

static void signals_arrive_as_events(void **state)
{
	sigset_t set, old;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, NULL, &old);
	struct loop_fd s = { .fd = signal_fd_open(&set), .fn = take_signal };

	assert_true(s.fd >= 0);
	assert_true(fcntl(s.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(loop_watch(&loop, &s, EPOLLIN), 0);
	raise(SIGUSR1);
	assert_int_equal(loop_run(&loop), SIGUSR1);
	loop_unwatch(&loop, &s);
	close(s.fd);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void handle(int sig)
{
	(void)sig;
	fired++;
}

static void an_interrupted_wait_is_no_error(void **state)
{
	struct sigaction action = { .sa_handler = handle }, old;
	struct itimerval soon = { .it_value.tv_usec = 5000 };

	(void)state;
	sigaction(SIGALRM, &action, &old);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(loop_once(&loop, 5000), 0);
	assert_int_equal(fired, 1);
	sigaction(SIGALRM, &old, NULL);
}

static void a_round_waits_no_longer_than_asked(void **state)
{
	struct mark late = { { .fn = note }, 1 };
	uint64_t begin = now_ns();

	(void)state;
	loop_arm(&loop, &late.timer, 60000000000);
	assert_int_equal(loop_once(&loop, 3), 0);
	assert_true(now_ns() - begin >= 3000000 && now_ns() - begin < 5000000000);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(fired, 0);
	loop_arm(&loop, &late.timer, UINT64_MAX);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(fired, 0);
	loop_disarm(&late.timer);
}

static void count_any(struct loop_fd *s, uint32_t events)
{
	(void)s, (void)events;
	fired++;
}

/* A loop that looks a while before it sleeps finds what comes, waits no longer for it, and sleeps when nothing does. */
static void spinning_ends(void **state)
{
	struct loop_fd s = { .fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC), .fn = count_any };
	struct mark soon = { { .fn = note }, 1 };
	struct timespec used[2];

	(void)state;
	loop.spin_ns = 20000000;
	loop.spinning = true;
	assert_int_equal(loop_watch(&loop, &s, EPOLLIN), 0);
	uint64_t begin = now_ns();

	assert_int_equal(loop_once(&loop, 5000), 0);
	assert_true(now_ns() - begin < 2000000000);
	assert_int_equal(fired, 1);
	loop_unwatch(&loop, &s);
	loop_arm(&loop, &soon.timer, 100000000);
	assert_int_equal(loop_once(&loop, 5000),
			 0); /* spins in vain, then sleeps until the timer */
	assert_false(loop.spinning);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used[0]);
	loop_arm(&loop, &soon.timer, 100000000);
	assert_int_equal(loop_once(&loop, 5000), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used[1]);
	assert_true((used[1].tv_sec - used[0].tv_sec) * 1000000000 + used[1].tv_nsec -
			    used[0].tv_nsec <
		    15000000);
	loop_disarm(&soon.timer);
	close(s.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timers_fire_in_order, enter, leave),
		cmocka_unit_test_setup_teardown(arming_again_moves_a_timer, enter, leave),
		cmocka_unit_test_setup_teardown(a_timer_that_rearms_cannot_starve_the_loop, enter,
						leave),
		cmocka_unit_test_setup_teardown(a_callback_may_free_another_source, enter, leave),
		cmocka_unit_test_setup_teardown(watching_again_changes_the_events, enter, leave),
		cmocka_unit_test_setup_teardown(signals_arrive_as_events, enter, leave),
		cmocka_unit_test_setup_teardown(an_interrupted_wait_is_no_error, enter, leave),
		cmocka_unit_test_setup_teardown(a_round_waits_no_longer_than_asked, enter, leave),
		cmocka_unit_test_setup_teardown(spinning_ends, enter, leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
