/*
 * Event channels, two-level.
 *
 * Tour stop 9: events. A port is a bit in a bitmap that kernel and hypervisor share. Sending to a port that the
 * host's end listens to rings its doorbell; IPIs and VIRQs never leave the guest. Pending, mask and selector
 * words change with atomic operations only, as the VMM's threads set bits in them as well.
 *
 * Trust: ports and vCPU numbers are the kernel's; all are bounded here. Threads: each vCPU, under `lock` for the
 * port table. #syscalls: none
 */
#include "shim.h"

static uint32_t lock;

static void take(void)
{
	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
		__asm__ volatile("pause");
}

static void give(void)
{
	__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

static struct pv_port *port_at(uint64_t port)
{
	return (struct pv_port *)(PV_HV + HV_PORTS) + port;
}

static struct pv_vcpu_page *page_of(unsigned vcpu)
{
	return (struct pv_vcpu_page *)(PV_HV + vcpu * PV_AREA_SIZE + AREA_SHARED);
}

static struct xen_vcpu_info *info_of(struct vcpu *v, unsigned vcpu)
{
	uint64_t gpa = vcpu == v->index ? 0 : page_of(vcpu)->vcpu_info_gpa;

	if (vcpu == v->index)
		return v->info;
	return gpa && (gpa >> PAGE_SHIFT) < shared()->total_pages ? phys(gpa) : NULL;
}

void event_init(void)
{
	port_at(0)->kind = PV_PORT_RESERVED;
	__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

static void notify(struct vcpu *v, uint64_t port)
{
	unsigned target = port_at(port)->vcpu;
	struct xen_vcpu_info *info = target < shared()->vcpus ? info_of(v, target) : NULL;

	if (!info)
		return;
	__atomic_or_fetch(&info->pending_sel, 1ull << (port >> 6), __ATOMIC_SEQ_CST);
	__atomic_store_n(&info->upcall_pending, 1, __ATOMIC_SEQ_CST);
	if (target != v->index) {
		v->page->arg[0] = 1ull << target;
		leave_guest(v, PV_OP_KICK);
	}
}

static void set_pending(struct vcpu *v, uint64_t port)
{
	struct xen_shared_info *s = shared_info();
	uint64_t bit = 1ull << (port & 63);

	if (__atomic_fetch_or(&s->pending[port >> 6], bit, __ATOMIC_SEQ_CST) & bit)
		return;
	if (!(__atomic_load_n(&s->mask[port >> 6], __ATOMIC_SEQ_CST) & bit)) {
		notify(v, port);
		return;
	}
	unsigned target = port_at(port)->vcpu;

	/* A masked port may still be what a vCPU polls. */
	if (target < shared()->vcpus && target != v->index &&
	    __atomic_load_n(&page_of(target)->polling, __ATOMIC_SEQ_CST)) {
		v->page->arg[0] = 1ull << target;
		leave_guest(v, PV_OP_KICK);
	}
}

/* A free port, now of `kind`; 0 when none is left. */
static uint32_t allocate(enum pv_port_kind kind, unsigned vcpu, unsigned virq)
{
	uint32_t found = 0;

	take();
	for (uint32_t p = 1; p < XEN_PORTS && !found; p++)
		if (port_at(p)->kind == PV_PORT_FREE) {
			*port_at(p) = (struct pv_port){ (uint8_t)kind, (uint8_t)virq,
							(uint16_t)vcpu };
			found = p;
		}
	give();
	return found;
}

static int64_t bind_virq(struct vcpu *v, uint64_t arg)
{
	struct xen_evtchn_bind_virq b;

	if (!copy_in(&b, arg, sizeof(b)))
		return -XEN_EFAULT;
	if (b.virq >= XEN_VIRQS || b.vcpu >= shared()->vcpus)
		return -XEN_EINVAL;
	if (b.virq == XEN_VIRQ_TIMER && page_of(b.vcpu)->timer_port)
		return -XEN_EEXIST;
	b.port = allocate(PV_PORT_VIRQ, b.vcpu, b.virq);
	if (!b.port)
		return -XEN_ENOSPC;
	if (b.virq == XEN_VIRQ_TIMER)
		page_of(b.vcpu)->timer_port = b.port;
	return copy_out(arg, &b, sizeof(b)) ? 0 : -XEN_EFAULT;
}

static int64_t bind_ipi(uint64_t arg)
{
	struct xen_evtchn_bind_ipi b;

	if (!copy_in(&b, arg, sizeof(b)))
		return -XEN_EFAULT;
	if (b.vcpu >= shared()->vcpus)
		return -XEN_EINVAL;
	b.port = allocate(PV_PORT_IPI, b.vcpu, 0);
	if (!b.port)
		return -XEN_ENOSPC;
	return copy_out(arg, &b, sizeof(b)) ? 0 : -XEN_EFAULT;
}

/* Every remote end is the host's, which finds the port's number in xenstore. */
static int64_t alloc_unbound(struct vcpu *v, uint64_t arg)
{
	struct xen_evtchn_alloc_unbound b;

	if (!copy_in(&b, arg, sizeof(b)))
		return -XEN_EFAULT;
	b.port = allocate(PV_PORT_BACKEND, (unsigned)v->index, 0);
	if (!b.port)
		return -XEN_ENOSPC;
	return copy_out(arg, &b, sizeof(b)) ? 0 : -XEN_EFAULT;
}

static int64_t close_port(uint64_t arg)
{
	uint32_t port;

	if (!copy_in(&port, arg, sizeof(port)))
		return -XEN_EFAULT;
	if (port >= XEN_PORTS || port_at(port)->kind == PV_PORT_RESERVED)
		return -XEN_EINVAL;
	take();
	struct pv_port *p = port_at(port);

	if (p->kind == PV_PORT_VIRQ && p->virq == XEN_VIRQ_TIMER && p->vcpu < PV_VCPUS_MAX)
		page_of(p->vcpu)->timer_port = 0;
	*p = (struct pv_port){ PV_PORT_FREE, 0, 0 };
	shared()->bell[port] = 0;
	__atomic_fetch_and(&shared_info()->pending[port >> 6], ~(1ull << (port & 63)),
			   __ATOMIC_SEQ_CST);
	give();
	return 0;
}

static int64_t send(struct vcpu *v, uint64_t arg)
{
	uint32_t port;

	if (!copy_in(&port, arg, sizeof(port)))
		return -XEN_EFAULT;
	if (port >= XEN_PORTS)
		return -XEN_EINVAL;
	switch (port_at(port)->kind) {
	case PV_PORT_IPI:
		set_pending(v, port);
		return 0;
	case PV_PORT_BACKEND:
		if (shared()->bell[port] && shared()->bell[port] <= PV_BELLS) {
			ring_bell(shared()->bell[port] - 1u);
			return 0;
		}
		v->page->arg[0] = port;
		leave_guest(v, PV_OP_SEND);
		return 0;
	}
	return -XEN_EINVAL;
}

static int64_t status(uint64_t arg)
{
	static const uint8_t of_kind[] = {
		[PV_PORT_FREE] = EVTCHNSTAT_CLOSED,
		[PV_PORT_UNBOUND] = EVTCHNSTAT_UNBOUND,
		[PV_PORT_BACKEND] = EVTCHNSTAT_INTERDOMAIN,
		[PV_PORT_VIRQ] = EVTCHNSTAT_VIRQ,
		[PV_PORT_IPI] = EVTCHNSTAT_IPI,
		[PV_PORT_RESERVED] = EVTCHNSTAT_CLOSED,
	};
	struct xen_evtchn_status b;

	if (!copy_in(&b, arg, sizeof(b)))
		return -XEN_EFAULT;
	if (b.port >= XEN_PORTS || port_at(b.port)->kind >= sizeof(of_kind))
		return -XEN_EINVAL;
	b.status = of_kind[port_at(b.port)->kind];
	b.vcpu = port_at(b.port)->vcpu;
	b.u[0] = port_at(b.port)->virq;
	return copy_out(arg, &b, sizeof(b)) ? 0 : -XEN_EFAULT;
}

static int64_t bind_vcpu(uint64_t arg)
{
	struct xen_evtchn_bind_vcpu b;

	if (!copy_in(&b, arg, sizeof(b)))
		return -XEN_EFAULT;
	if (b.port >= XEN_PORTS || b.vcpu >= shared()->vcpus ||
	    port_at(b.port)->kind != PV_PORT_BACKEND)
		return -XEN_EINVAL;
	port_at(b.port)->vcpu = (uint16_t)b.vcpu;
	return 0;
}

static int64_t unmask(struct vcpu *v, uint64_t arg)
{
	uint32_t port;

	if (!copy_in(&port, arg, sizeof(port)))
		return -XEN_EFAULT;
	if (port >= XEN_PORTS)
		return -XEN_EINVAL;
	uint64_t bit = 1ull << (port & 63);

	__atomic_fetch_and(&shared_info()->mask[port >> 6], ~bit, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&shared_info()->pending[port >> 6], __ATOMIC_SEQ_CST) & bit)
		notify(v, port);
	return 0;
}

int64_t hc_event_channel_op(struct vcpu *v, const uint64_t *a)
{
	switch (a[0]) {
	case EVTCHNOP_BIND_VIRQ:
		return bind_virq(v, a[1]);
	case EVTCHNOP_BIND_IPI:
		return bind_ipi(a[1]);
	case EVTCHNOP_ALLOC_UNBOUND:
		return alloc_unbound(v, a[1]);
	case EVTCHNOP_BIND_VCPU:
		return bind_vcpu(a[1]);
	case EVTCHNOP_CLOSE:
		return close_port(a[1]);
	case EVTCHNOP_SEND:
		return send(v, a[1]);
	case EVTCHNOP_UNMASK:
		return unmask(v, a[1]);
	case EVTCHNOP_STATUS:
		return status(a[1]);
	case EVTCHNOP_RESET:
		return 0;
	}
	return -XEN_ENOSYS;
}
