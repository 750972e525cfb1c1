/*
 * The guest's network: the loopback interface always, and the one network device (eth0) with the address that the host
 * chose for it: warren.net=ADDRESS/BITS,GATEWAY, warren.net=ADDRESS/BITS, or warren.net=up when addresses are the
 * network's own business. IPv6 addresses come from router advertisements, by the kernel.
 *
 * Trust: the host's command line is trusted. Threads: none.
 * #syscalls: socket ioctl nanosleep
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "wire/network.h"

#define DEVICE	       "eth0"
#define DEVICE_WAIT_NS (10ull * 1000000000)

static struct ifreq request(const char *name)
{
	struct ifreq r = { 0 };

	memcpy(r.ifr_name, name, strlen(name)); /* both names are ours */
	return r;
}

static int wake(int sock, const char *name)
{
	struct ifreq r = request(name);

	if (ioctl(sock, SIOCGIFFLAGS, &r) < 0)
		return -errno;
	r.ifr_flags |= IFF_UP;
	return ioctl(sock, SIOCSIFFLAGS, &r) < 0 ? -errno : 0;
}

/* Front ends connect while we go on. */
static int wait_and_wake(int sock)
{
	uint64_t end = now_ns() + DEVICE_WAIT_NS;
	struct timespec pause = { 0, 500000 };
	int r;

	while ((r = wake(sock, DEVICE)) == -ENODEV && now_ns() < end)
		nanosleep(&pause, NULL);
	return r;
}

static void put_address(struct sockaddr *to, uint32_t address)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address) };

	memcpy(to, &in, sizeof(in));
}

static int set_address(int sock, unsigned long what, uint32_t address)
{
	struct ifreq r = request(DEVICE);

	put_address(&r.ifr_addr, address);
	return ioctl(sock, what, &r) < 0 ? -errno : 0;
}

static int add_default_route(int sock, uint32_t gateway)
{
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };

	put_address(&route.rt_dst, 0);
	put_address(&route.rt_genmask, 0);
	put_address(&route.rt_gateway, gateway);
	return ioctl(sock, SIOCADDRT, &route) < 0 ? -errno : 0;
}

static int configure(int sock, const char *wish, struct err *e)
{
	uint32_t address, mask, gateway;
	const char *comma = strchr(wish, ',');
	char own[20];
	int r = wait_and_wake(sock);

	if (r < 0)
		return err_sys(e, r, "guest: network device '%s'", DEVICE);
	if (streq(wish, "up"))
		return 0;
	snprintf(own, sizeof(own), "%.*s", (int)strcspn(wish, ","), wish);
	if (network_address(own, &address, &mask) || (comma && network_ipv4(comma + 1, &gateway)))
		return err_set(e, -EINVAL, "guest: warren.net='%s': not ADDRESS/BITS,GATEWAY",
			       wish);
	r = set_address(sock, SIOCSIFADDR, address);
	if (r == 0)
		r = set_address(sock, SIOCSIFNETMASK, mask);
	if (r < 0)
		return err_sys(e, r, "guest: address '%s'", own);
	r = comma ? add_default_route(sock, gateway) : 0;
	return r < 0 ? err_sys(e, r, "guest: default route by '%s'", comma + 1) : 0;
}

int net_setup(const struct agent_options *o, struct err *e)
{
	cleanup_fd int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return err_sys(e, -errno, "guest: socket");
	int r = wake(sock, "lo");

	if (r < 0)
		return err_sys(e, r, "guest: loopback interface");
	return o->net[0] ? configure(sock, o->net, e) : 0;
}
