/*
 * The threads that serve devices, and how a vCPU leaves work to them.
 *
 * A doorbell goes from KVM to a worker's loop and touches no vCPU. What a guest does to a device through its registers
 * comes as an exit on a vCPU's thread; when the device is to act (a reset, a start, its configuration), the vCPU hands
 * the access over in its struct vm_call, wakes the worker, and sleeps until the answer is there. So devices run on
 * their own threads only, and vCPU threads never open, read or submit anything.
 *
 * Trust: the access is the guest's; the buses judge it. Threads: vm_call on vCPUs'; the rest on vm_run's.
 * #syscalls(start): eventfd2 clone3 rt_sigprocmask close
 * #syscalls(vcpu): futex write
 * #syscalls(main,block,net): futex read
 * #syscalls(main): write
 * #syscalls(block,net): epoll_wait rt_sigprocmask exit
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/futex.h"
#include "os/thread.h"
#include "run/vm_int.h"

/* A read from the page cache takes a few microseconds, a sleeping thread some tens until it runs. */
#define DISK_SPIN_NS 50000

static void wake(const struct vm_worker *w)
{
	uint64_t one = 1;

	if (write(w->call_fd, &one, sizeof(one)) < 0)
		return; /* full: it is awake already */
}

static void answer(struct vm_call *call)
{
	call->result = bus_access(call->bus, call->address, call->data, call->len, call->is_write);
	atomic_store_explicit(&call->busy, 0, memory_order_release);
	futex_wake(&call->busy);
}

static void on_call(struct loop_fd *s, uint32_t events)
{
	struct vm_worker *w = container_of(s, struct vm_worker, call_event);
	struct vm *v = w->vm;
	uint64_t n;

	(void)events;
	if (read(s->fd, &n, sizeof(n)) < 0)
		return;
	for (unsigned i = 0; i < v->cpus; i++) {
		struct vm_call *call = &v->cpu[i].call;

		if (atomic_load_explicit(&call->busy, memory_order_acquire) && call->worker == w)
			answer(call);
	}
	if (atomic_load(&v->stopping) && w->has_thread)
		loop_stop(&w->loop, 0);
}

int vm_call(struct vm_cpu *c, struct vm_worker *w, const struct bus *bus, uint64_t address,
	    void *data, uint32_t len, bool is_write)
{
	struct vm_call *call = &c->call;

	call->worker = w;
	call->bus = bus;
	call->address = address;
	call->data = data;
	call->len = len;
	call->is_write = is_write;
	call->result = -ECANCELED;
	atomic_store_explicit(&call->busy, 1, memory_order_seq_cst);
	wake(w);
	while (atomic_load_explicit(&call->busy, memory_order_acquire) &&
	       !atomic_load(&c->vm->stopping))
		futex_wait(&call->busy, 1, FUTEX_FOREVER);
	return call->result;
}

void vm_calls_cancel(struct vm *v)
{
	for (unsigned i = 0; i < v->cpus; i++) {
		atomic_store_explicit(&v->cpu[i].call.busy, 0, memory_order_seq_cst);
		futex_wake(&v->cpu[i].call.busy);
	}
}

static void *worker_main(void *arg)
{
	struct vm_worker *w = arg;
	struct vm *v = w->vm;
	int r = v->config.confine ? v->config.confine(w->kind) : 0;

	if (!r)
		r = loop_run(&w->loop);
	if (r)
		vm_end(v, VM_END_BROKEN, "the %s thread: %s",
		       w->kind == VM_THREAD_NET ? "network's" : "disks'", strerror(-r));
	return NULL;
}

void vm_workers_clear(struct vm *v)
{
	for (unsigned i = 0; i < VM_WORKERS; i++) {
		v->worker[i].vm = v;
		v->worker[i].loop.epfd = -1;
		list_init(&v->worker[i].loop.timers);
		v->worker[i].call_fd = -1;
	}
}

int vm_workers_init(struct vm *v)
{
	int r = 0;

	for (unsigned i = 0; !r && i < VM_WORKERS; i++) {
		struct vm_worker *w = &v->worker[i];

		r = loop_init(&w->loop);
		if (r)
			break;
		if (i == VM_WORKER_DISKS)
			w->loop.spin_ns = DISK_SPIN_NS;
		w->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		w->call_event = (struct loop_fd){ .fd = w->call_fd, .fn = on_call };
		r = w->call_fd < 0 ? -errno : loop_watch(&w->loop, &w->call_event, EPOLLIN);
	}
	return r;
}

static int start(struct vm_worker *w, enum vm_thread kind, struct err *e)
{
	w->kind = kind;
	int r = thread_start(&w->thread, worker_main, w);

	w->has_thread = !r;
	return r ? err_sys(e, r, "no thread for devices") : 0;
}

int vm_workers_start(struct vm *v, struct err *e)
{
	int r = v->config.disks ? start(&v->worker[VM_WORKER_DISKS], VM_THREAD_BLOCK, e) : 0;

	if (!r && v->net)
		r = start(&v->worker[VM_WORKER_NET], VM_THREAD_NET, e);
	return r;
}

void vm_workers_stop(struct vm *v)
{
	for (unsigned i = 0; i < VM_WORKERS; i++) {
		struct vm_worker *w = &v->worker[i];

		if (!w->has_thread)
			continue;
		wake(w); /* `stopping` is set */
		pthread_join(w->thread, NULL);
		w->has_thread = false;
	}
}

void vm_workers_fini(struct vm *v)
{
	for (unsigned i = 0; i < VM_WORKERS; i++) {
		close_fd(&v->worker[i].call_fd);
		loop_fini(&v->worker[i].loop);
	}
}
