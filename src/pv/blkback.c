/*
 * Disks: the thread that serves a blkring, and its coming and going.
 *
 * A doorbell wakes the thread; answers raise the port's event. The device loop connects it when the guest's driver
 * says that it is ready, and joins it when the driver closes.
 *
 * Trust: the ring reference and the port are the guest's and are checked here; requests are blkring.c's.
 * Threads: one for each connected disk; connect and disconnect on the device loop's.
 * #syscalls: ppoll read write clone3 futex
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "pv/blkring.h"
#include "pv/domain.h"

struct pv_blk {
	struct pv_domain *d;
	unsigned index;
	bool connected;
	_Atomic bool stop;
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

static void *thread(void *arg)
{
	struct pv_blk *b = arg;
	struct pollfd p = { .fd = b->bell.fd, .events = POLLIN };
	sigset_t all;
	uint64_t n;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
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
	return NULL;
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
	int r = pthread_create(&b->thread, NULL, thread, b);

	if (r) {
		pv_bell_close(b->d, &b->bell);
		return -r;
	}
	b->connected = true;
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
	pthread_join(b->thread, NULL);
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
	free(b);
}
