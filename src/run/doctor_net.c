/*
 * Checks of the host's networking. Links are made in a child's own network namespace.
 *
 * Trust: answers come from the kernel. Threads: none.
 * #syscalls: socket sendto recvfrom close clone unshare openat read geteuid
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>

#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "run/doctor_int.h"
#include "run/passt.h"

enum { NO_BRIDGE = 1, NO_VETH = 2, NO_NFT = 4, NO_NETNS = 8 };

/* One request, one answer: 0 or -errno. */
static int ask(int protocol, void *request, size_t size)
{
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_Alignas(struct nlmsghdr) char answer[4096];

	if (fd < 0)
		return -errno;
	if (sendto(fd, request, size, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	ssize_t n = recv(fd, answer, sizeof(answer), 0);
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer;

	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(*h) + sizeof(int) || h->nlmsg_type != NLMSG_ERROR)
		return 0;
	return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static int make_link(const char *kind)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
		struct rtattr info, kind;
		char name[8];
	} request = {
		.h = { .nlmsg_len = sizeof(request),
		       .nlmsg_type = RTM_NEWLINK,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL },
		.info = { .rta_type = IFLA_LINKINFO,
			  .rta_len = 2 * sizeof(struct rtattr) + sizeof(request.name) },
		.kind = { .rta_type = IFLA_INFO_KIND,
			  .rta_len = sizeof(struct rtattr) + sizeof(request.name) },
	};

	snprintf(request.name, sizeof(request.name), "%s", kind);
	return ask(NETLINK_ROUTE, &request, sizeof(request));
}

static int nft_generation(void)
{
	struct {
		struct nlmsghdr h;
		struct nfgenmsg g;
	} request = {
		.h = { .nlmsg_len = sizeof(request),
		       .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
		       .nlmsg_flags = NLM_F_REQUEST },
		.g = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 },
	};

	return ask(NETLINK_NETFILTER, &request, sizeof(request));
}

static int try_links(void *arg)
{
	(void)arg;
	if (geteuid() == 0 ? unshare(CLONE_NEWNET) < 0 : doctor_enter_userns(CLONE_NEWNET) < 0)
		return NO_NETNS;
	return (make_link("bridge") ? NO_BRIDGE : 0) | (make_link("veth") ? NO_VETH : 0) |
	       (nft_generation() ? NO_NFT : 0);
}

void check_links(struct doctor_finding *f)
{
	int r = doctor_in_child(try_links, NULL);

	if (r == 0)
		doctor_pass(f, "network namespaces, bridges, veth pairs and nftables");
	else if (r < 0 || r & NO_NETNS)
		doctor_warn(f, "run as root, or see USERNS-01",
			    "no network namespace can be made: use --network host");
	else
		doctor_warn(f, "modprobe bridge veth nf_tables", "missing:%s%s%s",
			    r & NO_BRIDGE ? " bridge" : "", r & NO_VETH ? " veth" : "",
			    r & NO_NFT ? " nftables" : "");
}

static uint32_t get_be32(const struct nlattr *a)
{
	uint32_t v = 0;

	if (a->nla_len >= sizeof(*a) + sizeof(v))
		memcpy(&v, (const char *)a + sizeof(*a), sizeof(v));
	return __builtin_bswap32(v);
}

/* The attribute behind `a` in a run of `*left` bytes, NULL at its end; `a` NULL begins. */
static const struct nlattr *next_attr(const char *start, const struct nlattr *a, size_t *left)
{
	if (a) {
		size_t step = ALIGN_UP((size_t)a->nla_len, (size_t)4);

		if (step >= *left)
			return NULL;
		*left -= step;
		start = (const char *)a + step;
	}
	a = (const struct nlattr *)(const void *)start;
	return *left >= sizeof(*a) && a->nla_len >= sizeof(*a) && a->nla_len <= *left ? a : NULL;
}

/* Whether a chain is a base chain of the forward hook that drops what no rule took. */
static bool drops_forwarding(const struct nlmsghdr *h)
{
	size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg));
	const char *start = (const char *)h + NLMSG_LENGTH(sizeof(struct nfgenmsg));
	uint32_t policy = NF_ACCEPT, hook = UINT32_MAX;

	for (const struct nlattr *a = NULL; (a = next_attr(start, a, &left));) {
		if (a->nla_type == NFTA_CHAIN_POLICY)
			policy = get_be32(a);
		if ((a->nla_type & NLA_TYPE_MASK) != NFTA_CHAIN_HOOK)
			continue;
		size_t inside = a->nla_len - sizeof(*a);

		for (const struct nlattr *b = NULL;
		     (b = next_attr((const char *)a + sizeof(*a), b, &inside));)
			if (b->nla_type == NFTA_HOOK_HOOKNUM)
				hook = get_be32(b);
	}
	return hook == NF_INET_FORWARD && policy == NF_DROP;
}

