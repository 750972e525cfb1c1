/*
 * The network device of a vm: a virtio device, and its port's descriptors on the machine's loop.
 *
 * Trust: as vm_devices.c. Threads: the network's own; `again` is called in others too. #syscalls(net): write
 */
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "run/vm_int.h"
#include "virtio/net.h"

static void on_port(struct loop_fd *s, uint32_t events)
{
	struct vm_net_queue *q = container_of(s, struct vm_net_queue, event);

	(void)events;
	virtio_net_ready(q->vm->net->mmio.device, q->index);
}

static void watch(void *arg, unsigned queue, bool in, bool out)
{
	struct vm *v = arg;
	struct loop_fd *s = &v->net_queue[queue].event;

	if (in || out)
		loop_watch(&v->worker[VM_WORKER_NET].loop, s,
			   (in ? EPOLLIN : 0) | (out ? EPOLLOUT : 0));
	else
		loop_unwatch(&v->worker[VM_WORKER_NET].loop, s);
}

/* As if the driver had kicked. */
static void again(void *arg, unsigned virtqueue)
{
	struct vm *v = arg;
	uint64_t one = 1;

	if (write(v->net->bell[virtqueue].event.fd, &one, sizeof(one)) < 0)
		return; /* full: it rings already */
}

int vm_add_net(struct vm *v, struct err *e)
{
	struct net_port *port = steal_ptr(&v->config.net);
	struct virtio_net_settings s = {
		.mtu = v->config.mtu, .watch = watch, .again = again, .arg = v
	};

	if (!port)
		return 0;
	for (unsigned i = 0; i < port->queues; i++)
		v->net_queue[i] = (struct vm_net_queue){
			.event = { .fd = port->fd[i], .fn = on_port }, .vm = v, .index = i
		};
	memcpy(s.mac, v->config.mac, sizeof(s.mac));
	v->net = &v->device[v->devices];
	return vm_add_device_on(v, &v->worker[VM_WORKER_NET], virtio_net_new(&v->mem, port, &s), e);
}

void vm_free_net(struct vm *v)
{
	for (unsigned i = 0; v->net && i < NET_QUEUES_MAX; i++)
		loop_unwatch(&v->worker[VM_WORKER_NET].loop, &v->net_queue[i].event);
	net_port_free(v->config.net);
	v->config.net = NULL;
}

void vm_net_stats(struct vm *v, struct vm_stats *stats)
{
	struct virtio_net_stats s;

	if (!v->net || !v->net->mmio.device)
		return;
	virtio_net_stats(v->net->mmio.device, &s);
	stats->net_tx = s.tx;
	stats->net_rx = s.rx;
	stats->net_dropped = s.tx_dropped + s.rx_dropped;
}
