/*
 * Tap devices.
 *
 * A tap is an interface of the host: what the host sends there is read from its descriptor, what is written to
 * the descriptor comes in on it. Each read or write is one frame behind a virtio header, so that checksums and
 * segments that a guest left open are completed by the host's stack, or by nobody when the frame ends in another
 * guest. An interface with several queues has a descriptor for each.
 *
 * Opening needs the interface's owner or an administrator, and happens before a VMM is locked up; from then on
 * two requests are left: which offloads the guest can take, and which queues are in use.
 *
 * Trust: the device has judged headers that come from a guest; the kernel does so again. Threads: the device's.
 * #syscalls(net): readv writev ioctl
 * #ioctls(net): TUNSETOFFLOAD TUNSETQUEUE
 */
#include "net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"

struct tap {
	struct net_port port;
	bool off[NET_QUEUES_MAX]; /* detached by us */
};

/* ---- opening ---- */

static int attach(int fd, const char *name, short flags)
{
	int header = sizeof(struct virtio_net_hdr);
	struct ifreq req = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags) };

	memcpy(req.ifr_name, name, strlen(name)); /* checked to fit */
	if (ioctl(fd, TUNSETIFF, &req) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		return -errno;
	return 0;
}

static int open_queue(const char *name, bool many, struct err *e)
{
	cleanup_fd int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "/dev/net/tun");
	int r = attach(fd, name, many ? IFF_MULTI_QUEUE : 0);

	/* An interface with several queues must be opened as one, also for the first. */
	if (r == -EINVAL && !many)
		r = attach(fd, name, IFF_MULTI_QUEUE);
	if (r == -EPERM || r == -EACCES)
		return err_set(
			e, r,
			"tap '%s': it is not yours. Fix: ip tuntap add %s mode tap user $USER, "
			"as root",
			name, name);
	if (r == -EBUSY)
		return err_set(e, r, "tap '%s': already in use", name);
	if (r == -EINVAL)
		return err_set(
			e, r, "tap '%s': %s", name,
			many ? "it has not several queues. Fix: ip tuntap add ... multi_queue"
			     : "not a tap interface");
	return r < 0 ? err_sys(e, r, "tap '%s'", name) : steal_fd(&fd);
}

int tap_open(const char *name, unsigned queues, int fd[NET_QUEUES_MAX], struct err *e)
{
	size_t len = strlen(name);
	unsigned n;

	if (!queues || queues > NET_QUEUES_MAX)
		return err_set(e, -EINVAL, "tap '%s': 1 to %d queues, not %u", name, NET_QUEUES_MAX,
			       queues);
	/* Attaching makes an interface that is not there: nobody would know of it. */
	if (!len || len >= IFNAMSIZ || !if_nametoindex(name))
		return err_set(
			e, -ENODEV,
			"tap '%s': no such interface. Fix: ip tuntap add %s mode tap user $USER",
			name, name);
	for (n = 0; n < queues; n++) {
		fd[n] = open_queue(name, queues > 1, e);
		if (fd[n] < 0)
			break;
	}
	if (n == queues)
		return 0;
	int r = fd[n];

	while (n--)
		close_fd(&fd[n]);
	return r;
}

/* ---- the port ---- */

static int tap_send(struct net_port *p, unsigned queue, const struct iovec *iov, int n)
{
	if (!n || writev(p->fd[queue], iov, n) >= 0)
		return 0;
	return -errno;
}

static ssize_t tap_receive(struct net_port *p, unsigned queue, const struct iovec *iov, int n)
{
	ssize_t r = readv(p->fd[queue], iov, n);

	return r < 0 ? -errno : r;
}

static int tap_accept(struct net_port *p, unsigned can)
{
	static const struct {
		unsigned can, tun;
	} bits[] = { { NET_CAN_CSUM, TUN_F_CSUM },
		     { NET_CAN_TSO4, TUN_F_TSO4 },
		     { NET_CAN_TSO6, TUN_F_TSO6 },
		     { NET_CAN_ECN, TUN_F_TSO_ECN } };
	unsigned long flags = 0;

	for (size_t i = 0; can & NET_CAN_CSUM && i < ARRAY_SIZE(bits); i++)
		flags |= can & bits[i].can ? bits[i].tun : 0;
	/* Of the interface, whichever queue is asked. */
	return ioctl(p->fd[0], TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

static int tap_use(struct net_port *p, unsigned queues)
{
	struct tap *t = container_of(p, struct tap, port);

	for (unsigned i = 1; i < p->queues; i++) {
		bool off = i >= queues;
		struct ifreq req = { .ifr_flags = off ? IFF_DETACH_QUEUE : IFF_ATTACH_QUEUE };

		if (off == t->off[i])
			continue;
		if (ioctl(p->fd[i], TUNSETQUEUE, &req) < 0)
			return -errno;
		t->off[i] = off;
	}
	return 0;
}

static void tap_free(struct net_port *p)
{
	for (unsigned i = 0; i < p->queues; i++)
		close_fd(&p->fd[i]);
	free(container_of(p, struct tap, port));
}

struct net_port *tap_port_new(const int *fd, unsigned queues)
{
	static const struct net_port_ops ops = {
		.name = "tap",
		.send = tap_send,
		.receive = tap_receive,
		.accept = tap_accept,
		.use = tap_use,
		.free = tap_free,
	};
	struct tap *t = calloc(1, sizeof(*t));

	if (!t) {
		for (unsigned i = 0; i < queues; i++)
			close(fd[i]);
		return NULL;
	}
	t->port = (struct net_port){ .ops = &ops, .offloads = true, .queues = queues };
	memcpy(t->port.fd, fd, queues * sizeof(*fd));
	return &t->port;
}
