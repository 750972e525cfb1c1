/*
 * linux.netDevices (config-linux.md, "Network Devices").
 *
 * A device that changes its namespace loses its addresses and goes down. So its addresses of global scope are read
 * first, then it is moved and renamed by one RTM_SETLINK, and the rest is done by a socket made inside the
 * namespace: the caller enters it for the moment of the socket(2) call. Name and number in there may differ
 * from before; the number is asked for by the name.
 *
 * Trust: names are the config's (1 to 15 bytes, checked by the parser); replies are the kernel's. Threads: the caller
 * has one. #syscalls: socket sendto recvfrom setns openat ioctl
 */
#include "container/netdev_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { ADDRS_MAX = 64, REPLY_MAX = 32768 };

struct request {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
	};
	char attrs[256];
};

struct addr {
	struct ifaddrmsg msg;
	unsigned char local[16];
	size_t len;
};

struct addrs {
	struct addr v[ADDRS_MAX];
	size_t n;
};

static void add_attr(struct request *r, unsigned short type, const void *p, size_t n)
{
	struct rtattr *a = (void *)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), p, n);
	r->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->head.nlmsg_len) + RTA_ALIGN(a->rta_len));
}

/* Sends and waits for the kernel's acknowledgement. */
static int ask(int sock, struct request *r)
{
	_Alignas(struct nlmsghdr) char reply[1024];
	struct nlmsghdr *h = (void *)reply;

	r->head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (send(sock, r, r->head.nlmsg_len, 0) < 0)
		return -errno;
	ssize_t n = recv(sock, reply, sizeof(reply), 0);

	if (n < 0)
		return -errno;
	if ((size_t)n < NLMSG_LENGTH(sizeof(struct nlmsgerr)) || h->nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static void take_addr(struct nlmsghdr *h, int index, struct addrs *out)
{
	struct ifaddrmsg *m = NLMSG_DATA(h);
	struct addr *a = &out->v[out->n];
	int left = (int)IFA_PAYLOAD(h);

	if ((int)m->ifa_index != index || m->ifa_scope != RT_SCOPE_UNIVERSE || out->n == ADDRS_MAX)
		return;
	a->msg = *m;
	a->len = 0;
	for (struct rtattr *at = IFA_RTA(m); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		bool local = at->rta_type == IFA_LOCAL;

		/* Without a peer both are the same; IPv6 has only the second. */
		if ((!local && (at->rta_type != IFA_ADDRESS || a->len)) ||
		    RTA_PAYLOAD(at) > sizeof(a->local))
			continue;
		a->len = RTA_PAYLOAD(at);
		memcpy(a->local, RTA_DATA(at), a->len);
	}
	if (a->len)
		out->n++;
}

static int read_addrs(int sock, int index, struct addrs *out)
{
	static _Alignas(struct nlmsghdr) char reply[REPLY_MAX];
	struct request r = {
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(r.addr)),
			  .nlmsg_type = RTM_GETADDR,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
	};

	out->n = 0;
	if (send(sock, &r, r.head.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t got = recv(sock, reply, sizeof(reply), 0);
		unsigned int left = got < 0 ? 0 : (unsigned int)got;

		if (got < 0)
			return -errno;
		for (struct nlmsghdr *h = (void *)reply; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				return -EPROTO;
			if (h->nlmsg_type == RTM_NEWADDR)
				take_addr(h, index, out);
		}
	}
}

static int index_of(int sock, const char *name)
{
	struct ifreq req = { .ifr_ifindex = 0 };

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	return ioctl(sock, SIOCGIFINDEX, &req) < 0 ? -errno : req.ifr_ifindex;
}

static int move(int sock, int index, const char *name, int ns)
{
	struct request r = {
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(r.link)), .nlmsg_type = RTM_NEWLINK },
		.link = { .ifi_index = index },
	};

	add_attr(&r, IFLA_NET_NS_FD, &ns, sizeof(ns));
	add_attr(&r, IFLA_IFNAME, name, strlen(name) + 1);
	return ask(sock, &r);
}

static int wake(int sock, int index)
{
	struct request r = {
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(r.link)), .nlmsg_type = RTM_NEWLINK },
		.link = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP },
	};

	return ask(sock, &r);
}

static int restore(int sock, int index, const struct addrs *all)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct addr *a = &all->v[i];
		struct request r = {
			.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(r.addr)),
				  .nlmsg_type = RTM_NEWADDR,
				  .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE },
			.addr = { .ifa_family = a->msg.ifa_family,
				  .ifa_prefixlen = a->msg.ifa_prefixlen,
				  .ifa_scope = a->msg.ifa_scope,
				  .ifa_index = (unsigned int)index },
		};

		add_attr(&r, IFA_LOCAL, a->local, a->len);
		add_attr(&r, IFA_ADDRESS, a->local, a->len);
		int err = ask(sock, &r);

		if (err)
			return err;
	}
	return 0;
}

static int route_socket(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

/* A socket belongs to the namespace that it was made in. */
static int socket_in(int ns)
{
	cleanup_fd int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (own < 0 || setns(ns, CLONE_NEWNET) < 0)
		return -errno;
	int fd = route_socket();

	if (setns(own, CLONE_NEWNET) < 0) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return err;
	}
	return fd;
}

static int move_one(const struct oci_net_device *d, int outside, int inside, int ns, struct err *e)
{
	const char *name = d->name && *d->name ? d->name : d->host_name;
	int index = index_of(outside, d->host_name);
	struct addrs addrs;

	if (index < 0)
		return err_sys(e, index, "find it");
	int err = read_addrs(outside, index, &addrs);

	if (err)
		return err_sys(e, err, "read its addresses");
	err = move(outside, index, name, ns);
	if (err)
		return err_sys(e, err, "move it as '%s'", name);
	index = index_of(inside, name);
	if (index < 0)
		return err_sys(e, index, "find it in the container as '%s'", name);
	err = restore(inside, index, &addrs);
	if (err)
		return err_sys(e, err, "give its addresses back");
	err = wake(inside, index);
	return err ? err_sys(e, err, "bring it up") : 0;
}

int netdev_move_all(const struct oci_linux *l, pid_t pid, struct err *e)
{
	char path[64];
	int err = 0;

	if (!l->net_devices_n)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	cleanup_fd int ns = open(path, O_RDONLY | O_CLOEXEC);

	if (ns < 0)
		return err_sys(e, -errno, "netDevices: '%s'", path);
	cleanup_fd int outside = route_socket();
	cleanup_fd int inside = socket_in(ns);

	if (outside < 0 || inside < 0)
		return err_sys(e, outside < 0 ? outside : inside, "netDevices: netlink socket");
	for (size_t i = 0; i < l->net_devices_n && !err; i++) {
		err = move_one(&l->net_devices[i], outside, inside, ns, e);
		if (err)
			err_wrap(e, "netDevices '%s'", l->net_devices[i].host_name);
	}
	return err;
}
