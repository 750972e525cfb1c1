/*
 * The devices of a vm: virtio behind register pages, doorbells and interrupt lines in the kernel.
 *
 * A driver's kick is an ioeventfd, a device's interrupt an irqfd: neither leaves the kernel on the guest's side.
 * All devices work through the event loops of workers (vm_worker.c).
 *
 * Trust: devices own what they were handed; rings are judged in virtio/. Threads: built before vCPUs run.
 * #syscalls(start): eventfd2 ioctl close
 * #syscalls(main,block,net): read write
 * #syscalls(main): readv writev
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "run/vm_int.h"
#include "virtio/balloon.h"
#include "virtio/block.h"
#include "virtio/console.h"
#include "virtio/entropy.h"
#include "virtio/fs.h"

static void raise_line(void *arg)
{
	struct vm_device *d = arg;
	uint64_t one = 1;

	/* An eventfd only refuses when its counter is full: then the line is raised already. */
	if (write(d->irq, &one, sizeof(one)) < 0)
		return;
}

/* Every queue is looked at, by the thread that works on it. */
static void ring_bells(void *arg)
{
	struct vm_device *d = arg;
	uint64_t one = 1;

	for (unsigned i = 0; i < d->bells; i++)
		if (write(d->bell[i].event.fd, &one, sizeof(one)) < 0)
			continue; /* it rings already */
}

static void on_bell(struct loop_fd *s, uint32_t events)
{
	struct vm_bell *b = container_of(s, struct vm_bell, event);
	uint64_t n;

	(void)events;
	if (read(s->fd, &n, sizeof(n)) == sizeof(n))
		virtio_device_notify(b->device, b->queue);
}

static void on_disk(struct loop_fd *s, uint32_t events)
{
	struct vm_device *d = container_of(s, struct vm_device, disk_event);

	(void)events;
	virtio_block_reap(d->mmio.device);
}

static int add_bell(struct vm *v, struct vm_device *d, unsigned queue)
{
	struct vm_bell *b = &d->bell[d->bells];
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	*b = (struct vm_bell){ .event = { .fd = fd, .fn = on_bell },
			       .device = d->mmio.device,
			       .queue = queue };
	d->bells++;
	int r = kvm_ioeventfd(v->machine.vm, fd, d->mmio.range.base + VIRTIO_MMIO_QUEUE_NOTIFY, 4,
			      true, queue, false);

	return r < 0 ? r : loop_watch(&d->worker->loop, &b->event, EPOLLIN);
}

int vm_add_device_on(struct vm *v, struct vm_worker *worker, struct virtio_device *device,
		     struct err *e)
{
	unsigned i = v->devices;
	struct vm_device *d = &v->device[i];

	if (!device)
		return err_sys(e, -ENOMEM, "device %u", i);
	virtio_mmio_init(&d->mmio, device, (uint32_t)VM_MMIO_BASE + (uint64_t)i * VIRTIO_MMIO_SIZE,
			 raise_line, d);
	d->mmio.ring = ring_bells;
	d->worker = worker;
	v->devices++;
	d->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = d->irq < 0 ? -errno : kvm_irqfd(v->machine.vm, d->irq, VM_GSI_FIRST + i);

	if (r >= 0)
		r = bus_add(&v->registers, &d->mmio.range);
	for (unsigned q = 0; r >= 0 && q < device->queues_n; q++)
		r = add_bell(v, d, q);
	return r < 0 ? err_sys(e, r, "device %u (%s)", i, device->ops->name) : 0;
}

int vm_add_device(struct vm *v, struct virtio_device *device, struct err *e)
{
	return vm_add_device_on(v, &v->worker[VM_WORKER_MAIN], device, e);
}

static int add_disk(struct vm *v, unsigned index, struct err *e)
{
	char serial[21];

	snprintf(serial, sizeof(serial), "warren-%u", index);
	struct virtio_device *d = virtio_block_new(&v->mem, steal_ptr(&v->config.disk[index]),
						   serial, v->config.vcpus);
	struct vm_worker *w = &v->worker[VM_WORKER_DISKS];
	int r = vm_add_device_on(v, w, d, e), fd = d ? virtio_block_event_fd(d) : -1;

	if (r || fd < 0)
		return r;
	struct vm_device *on = &v->device[v->devices - 1];

	on->disk_event = (struct loop_fd){ .fd = fd, .fn = on_disk };
	r = loop_watch(&w->loop, &on->disk_event, EPOLLIN);
	return r ? err_sys(e, r, "disk %u", index) : 0;
}

/* A descriptor is watched only while the guest waits for it: level-triggered, it would spin otherwise. */
static void on_stream_in(struct loop_fd *s, uint32_t events)
{
	struct vm_stream *p = container_of(s, struct vm_stream, in);

	(void)events;
	loop_unwatch(p->loop, s);
	p->stream.ready(p->stream.ready_arg);
}

static void on_stream_out(struct loop_fd *s, uint32_t events)
{
	struct vm_stream *p = container_of(s, struct vm_stream, out);

	(void)events;
	loop_unwatch(p->loop, s);
	p->stream.ready(p->stream.ready_arg);
}

