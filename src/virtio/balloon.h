/* The virtio memory balloon (virtio 1.2, 5.5): pages that the guest does not use go back to the host. */
#pragma once

#include "virtio/device.h"

struct virtio_balloon_figures {
	uint64_t target, actual;     /* bytes in the balloon: wished, and as the driver says */
	uint64_t inflated, deflated; /* bytes, ever */
	uint64_t reported;	     /* bytes of free pages, ever */
	uint64_t stats;		     /* bit n: stat[n] is known */
	uint64_t stat[VIRTIO_BALLOON_S_COUNT]; /* as the driver told last, 5.5.6.3 */
};

/* NULL: no memory. The memory's pages are given back to the host. */
struct virtio_device *virtio_balloon_new(struct memory *mem);

/* Asks the driver to hold `bytes` in the balloon, at most what the guest has. Takes the lock. */
void virtio_balloon_set(struct virtio_device *d, uint64_t bytes);
/* What is known; asks the driver for fresh statistics, which the next call tells. Takes the lock. */
void virtio_balloon_figures(struct virtio_device *d, struct virtio_balloon_figures *f);
