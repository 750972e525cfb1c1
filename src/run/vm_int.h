/* What the parts of a vm share with each other. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "machine/bus.h"
#include "machine/memory.h"
#include "machine/stream.h"
#include "machine/uart.h"
#include "machine/vcpu.h"
#include "run/vm.h"
#include "virtio/mmio.h"
#include "virtio/vsock.h"

enum { VM_DEVICES_MAX = VM_DISKS_MAX + VM_SHARES_MAX + 5, VM_QUEUES_MAX = 20 };
/* The first interrupt line of virtio devices; lower ones have old meanings. */
enum { VM_GSI_FIRST = 5, VM_MMIO_BASE = (int)0xd0000000u };
/* Memory above this lies above 4 GB. */
#define VM_HOLE 0xc0000000ull

/* A queue's doorbell: KVM turns the driver's write into this descriptor's readiness. */
struct vm_bell {
	struct loop_fd event;
	struct virtio_device *device;
	unsigned queue;
};

/* A thread that serves devices, and its loop: disks have one, the network has one, all others are on vm_run's own, so that
 * a slow disk holds up nothing else and each needs few system calls. */
struct vm_worker {
	struct vm *vm;
	enum vm_thread kind;
	struct loop loop;
	int call_fd;
	struct loop_fd call_event;
	pthread_t thread;
	bool has_thread;
};

enum { VM_WORKER_MAIN, VM_WORKER_DISKS, VM_WORKER_NET, VM_WORKERS };

struct vm_device {
	struct virtio_mmio mmio;
	struct vm_worker *worker;
	int irq; /* eventfd of its interrupt line */
	struct vm_bell bell[VM_QUEUES_MAX];
	unsigned bells;
	struct loop_fd disk_event; /* completions of an asynchronous disk */
};

/* A port's host side: two descriptors on the loop. */
struct vm_stream {
	struct stream stream;
	struct loop *loop;
	struct loop_fd in, out;
	bool ended;
};

/* An access that a vCPU leaves to a worker, and waits for. */
struct vm_call {
	_Atomic uint32_t busy;
	struct vm_worker *worker;
	const struct bus *bus;
	uint64_t address;
	void *data;
	uint32_t len;
	bool is_write;
	int result;
};

/* A queue of the network port on the loop. */
struct vm_net_queue {
	struct loop_fd event;
	struct vm *vm;
	unsigned index;
};

/* The serial port's host side: written by vCPUs, without waiting. */
struct vm_serial {
	struct stream stream;
	int out;
};

struct vm_cpu {
	struct vcpu cpu;
	struct vm_call call;
	int stats; /* KVM's counters, -1: none */
	struct vm *vm;
	pthread_t thread;
	bool has_thread;
	_Atomic uint64_t io, mmio, unclaimed, interrupted,
		inside_ns; /* written by its own thread */
};

struct vm {
	struct vm_config config;
	struct machine machine;
	struct memory mem;
	struct bus ports, registers; /* port I/O and memory-mapped I/O */
	struct bus_range power;
	struct uart uart;
	struct vm_serial serial; /* writes to the first port's descriptor */
	struct vm_device device[VM_DEVICES_MAX];
	unsigned devices;
	struct virtio_device *balloon, *vsock; /* two of them; no vsock: NULL */
	struct vm_stream stream[VM_PORTS_MAX], share[VM_SHARES_MAX];
	struct vm_device *net; /* the network device, NULL: none */
	struct vm_net_queue net_queue[NET_QUEUES_MAX];
	struct vm_cpu cpu[VM_VCPUS_MAX];
	unsigned cpus;
	uint64_t created_ns;

	struct vm_worker worker[VM_WORKERS];
	int stats; /* KVM's counters of the machine, -1: none */
	int stop_fd;
	struct loop_fd stop_event;
	_Atomic bool stopping;
	pthread_mutex_t pause_lock;
	pthread_cond_t resumed;
	bool paused; /* under `pause_lock` */
	pthread_mutex_t end_lock;
	bool ended;
	struct vm_result result;
};

/* vm_net.c */
int vm_add_net(struct vm *v, struct err *e);
void vm_free_net(struct vm *v);
void vm_net_stats(struct vm *v, struct vm_stats *stats);

/* vm_devices.c */
/* Takes over `device`, the next in v->device; NULL is out of memory. 0 or -errno. */
int vm_add_device_on(struct vm *v, struct vm_worker *worker, struct virtio_device *device,
		     struct err *e);
int vm_add_devices(struct vm *v, struct err *e);
/* The serial port, when there is a console to write to. 0 or -errno. */
int vm_add_serial(struct vm *v);
void vm_free_devices(struct vm *v);
/* Takes over `device`; NULL is out of memory. */
int vm_add_device(struct vm *v, struct virtio_device *device, struct err *e);
/* A stream of two descriptors on the loop; vm_stream_fini closes them. */
void vm_stream_init(struct vm *v, struct vm_stream *s, int in, int out);
void vm_stream_fini(struct vm_stream *s);

/* vm_vsock.c */
enum { VM_VSOCK_CID = 3 };
int vm_add_vsock(struct vm *v, struct err *e);
void vm_device_stats(struct vm *v, struct vm_stats *stats);

/* vm_worker.c */
/* vm_workers_fini does no harm from then on. */
void vm_workers_clear(struct vm *v);
int vm_workers_init(struct vm *v);
/* Starts those that have a thread of their own. */
int vm_workers_start(struct vm *v, struct err *e);
void vm_workers_stop(struct vm *v);
void vm_workers_fini(struct vm *v);
/* On a vCPU's thread: `w` makes the access, the vCPU waits. -ECANCELED when the machine stops meanwhile. */
int vm_call(struct vm_cpu *c, struct vm_worker *w, const struct bus *bus, uint64_t address,
	    void *data, uint32_t len, bool is_write);
/* Lets vCPUs go that wait; `stopping` is set. */
void vm_calls_cancel(struct vm *v);

/* vm.c: the first reason wins. Any thread. */
void vm_end(struct vm *v, enum vm_end end, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
