/*
 * Disks: the thread that serves a blkring, and its coming and going.
 *
 * A doorbell wakes the thread; answers raise the port's event. The device loop lets it serve when the guest's driver
 * says that it is ready, and waits until it rests again when the driver closes. It lives as long as the guest, so that
 * it can be confined before that runs. Only it touches the disk.
 *
 * Trust: the ring reference and the port are the guest's and are checked here; requests are blkring.c's.
 * Threads: one for each disk; connect and disconnect on the device loop's.
 * #syscalls(disk): ppoll read futex
 * #syscalls(main): write futex
 * #syscalls(start): clone3 rt_sigprocmask
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "os/futex.h"
#include "pv/blkring.h"
#include "pv/domain.h"

enum blk_state { BLK_RESTS, BLK_SERVES, BLK_TO_REST, BLK_TO_END };

struct pv_blk {
	struct pv_domain *d;
	unsigned index;
	bool connected, has_thread;
	_Atomic bool stop;	/* leave the ring at once */
	_Atomic uint32_t state; /* enum blk_state; futex */
	pthread_t thread;
	struct pv_bell bell;
	struct blkring ring;
};

static void *page_of(void *arg, uint32_t ref, bool write)
{
	struct pv_blk *b = arg;

	return pv_grant_page(b->d, ref, write);
}

static void notify(void *arg)
{
	struct pv_blk *b = arg;

	pv_event_raise(b->d, b->bell.port);
}

/* Until the device loop wants it to stop, or the guest broke its ring. */
static void serve(struct pv_blk *b)
{
	struct pollfd p = { .fd = b->bell.fd, .events = POLLIN };
	uint64_t n;

	while (!atomic_load_explicit(&b->stop, memory_order_acquire)) {
		if (!blkring_drain(&b->ring, &b->stop)) {
			pv_complain(b->d,
				    "disk %s was cut off: its ring's indices are too far apart",
				    b->d->config.disk[b->index].name);
			break;
		}
		if (ppoll(&p, 1, NULL, NULL) < 0 && errno != EINTR)
			break;
		if (read(b->bell.fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
			break;
	}
}

static void set_state(struct pv_blk *b, enum blk_state state)
{
	atomic_store_explicit(&b->state, state, memory_order_seq_cst);
	futex_wake(&b->state);
}

/* The driver is gone. What it wrote and did not flush shall not be lost with it; a failure has nobody left to go
 * to. */
static void rest(struct pv_blk *b)
{
	if (!b->ring.block->read_only)
		block_flush(b->ring.block);
	set_state(b, BLK_RESTS);
}

static void *thread(void *arg)
{
	struct pv_blk *b = arg;
	struct pv_domain *d = b->d;
	int r = d->config.confine ? d->config.confine(PV_THREAD_DISK) : 0;

	if (r < 0) {
		struct err e = ERR_INIT;

		err_sys(&e, r, "jail of disk %s", d->config.disk[b->index].name);
		pv_host_failed(d, &e);
		return NULL;
	}
	for (uint32_t state;;) {
		state = atomic_load_explicit(&b->state, memory_order_seq_cst);
		if (state == BLK_TO_END)
			return NULL;
		if (state == BLK_SERVES)
			serve(b);
		else if (state == BLK_TO_REST)
			rest(b);
		futex_wait(&b->state, state, FUTEX_FOREVER);
	}
}

int pv_blk_start(struct pv_blk *b, struct err *e)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&b->thread, NULL, thread, b);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return err_sys(e, -r, "thread of disk %s", b->d->config.disk[b->index].name);
	b->has_thread = true;
	return 0;
}

int pv_blk_connect(struct pv_blk *b, uint32_t ring_ref, uint32_t port)
{
	uint8_t *page = pv_grant_page(b->d, ring_ref, true);
	const char *name = b->d->config.disk[b->index].name;

	if (b->connected)
		return 0;
	if (!page || !port) {
		pv_complain(b->d, "disk %s: its ring is not granted", name);
		return -EINVAL;
	}
	blkring_start(&b->ring, page);
	pv_bell_open(b->d, &b->bell, port);
	if (b->bell.index < 0) {
		pv_bell_close(b->d, &b->bell);
		pv_complain(b->d, "disk %s: no doorbell left", name);
		return -ENOSPC;
	}
	atomic_store_explicit(&b->stop, false, memory_order_release);
	b->connected = true;
	set_state(b, BLK_SERVES);
	return 0;
}

void pv_blk_disconnect(struct pv_blk *b)
{
	uint64_t one = 1;

	if (!b->connected)
		return;
	atomic_store_explicit(&b->stop, true, memory_order_release);
	if (write(b->bell.fd, &one, sizeof(one)) < 0) {
		/* Full: it is readable already. */
	}
	set_state(b, BLK_TO_REST);
	while (b->has_thread &&
	       atomic_load_explicit(&b->state, memory_order_seq_cst) == BLK_TO_REST)
		futex_wait(&b->state, BLK_TO_REST, FUTEX_FOREVER);
	pv_bell_close(b->d, &b->bell);
	b->connected = false;
}

int pv_blk_new(struct pv_domain *d, unsigned index, struct err *e)
{
	struct pv_blk *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(e, -ENOMEM, "disk %s: out of memory", d->config.disk[index].name);
	b->d = d;
	b->index = index;
	b->ring.block = d->config.disk[index].block;
	b->ring.page = page_of;
	b->ring.notify = notify;
	b->ring.arg = b;
	b->bell = (struct pv_bell){ .index = -1, .fd = -1 };
	d->blk[index] = b;
	return 0;
}

void pv_blk_free(struct pv_blk *b)
{
	if (!b)
		return;
	pv_blk_disconnect(b);
	if (b->has_thread) {
		set_state(b, BLK_TO_END);
		pthread_join(b->thread, NULL);
	}
	free(b);
}
