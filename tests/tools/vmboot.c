/*
 * vmboot KERNEL INITRD MB VCPUS CMDLINE [DISK...]: boots a kernel behind the vm wall without image, jail or
 * agent; its console is our stdout. INITRD may be "-". The environment's VMBOOT_PROTOCOL forces a boot protocol,
 * VMBOOT_CPU a CPU template. For tests of the machine alone.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "run/vm.h"

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
		c.disk[c.disks] = block_raw_new(open(argv[i], O_RDWR | O_CLOEXEC), false, &e);
		if (!c.disk[c.disks++])
			return fail(&e);
	}
	struct vm *v = vm_new(&c, &e);

	if (!v || vm_run(v, &result, &e))
		return fail(&e);
	vm_free(v);
	fprintf(stderr, "%s%s%s: setup %.1f ms, %llu exits (%llu io, %llu mmio, %llu unclaimed)\n",
		ends[result.end], result.reason[0] ? ": " : "", result.reason,
		(double)result.stats.setup_ns / 1e6, (unsigned long long)result.stats.exits,
		(unsigned long long)result.stats.io, (unsigned long long)result.stats.mmio,
		(unsigned long long)result.stats.unclaimed);
	return result.end == VM_END_POWEROFF ? 0 : 1;
}
