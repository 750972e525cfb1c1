/* The event loop: descriptors, timers and signals on one epoll. Sources are embedded by their
 * owners. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/list.h"

struct loop;
struct loop_fd;
struct loop_timer;

struct loop_fd {
	int fd; /* not owned */
	/* `events` are EPOLL* bits. May remove any source, this one included, and may free it. */
	void (*fn)(struct loop_fd *s, uint32_t events);
	bool added;
};

struct loop_timer {
	struct list link;  /* in the loop's list, ordered by deadline */
	uint64_t deadline; /* CLOCK_MONOTONIC, ns */
	void (*fn)(struct loop_timer *t);
	bool armed;
};

struct loop {
	int epfd;
	struct list timers;
	struct epoll_event *batch; /* being dispatched; removed sources are blanked in it */
	int batch_n;
	bool stopping;
	int result;
	/* After work, looks for more for so long before it sleeps: a sleeping processor takes longer to wake than many
	 * requests take. Only while that finds something, or sleeps turn out shorter. 0: never. */
	uint64_t spin_ns;
	bool spinning;
};

/* 0 or -errno. */
int loop_init(struct loop *l);
void loop_fini(struct loop *l);

/* Watches `s->fd` for `events`; calling again changes the events. 0 or -errno. */
int loop_watch(struct loop *l, struct loop_fd *s, uint32_t events);
/* Forgets a source; harmless when it was not added. The descriptor stays open. */
void loop_unwatch(struct loop *l, struct loop_fd *s);

/* Fires once, `ns` from now; arming an armed timer moves it. */
void loop_arm(struct loop *l, struct loop_timer *t, uint64_t ns);
void loop_disarm(struct loop_timer *t);

/* Runs until loop_stop; returns its value, or -errno. */
int loop_run(struct loop *l);
/* One round: waits at most `timeout_ms` (-1: until something happens). 0 or -errno. */
int loop_once(struct loop *l, int timeout_ms);
void loop_stop(struct loop *l, int result);

/* CLOCK_MONOTONIC in ns. */
uint64_t now_ns(void);

/* Blocks `set` for the calling thread and returns a signalfd for it (CLOEXEC, non-blocking), or
 * -errno. */
int signal_fd_open(const sigset_t *set);
