/*
 * What a guest's network device is connected to.
 *
 *	private, host	passt, a program of the distribution: connections leave as those of a process of the host, by a
 *			socket pair between it and the VMM; with "host" the gateway's address also leads to what
 *			listens on the host's own loopback
 *	tap:NAME	an interface of the host, opened here by the user's own rights
 *	none		nothing
 *
 * A guest has no part in the host's own network namespace, so "host" means what comes nearest. Where passt is not
 * installed "private" is what it is for containers, a loopback interface; doctor says so (NET-06).
 *
 * Trust: config.json is the user's. passt confines itself, before it reads the guest's first frame. Threads: none.
 * #syscalls: open ioctl socketpair execve access
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "net/passt.h"
#include "net/tap.h"
#include "os/spawn.h"
#include "run/guest.h"
#include "run/guest_int.h"
#include "run/passt.h"
#include "wire/network.h"

/* The longest that it takes (65535 rounded down to words, with its header in a frame). */
#define PASST_MTU 65520

/* A local address that stays the same for an instance (FNV-1a of its name). */
static void choose_mac(uint8_t mac[6], const char *id)
{
	uint32_t h = 2166136261u;

	for (; *id; id++)
		h = (h ^ (uint8_t)*id) * 16777619u;
	mac[0] = 0x02;
	mac[1] = 0x57;
	memcpy(mac + 2, &h, sizeof(h));
}

bool passt_find(char path[PATH_MAX])
{
	const char *p = getenv("PATH");

	for (p = p && *p ? p : "/usr/local/bin:/usr/bin:/bin"; *p;) {
		size_t n = strcspn(p, ":");

		if (n && snprintf(path, PATH_MAX, "%.*s/passt", (int)n, p) < PATH_MAX &&
		    access(path, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

int guest_net_open(struct guest_net *n, const struct oci_spec *spec, const char *id, struct err *e)
{
	const char *text = oci_annotation(spec, GUEST_NETWORK);
	struct network_wish w;
	char path[PATH_MAX];
	int r = network_parse(text ? text : "none", &w, e);

	if (r < 0 || w.kind == NETWORK_NONE)
		return r;
	choose_mac(n->mac, id);
	if (w.has_mac)
		memcpy(n->mac, w.mac, sizeof(w.mac));
	if (w.kind == NETWORK_TAP) {
		r = tap_open(w.tap, w.queues, n->fd, e);
		if (r < 0)
			return err_wrap(e, "--network");
		n->kind = GUEST_NET_TAP;
		n->queues = w.queues;
		memcpy(n->address, w.address, sizeof(n->address));
		memcpy(n->gateway, w.gateway, sizeof(n->gateway));
		return 0;
	}
	n->host = w.kind == NETWORK_HOST;
	if (!passt_find(path)) {
		if (!n->host)
			return 0;
		return err_set(
			e, -ENOENT,
			"--network host: a guest reaches the host's network by passt, which is not "
			"installed. Fix: apt install passt; or use --network none [NET-06]");
	}
	n->kind = GUEST_NET_PASST;
	n->mtu = PASST_MTU;
	snprintf(n->address, sizeof(n->address), PASST_ADDRESS "/" PASST_BITS);
	snprintf(n->gateway, sizeof(n->gateway), PASST_GATEWAY);
	return 0;
}

/* An OCI caller's config.json has no word of the network but its namespace; without one it means the host's. */
static void warn_of_host(const struct oci_spec *spec, const char *wall)
{
	if (spec->linux_ && !spec->linux_->ns[OCI_NS_NETWORK].present)
		log_warn(
			"the host's network was asked for: behind the %s wall a guest has only its "
			"loopback",
			wall);
}

int guest_net_refuse(const struct oci_spec *spec, const char *wall, struct err *e)
{
	const char *text = oci_annotation(spec, GUEST_NETWORK);
	struct network_wish w;
	int r = network_parse(text ? text : "none", &w, e);

	if (!text)
		warn_of_host(spec, wall);
	if (r < 0 || w.kind == NETWORK_NONE || w.kind == NETWORK_PRIVATE)
		return r;
	return err_set(e, -ENOTSUP,
		       "--network '%s': behind the %s wall a guest has only its loopback. Fix: use "
		       "--vm, or "
		       "--network private",
		       text, wall);
}

int guest_net_start(struct guest_net *n, int log, struct err *e)
{
	char path[PATH_MAX];
	int pair[2];

	if (n->kind != GUEST_NET_PASST)
		return 0;
	if (!passt_find(path))
		return err_set(e, -ENOENT, "passt went away");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, -errno, "socket of the network");
	const char *argv[] = {
		"passt",
		"-f",
		"-q",
		"-e",
		"--fd",
		"0",
		"--address",
		PASST_ADDRESS,
		"--netmask",
		PASST_BITS,
		"--gateway",
		PASST_GATEWAY,
		"--dns-forward",
		PASST_DNS,
		n->host ? NULL : "--no-map-gw",
		NULL,
	};
	int r = spawn_program(&n->pid, path, argv, (int[3]){ pair[0], log, log }, e);

	close(pair[0]);
	if (r < 0) {
		close(pair[1]);
		return r;
	}
	n->fd[0] = pair[1];
	n->queues = 1;
	return 0;
}

struct net_port *guest_net_port(struct guest_net *n, struct err *e)
{
	struct net_port *p = NULL;

	if (n->kind == GUEST_NET_NONE)
		return NULL;
	p = n->kind == GUEST_NET_TAP ? tap_port_new(n->fd, n->queues) : passt_port_new(n->fd[0]);
	n->queues = 0;
	if (!p)
		err_sys(e, -ENOMEM, "network");
	return p;
}

void guest_net_fini(struct guest_net *n)
{
	for (unsigned i = 0; i < n->queues; i++)
		close_fd(&n->fd[i]);
	n->queues = 0;
}
