/*
 * A pv guest from its making to its end.
 *
 * Tour stop 2: the parts of a virtual machine. pv_new makes the KVM machine and its memory, places the shim, loads
 * the kernel, and makes the vCPUs. pv_run serves the devices on the calling thread and gives each vCPU a thread of
 * its own. Whoever first has a reason to end the guest writes it down; all threads then find `stopping`.
 *
 * Trust: what the caller configured is ours. The guest speaks through memory and exits only; see the other files.
 * Threads: pv_new, pv_run, pv_free one; pv_stop, pv_pause, pv_stats, pv_end any. 
 * #syscalls(start): eventfd2 close clone3
 * #syscalls(vcpu,disk,main): write futex tgkill
 * #syscalls(main): read
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "machine/probe.h"
#include "pv/domain.h"

#define MEMORY_MIN (32ull << 20)
#define MEMORY_MAX (128ull << 30) /* the page tables of the linear map have room for it */

static int check_config(const struct pv_config *c, struct err *e)
{
	if (c->memory < MEMORY_MIN || c->memory > MEMORY_MAX)
		return err_set(e, -EINVAL, "memory of %llu MB: a pv guest takes %llu MB to %llu GB",
			       (unsigned long long)(c->memory >> 20), MEMORY_MIN >> 20,
			       MEMORY_MAX >> 30);
	if (c->vcpus < 1 || c->vcpus > PV_VCPUS_MAX)
		return err_set(e, -EINVAL, "%u vCPUs: a pv guest takes 1 to %d", c->vcpus,
			       PV_VCPUS_MAX);
	if (c->disks > PV_DISKS_MAX || c->consoles < 1 || c->consoles > PV_CONSOLES_MAX)
		return err_set(e, -EINVAL, "at most %d disks and %d consoles", PV_DISKS_MAX,
			       PV_CONSOLES_MAX);
	return 0;
}

static int make_machine(struct pv_domain *d, struct err *e)
{
	struct cpu_probe probe;
	int r = cpu_probe(d->config.kvm, false, &probe, e);

	if (r)
		return r;
	if (probe.kind == CPU_UNUSABLE)
		return -ENOTSUP;
	d->ring0 = probe.kind == CPU_RING0;
	r = machine_init(&d->machine, d->config.kvm, e);
	if (r)
		return r;
	uint64_t m2p = ALIGN_UP((d->ram + HV_M2P) / PAGE * 8 + PAGE, (uint64_t)PAGE_2M);

	r = memory_init(&d->mem, d->ram + HV_M2P + m2p, false, e);
	if (r)
		return r;
	r = kvm_memory_region(d->machine.vm, 0, 0, d->mem.size, d->mem.base, 0);
	return r ? err_sys(e, r, "KVM: the guest's memory") : 0;
}

static int make(struct pv_domain *d, struct err *e)
{
	uint64_t cr3 = 0;
	int r = make_machine(d, e);

	if (!r)
		r = pv_place_shim(d, e);
	if (!r)
		r = pv_build(d, &cr3, e);
	for (unsigned i = 0; i < d->vcpus && !r; i++) {
		r = pv_place_area(d, i, cr3, e);
		if (!r)
			r = pv_vcpu_init(d, i, cr3, e);
	}
	if (r)
		return r;
	r = loop_init(&d->loop);
	if (r)
		return err_sys(e, r, "the event loop");
	d->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->stop_fd < 0)
		return err_sys(e, -errno, "eventfd");
	r = pv_xenbus_init(d, e);
	for (unsigned i = 0; i < d->config.consoles && !r; i++)
		r = pv_console_init(d, i, e);
	for (unsigned i = 0; i < d->config.disks && !r; i++)
		r = pv_blk_new(d, i, e);
	return r;
}

struct pv_domain *pv_new(const struct pv_config *config, struct err *e)
{
	if (check_config(config, e))
		return NULL;
	struct pv_domain *d = calloc(1, sizeof(*d));

