/*
 * Events from the host to the guest, and doorbells back.
 *
 * Tour stop 13: an interrupt without an interrupt controller. A back end sets its port's bit in the shared
 * bitmap; if the port is not masked, the vCPU it is bound to gets its selector bit and the pending byte, and a
 * wake. The shim looks at that byte on every way out; a vCPU that is deep in guest code is interrupted.
 *
 * Trust: the port table, masks and the address of vcpu_info lie in guest memory. A port is bounded, the vCPU
 * number is bounded, the address goes through the door; a lie only misleads the guest itself.
 * Threads: any for pv_event_raise, else the device loop's.
 * #syscalls(main): eventfd2 ioctl close
 * #ioctls(main): KVM_IOEVENTFD
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pv/domain.h"

void pv_event_raise(struct pv_domain *d, uint32_t port)
{
	if (port == 0 || port >= XEN_PORTS)
		return;
	uint64_t bit = 1ull << (port & 63);

	if (__atomic_fetch_or(&d->info->pending[port >> 6], bit, __ATOMIC_SEQ_CST) & bit)
		return;
	unsigned target = __atomic_load_n(&d->ports[port].vcpu, __ATOMIC_RELAXED);
	struct pv_vcpu *v = &d->vcpu[target < d->vcpus ? target : 0];

	if (__atomic_load_n(&d->info->mask[port >> 6], __ATOMIC_SEQ_CST) & bit) {
		if (__atomic_load_n(&v->page->polling, __ATOMIC_SEQ_CST))
			pv_vcpu_wake(v);
		return;
	}
	struct xen_vcpu_info *info = memory_at(
		&d->mem, GPA(__atomic_load_n(&v->page->vcpu_info_gpa, __ATOMIC_RELAXED)),
		sizeof(*info));

	if (!info)
		return;
	__atomic_or_fetch(&info->pending_sel, 1ull << (port >> 6), __ATOMIC_SEQ_CST);
	__atomic_store_n(&info->upcall_pending, 1, __ATOMIC_SEQ_CST);
	pv_vcpu_wake(v);
}

void pv_bell_open(struct pv_domain *d, struct pv_bell *b, uint32_t port)
{
	*b = (struct pv_bell){ .index = -1, .fd = -1, .port = port };
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->fd < 0 || port >= XEN_PORTS)
		return;
	for (int i = 0; i < PV_BELLS; i++) {
		if (d->bells >> i & 1)
			continue;
		if (kvm_ioeventfd(d->machine.vm, b->fd,
				  PV_MMIO_GPA + PV_MMIO_BELL + 8ull * (unsigned)i, 4, false, 0,
				  false) < 0)
			return;
		d->bells |= 1ull << i;
		b->index = i;
		__atomic_store_n(&d->shared->bell[port], (uint8_t)(i + 1), __ATOMIC_SEQ_CST);
		return;
	}
}

void pv_bell_close(struct pv_domain *d, struct pv_bell *b)
{
	if (b->index >= 0) {
		if (b->port < XEN_PORTS)
			__atomic_store_n(&d->shared->bell[b->port], 0, __ATOMIC_SEQ_CST);
		kvm_ioeventfd(d->machine.vm, b->fd,
			      PV_MMIO_GPA + PV_MMIO_BELL + 8ull * (unsigned)b->index, 4, false, 0,
			      true);
		d->bells &= ~(1ull << b->index);
	}
	close_fd(&b->fd);
	b->index = -1;
	b->port = 0;
}
