/*
 * warren lguest MEM vmlinux [--block=FILE...] [ARGS...]
 *
 * The pv wall's machine on this terminal, with nothing around it: a kernel, disks and its command line. Named
 * after the hypervisor that taught many people how one works.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: none
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "run/pv_lguest.h"

struct settings {
	struct strlist blocks;
	const char *initrd, *memory;
	int64_t vcpus;
	bool stats, no_patches;
};

static const struct opt opts[] = {
	OPT_LIST(0, "block", "FILE", struct settings, blocks,
		 "A disk image (raw), /dev/xvda and on; FILE:ro is read-only",
		 .complete = COMPLETE_FILE),
	OPT_STRING(0, "initrd", "FILE", struct settings, initrd, "An initramfs",
		   .complete = COMPLETE_FILE),
	OPT_STRING(0, "pv-memory", "MODE", struct settings, memory,
		   "merged: the guest's user code shares its kernel's address space; isolated: it "
		   "does not",
		   .choices = "merged|isolated"),
	OPT_INT(0, "vcpus", "N", struct settings, vcpus, "Virtual CPUs (default: 1)"),
	OPT_BOOL(0, "stats", struct settings, stats, "Print the hypervisor's counters at the end"),
	OPT_BOOL(0, "no-patches", struct settings, no_patches,
		 "Leave the kernel's hypercall sites alone"),
	OPT_END,
};

/* "256" is megabytes, as it was for lguest; "256m" and "1g" work too. */
static int parse_memory(const char *text, uint64_t *bytes, struct err *e)
{
	if (str_to_u64(text, bytes) == 0 && *bytes < 1u << 20) {
		*bytes <<= 20;
		return 0;
	}
	return str_to_size(text, bytes) ? err_set(e, -EINVAL, "'%s' is no amount of memory", text)
					: 0;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	struct settings *s = settings;
	struct buf cmdline = BUF_INIT(4096), report = BUF_INIT(16384);
	struct lguest g = { .kernel = argv[1],
			    .initrd = s->initrd,
			    .disks = s->blocks,
			    .vcpus = s->vcpus > 0 ? (unsigned)s->vcpus : 1,
			    .isolated = s->memory && streq(s->memory, "isolated"),
			    .no_patches = s->no_patches,
			    .stats = s->stats };
	int r = parse_memory(argv[0], &g.memory, e);

	if (r)
		return r;
	for (int i = 2; i < argc; i++)
		buf_addf(&cmdline, "%s%s", i > 2 ? " " : "", argv[i]);
	if (argc == 2)
		buf_adds(&cmdline, "console=hvc0");
	if (cmdline.error)
		return err_set(e, cmdline.error, "the kernel's command line is too long");
	g.cmdline = buf_str(&cmdline);
	r = lguest_run(&g, &report, e);
	fputs(buf_str(&report), stderr);
	buf_fini(&report);
	buf_fini(&cmdline);
	return r;
}

const struct command cmd_lguest = {
	.name = "lguest",
	.args = "MEM VMLINUX [KERNEL-ARG...]",
	.summary = "Run a kernel as a pv guest on this terminal",
	.text = "MEM is in megabytes. The kernel is an uncompressed vmlinux with Xen PV support, "
		"such as "
		"`warren kernel import` makes of Debian's. Its console is this terminal; ^] ends "
		"it.",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 2,
	.max_args = -1,
};