	if (!d) {
		err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	d->created_ns = now_ns();
	d->config = *config;
	d->ram = config->memory & ~(uint64_t)(PAGE_2M - 1);
	d->vcpus = config->vcpus;
	d->machine.vm = d->mem.fd = d->stop_fd = d->loop.epfd = -1;
	d->store_bell.fd = d->store_bell.index = -1;
	for (unsigned i = 0; i < PV_VCPUS_MAX; i++)
		d->vcpu[i].cpu.fd = -1;
	pthread_mutex_init(&d->end_lock, NULL);
	if (make(d, e)) {
		pv_free(d);
		return NULL;
	}
	return d;
}

void pv_free(struct pv_domain *d)
{
	if (!d)
		return;
	atomic_store_explicit(&d->stopping, true, memory_order_release);
	for (unsigned i = 0; i < d->vcpus; i++)
		pv_vcpu_fini(&d->vcpu[i]);
	for (unsigned i = 0; i < PV_DISKS_MAX; i++)
		pv_blk_free(d->blk[i]);
	for (unsigned i = 0; i < d->config.consoles; i++)
		if (d->console[i].d)
			pv_console_fini(&d->console[i]);
	pv_xenbus_fini(d);
	loop_unwatch(&d->loop, &d->stop_event);
	if (d->loop.epfd >= 0)
		loop_fini(&d->loop);
	close_fd(&d->stop_fd);
	machine_fini(&d->machine);
	memory_fini(&d->mem);
	pthread_mutex_destroy(&d->end_lock);
	free(d);
}

static void stop_all(struct pv_domain *d)
{
	uint64_t one = 1;

	atomic_store_explicit(&d->stopping, true, memory_order_seq_cst);
	if (write(d->stop_fd, &one, sizeof(one)) < 0) {
		/* The counter is full: it is readable already. */
	}
	for (unsigned i = 0; i < d->vcpus; i++)
		pv_vcpu_wake(&d->vcpu[i]);
}

void pv_end(struct pv_domain *d, enum pv_end end, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&d->end_lock);
	if (!d->ended) {
		d->ended = true;
		d->result.end = end;
		va_start(ap, fmt);
		vsnprintf(d->result.reason, sizeof(d->result.reason), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&d->end_lock);
	stop_all(d);
}

void pv_host_failed(struct pv_domain *d, const struct err *e)
{
	pthread_mutex_lock(&d->end_lock);
	if (!d->ended && !d->host_error.code)
		d->host_error = *e;
	d->ended = true;
	pthread_mutex_unlock(&d->end_lock);
	stop_all(d);
}

void pv_complain(struct pv_domain *d, const char *fmt, ...)
{
	char b[256] = "[warren] ";
	size_t n = strlen(b);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b + n, sizeof(b) - n - 2, fmt, ap);
	va_end(ap);
	log_warn("%s", b + n);
	n = strlen(b);
	memcpy(b + n, "\r\n", 2);
	pv_console_write(d, b, n + 2);
}

void pv_stop(struct pv_domain *d)
{
	pv_end(d, PV_END_STOPPED, "stopped");
}

void pv_pause(struct pv_domain *d, bool paused)
{
	atomic_store_explicit(&d->paused, paused, memory_order_seq_cst);
	for (unsigned i = 0; i < d->vcpus; i++)
		pv_vcpu_wake(&d->vcpu[i]);
}

static void on_stop(struct loop_fd *s, uint32_t events)
{
	struct pv_domain *d = container_of(s, struct pv_domain, stop_event);

	(void)events;
	loop_stop(&d->loop, 0);
}

int pv_run(struct pv_domain *d, struct pv_result *result, struct err *e)
{
	d->stop_event = (struct loop_fd){ .fd = d->stop_fd, .fn = on_stop };
	int r = loop_watch(&d->loop, &d->stop_event, EPOLLIN);

	if (r)
		return err_sys(e, r, "the event loop");
	if (d->config.start) {
		r = d->config.start(&d->loop, d->config.arg);
		if (r)
			return err_sys(e, r, "the event loop");
	}
	for (unsigned i = 0; i < d->config.disks; i++) {
		r = pv_blk_start(d->blk[i], e);
		if (r)
			return r;
	}
	for (unsigned i = 0; i < d->vcpus; i++) {
		r = pv_vcpu_start(&d->vcpu[i], e);
		if (r)
			return r;
	}
	r = d->config.confine ? d->config.confine(PV_THREAD_DEVICES) : 0;
	if (r)
		return err_sys(e, r, "jail of the devices");
	r = loop_run(&d->loop);
	if (!d->ended)
		pv_end(d, PV_END_STOPPED, "stopped");
	for (unsigned i = 0; i < d->vcpus; i++)
		if (d->vcpu[i].has_thread) {
			pv_vcpu_wake(&d->vcpu[i]);
			atomic_store_explicit(&d->vcpu[i].up, 1, memory_order_release);
		}
	for (unsigned i = 0; i < d->config.disks; i++)
		pv_blk_disconnect(d->blk[i]);
	pv_stats(d, &d->result.stats);
	pv_console_drain(&d->console[0]);
	*result = d->result;
	if (d->host_error.code) {
		*e = d->host_error;
		return e->code;
	}
	return r < 0 ? err_sys(e, r, "the event loop") : 0;
}