static ssize_t stream_read(struct stream *base, const struct iovec *iov, int n)
{
	struct vm_stream *p = container_of(base, struct vm_stream, stream);

	if (p->in.fd < 0 || p->ended)
		return -EAGAIN;
	ssize_t r = readv(p->in.fd, iov, n);

	if (r < 0 && errno == EAGAIN)
		loop_watch(p->loop, &p->in, EPOLLIN);
	else if (r <= 0)
		p->ended = true;
	return r < 0 ? -errno : r;
}

static ssize_t stream_write(struct stream *base, const struct iovec *iov, int n)
{
	struct vm_stream *p = container_of(base, struct vm_stream, stream);

	if (p->out.fd < 0)
		return -EPIPE;
	ssize_t r = writev(p->out.fd, iov, n);

	if (r < 0 && errno == EAGAIN)
		loop_watch(p->loop, &p->out, EPOLLOUT);
	return r < 0 ? -errno : r;
}

void vm_stream_init(struct vm *v, struct vm_stream *s, int in, int out)
{
	static const struct stream_ops ops = { stream_read, stream_write };

	*s = (struct vm_stream){
		.stream.ops = &ops,
		.loop = &v->worker[VM_WORKER_MAIN].loop,
		.in = { .fd = in, .fn = on_stream_in },
		.out = { .fd = out, .fn = on_stream_out },
	};
}

void vm_stream_fini(struct vm_stream *s)
{
	loop_unwatch(s->loop, &s->in);
	loop_unwatch(s->loop, &s->out);
	close_fd(&s->in.fd);
	close_fd(&s->out.fd);
}

static int add_ports(struct vm *v, struct err *e)
{
	struct virtio_console_port port[VM_PORTS_MAX];
	unsigned n = v->config.ports;

	if (!n)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		const struct vm_port_config *c = &v->config.port[i];

		vm_stream_init(v, &v->stream[i], c->in, c->out);
		port[i] = (struct virtio_console_port){ c->name, c->is_console,
							&v->stream[i].stream };
	}
	return vm_add_device(v, virtio_console_new(&v->mem, port, n, 0, 0), e);
}

static int add_shares(struct vm *v, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; !r && i < v->config.shares; i++) {
		const struct vm_share_config *c = &v->config.share[i];

		vm_stream_init(v, &v->share[i], c->in, c->out);
		r = vm_add_device(v, virtio_fs_new(&v->mem, c->tag, &v->share[i].stream), e);
	}
	return r;
}

/* What does not fit now is lost, as on a line without flow control. */
static ssize_t serial_write(struct stream *base, const struct iovec *iov, int n)
{
	ssize_t r = writev(container_of(base, struct vm_serial, stream)->out, iov, n);

	return r < 0 ? -errno : r;
}

int vm_add_serial(struct vm *v)
{
	static const struct stream_ops ops = { .write = serial_write };

	if (!v->config.ports || v->config.port[0].out < 0)
		return 0;
	v->serial = (struct vm_serial){ { .ops = &ops }, v->config.port[0].out };
	uart_init(&v->uart, &v->serial.stream);
	return bus_add(&v->ports, &v->uart.range);
}

int vm_add_devices(struct vm *v, struct err *e)
{
	int r = add_ports(v, e);

	for (unsigned i = 0; !r && i < v->config.disks; i++)
		r = add_disk(v, i, e);
	if (!r)
		r = add_shares(v, e);
	if (!r)
		r = vm_add_net(v, e);
	if (!r)
		r = vm_add_device(v, virtio_entropy_new(&v->mem), e);
	if (r)
		return r;
	v->balloon = virtio_balloon_new(&v->mem);
	r = vm_add_device(v, v->balloon, e);
	return r ? r : vm_add_vsock(v, e);
}

void vm_set_memory(struct vm *v, uint64_t bytes)
{
	virtio_balloon_set(v->balloon, v->mem.size - MIN(bytes, v->mem.size));
}

void vm_device_stats(struct vm *v, struct vm_stats *stats)
{
	struct virtio_balloon_figures f;

	vm_net_stats(v, stats);
	virtio_balloon_figures(v->balloon, &f);
	stats->balloon_target = f.target;
	stats->balloon = f.actual;
	stats->reported = f.reported;
	stats->deflated = f.deflated;
	stats->memory_free = f.stat[VIRTIO_BALLOON_S_MEMFREE];
	stats->memory_available = f.stat[VIRTIO_BALLOON_S_AVAIL];
}

void vm_free_devices(struct vm *v)
{
	vm_free_net(v);
	for (unsigned i = 0; i < v->devices; i++) {
		struct vm_device *d = &v->device[i];

		for (unsigned b = 0; b < d->bells; b++) {
			loop_unwatch(&d->worker->loop, &d->bell[b].event);
			close_fd(&d->bell[b].event.fd);
		}
		loop_unwatch(&d->worker->loop, &d->disk_event);
		close_fd(&d->irq);
		virtio_device_free(d->mmio.device);
	}
	for (unsigned i = 0; i < v->config.disks; i++)
		block_free(v->config.disk[i]);
	v->devices = 0;
}
