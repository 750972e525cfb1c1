/*
 * vmboot KERNEL INITRD MB VCPUS CMDLINE [DISK...]: boots a kernel behind the vm wall without image, jail or
 * agent; its console is our stdout. INITRD may be "-". The environment's VMBOOT_PROTOCOL forces a boot protocol,
 * VMBOOT_CPU a CPU template, VMBOOT_SHARE shares a directory, VMBOOT_VSOCK gives it sockets (all it calls refuse),
 * VMBOOT_TAP a network device on that interface, VMBOOT_JAIL leaves threads the system calls that they have behind the vm wall. For tests of the machine alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "net/tap.h"
#include "os/file.h"
#include "run/guest_wall.h"
#include "run/vm.h"
#include "storage/share.h"

static struct vm *vm;

/* Calls of the guest, answered by a loop's turn of its own: a socket that nobody reads, while there are some, or no. */
enum { CALLS = 64, SOCKETS = 16 };

static uint32_t calls[CALLS];
static unsigned calls_n, sockets_n;
static int sockets[SOCKETS][2];
static struct loop_fd call_event = { .fd = -1 };

static void called(uint32_t id, uint32_t port, void *arg)
{
	uint64_t one = 1;

	(void)port, (void)arg;
	calls[calls_n++ % CALLS] = id;
	if (write(call_event.fd, &one, sizeof(one)) < 0)
		perror("eventfd");
}

static void answer(struct loop_fd *s, uint32_t events)
{
	uint64_t n;

	(void)events;
	if (read(s->fd, &n, sizeof(n)) < 0)
		return;
	for (; n; n--) {
		int *pair = sockets_n ? sockets[--sockets_n] : NULL;

		vm_vsock_answer(vm, calls[(calls_n - n) % CALLS], pair ? pair[0] : -1,
				pair ? pair[1] : -1);
	}
}

static int start(struct loop *loop, void *arg)
{
	(void)arg;
	return loop_watch(loop, &call_event, EPOLLIN);
}

static void add_vsock(struct vm_config *c)
{
	call_event = (struct loop_fd){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = answer };
	for (; sockets_n < SOCKETS; sockets_n++) {
		int *pair = sockets[sockets_n];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
			break;
		pair[1] = dup(pair[0]); /* the other end stays open, and silent */
	}
	c->vsock_wanted = called;
	c->start = start;
}

/* A process that serves `dir`, as run/guest_share.c makes one. */
static void add_share(struct vm_config *c, const char *dir)
{
	static uint8_t request[SHARE_MESSAGE_MAX + 4096], reply[SHARE_MESSAGE_MAX];
	struct err e = ERR_INIT;
	int line[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0)
		return;
	if (fork() == 0) {
		const struct share_config config = { .root = open(dir, O_PATH | O_CLOEXEC),
						     .proc = open("/proc/self/fd", O_PATH) };
		struct share *s = share_new(&config, &e);
		struct fuse_in_header h;

		close(line[1]);
		while (s && read_full(line[0], &h, sizeof(h)) == sizeof(h)) {
			size_t rest = h.len - sizeof(h);

			memcpy(request, &h, sizeof(h));
			if (h.len > sizeof(request) ||
			    read_full(line[0], request + sizeof(h), rest) != (ssize_t)rest)
				break;
			ssize_t n = share_request(s, request, h.len, reply);

			if (n < 0 || (n && write_full(line[0], reply, (size_t)n)))
				break;
		}
		_exit(0);
	}
	close(line[0]);
	fcntl(line[1], F_SETFL, O_NONBLOCK);
	c->share[c->shares++] = (struct vm_share_config){ "share0", line[1], dup(line[1]) };
}

static int add_tap(struct vm_config *c, const char *name, struct err *e)
{
	int fd[NET_QUEUES_MAX], r = tap_open(name, 1, fd, e);

	if (r)
		return r;
	c->net = tap_port_new(fd, 1);
	memcpy(c->mac, "\x02\x57\0\0\0\1", sizeof(c->mac));
	return c->net ? 0 : err_sys(e, -ENOMEM, "tap");
}

static int fail(const struct err *e)
{
	fprintf(stderr, "Error: %s\n", e->msg);
	return 125;
}

int main(int argc, char **argv)
{
	static const char *const ends[] = { "poweroff", "reboot", "broken", "stopped" };
	struct err e = ERR_INIT;
	struct vm_result result;

	if (argc < 6)
		return 2;
	struct vm_config c = {
		.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC),
		.kernel = open(argv[1], O_RDONLY | O_CLOEXEC),
		.initrd = streq(argv[2], "-") ? -1 : open(argv[2], O_RDONLY | O_CLOEXEC),
		.cpu = getenv("VMBOOT_CPU"),
		.memory = strtoull(argv[3], NULL, 10) << 20,
		.vcpus = (unsigned)strtoul(argv[4], NULL, 10),
		.cmdline = argv[5],
		.ports = 1,
		.port[0] = { .name = "console", .is_console = true, .in = -1, .out = 1 },
	};

	const char *protocol = getenv("VMBOOT_PROTOCOL");

	if (protocol && boot_protocol_parse(protocol, &c.protocol))
		return 2;
	for (int i = 6; i < argc; i++) {
		c.disk[c.disks] = block_uring_new(open(argv[i], O_RDWR | O_CLOEXEC), false, &e);
		if (!c.disk[c.disks++])
			return fail(&e);
	}
	if (getenv("VMBOOT_SHARE"))
		add_share(&c, getenv("VMBOOT_SHARE"));
	if (getenv("VMBOOT_TAP") && add_tap(&c, getenv("VMBOOT_TAP"), &e))
		return fail(&e);
	if (getenv("VMBOOT_VSOCK"))
		add_vsock(&c);
	if (getenv("VMBOOT_JAIL"))
		c.confine = vm_wall_confine;
	signal(SIGPIPE, SIG_IGN);
	vm = vm_new(&c, &e);
	if (!vm || vm_run(vm, &result, &e))
		return fail(&e);
	if (!c.confine)
		vm_free(vm);
	fprintf(stderr, "%s%s%s: setup %.1f ms, %llu exits (%llu io, %llu mmio, %llu unclaimed)\n",
		ends[result.end], result.reason[0] ? ": " : "", result.reason,
		(double)result.stats.setup_ns / 1e6, (unsigned long long)result.stats.exits,
		(unsigned long long)result.stats.io, (unsigned long long)result.stats.mmio,
		(unsigned long long)result.stats.unclaimed);
	return result.end == VM_END_POWEROFF ? 0 : 1;
}
