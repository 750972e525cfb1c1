/* The MMIO transport (virtio 1.2, 4.2): one page of registers and one interrupt a device. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "machine/bus.h"
#include "virtio/device.h"

enum { VIRTIO_MMIO_SIZE = 0x1000 };

struct virtio_mmio {
	struct virtio_transport transport;
	struct bus_range range; /* on the machine's bus */
	struct virtio_device *device;
	void (*raise)(void *arg); /* the interrupt line, edge triggered */
	void (*ring)(void *arg);  /* all doorbells; NULL: the device works in vCPU threads alone */
	void *raise_arg;
	_Atomic(uint32_t) pending; /* InterruptStatus */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
};

/* Whether a write there makes the device act, so that it belongs on the device's own thread. */
static inline bool virtio_mmio_acts(uint64_t offset)
{
	return offset == VIRTIO_MMIO_STATUS || offset == VIRTIO_MMIO_QUEUE_NOTIFY ||
	       offset >= VIRTIO_MMIO_CONFIG;
}

/* Puts `d` behind registers at `base`. */
void virtio_mmio_init(struct virtio_mmio *t, struct virtio_device *d, uint64_t base,
		      void (*raise)(void *arg), void *arg);