/* Dumps the IPv4 chains. 1 when one drops, 0 when none does, -errno. */
static int forward_dropped(void)
{
	struct {
		struct nlmsghdr h;
		struct nfgenmsg g;
	} request = {
		.h = { .nlmsg_len = sizeof(request),
		       .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.g = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 },
	};
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	_Alignas(struct nlmsghdr) char answer[32768];
	int dropped = 0;

	if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, answer, sizeof(answer), 0);

		if (n <= 0)
			return n < 0 ? -errno : dropped;
		size_t left = (size_t)n;

		for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return dropped;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nfgenmsg)))
				dropped |= drops_forwarding(h);
		}
	}
}

void check_forward_policy(struct doctor_finding *f)
{
	int r = forward_dropped();

	if (r == -EPERM)
		doctor_pass(f, "forwarding policy: only root can read it");
	else if (r < 0)
		doctor_warn(f, "modprobe nf_tables", "forwarding policy: %s", strerror(-r));
	else if (r)
		doctor_warn(f, "nft list ruleset: accept the bridges' traffic in that chain",
			    "a forward chain has policy DROP: traffic of bridges is lost unless a "
			    "rule accepts it");
	else
		doctor_pass(f, "no nftables chain drops forwarded packets by policy");
}

void check_ip_forward(struct doctor_finding *f)
{
	cleanup_free char *on = doctor_read("/proc/sys/net/ipv4/ip_forward");

	if (on && streq(on, "1"))
		doctor_pass(f, "IPv4 forwarding is on");
	else
		doctor_pass(f,
			    "IPv4 forwarding is off, which only bridges need: networks are host, "
			    "none and private");
}

void check_low_ports(struct doctor_finding *f)
{
	cleanup_free char *first = doctor_read("/proc/sys/net/ipv4/ip_unprivileged_port_start");
	uint64_t port = 1024;

	if (first)
		str_to_u64(first, &port);
	if (geteuid() == 0 || port <= 80)
		doctor_pass(f, "this user may listen on port 80");
	else
		doctor_warn(f, "sysctl net.ipv4.ip_unprivileged_port_start=80",
			    "ports below %llu are root's", (unsigned long long)port);
}

/* An address of /proc/net/route: hexadecimal, the bytes as they lie in memory. */
static uint32_t route_address(unsigned int v)
{
	return ntohl(v);
}

/* What guests reach the world by. It leaves by the default route. */
void check_passt(struct doctor_finding *f)
{
	cleanup_free char *routes = doctor_read("/proc/net/route");
	char path[PATH_MAX];

	if (!passt_find(path))
		doctor_warn(f, "apt install passt",
			    "passt is not installed: a guest with --network private has only its "
			    "loopback");
	else if (!routes || !strstr(routes, "\t00000000\t"))
		doctor_warn(f, "ip route add default via ...",
			    "no default route: passt gives guests no connections to anywhere");
	else
		doctor_pass(f, "%s: virtual machines reach out by it", path);
}

/* Where Docker's and Podman's default bridges are, when these are not there themselves. */
void check_subnet(struct doctor_finding *f)
{
	static const struct {
		const char *name, *bridge;
		uint32_t net, mask;
	} usual[] = {
		{ "172.17.0.0/16", "docker0", 0xac110000, 0xffff0000 },
		{ "10.88.0.0/16", "podman0", 0x0a580000, 0xffff0000 },
	};
	cleanup_fclose FILE *routes = fopen("/proc/net/route", "re");
	char line[512], via[32];
	unsigned int to, mask;

	while (routes && fgets(line, sizeof(line), routes)) {
		if (sscanf(line, "%31s %x %*x %*x %*d %*d %*d %x", via, &to, &mask) != 3 || !mask)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
			uint32_t both = usual[i].mask & route_address(mask);

			if ((route_address(to) & both) != (usual[i].net & both) ||
			    str_after(via, "docker") || str_after(via, "podman") ||
			    str_after(via, "cni-"))
				continue;
			doctor_warn(f, "give bridges of containers another subnet",
				    "the route by %s covers %s, the usual subnet of %s: they "
				    "would clash",
				    via, usual[i].name, usual[i].bridge);
			return;
		}
	}
	doctor_pass(f, "no route takes the usual subnets of bridges");
}

static void check_device(struct doctor_finding *f, const char *path, const char *what,
			 const char *mend)
{
	cleanup_fd int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		doctor_pass(f, "%s opens", path);
	else
		doctor_warn(f, errno == EACCES || errno == EPERM ? "run as root" : mend,
			    "%s: %s; %s", path, strerror(errno), what);
}

void check_tun(struct doctor_finding *f)
{
	check_device(f, "/dev/net/tun", "no tap devices for guests", "modprobe tun");
}

void check_vhost(struct doctor_finding *f)
{
	check_device(f, "/dev/vhost-net", "guests' packets pass through the VMM instead",
		     "modprobe vhost_net");
}
