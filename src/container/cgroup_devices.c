/*
 * Which devices a container may open or make.
 *
 * v1: one rule a line into devices.deny and devices.allow. v2: one BPF program (cgroup_bpf.c), replaced when the
 * rules are updated. On both, nothing is allowed at first, then the configuration's rules hold in their order, then
 * the specification's default devices. An ordinary user may set none of this; there the kernel itself does not let a
 * user namespace make devices.
 *
 * Trust: as cgroup_file.c. Threads: any. #syscalls: openat write close bpf
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "container/cgroup_bpf.h"
#include "container/cgroup_int.h"
#include "os/bpf.h"

static int write_rule(const struct cgroup_dir *d, const struct oci_device_rule *r, struct err *e)
{
	char major[24] = "*", minor[24] = "*";

	if (r->major >= 0)
		snprintf(major, sizeof(major), "%" PRId64, r->major);
	if (r->minor >= 0)
		snprintf(minor, sizeof(minor), "%" PRId64, r->minor);
	return cgroup_file_write(d, r->allow ? "devices.allow" : "devices.deny", "devices", e,
				 "%c %s:%s %s%s%s", r->type, major, minor, r->read ? "r" : "",
				 r->write ? "w" : "", r->mknod ? "m" : "");
}

/* "a" of v1 means everything, whatever stands behind it, so for v1 a narrower rule for both types is two. */
static int write_rules(const struct cgroup_dir *d, const struct oci_device_rule *rules, size_t n,
		       struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++) {
		struct oci_device_rule r = rules[i];
		bool whole = r.major < 0 && r.minor < 0 && r.read && r.write && r.mknod;

		if (!r.read && !r.write && !r.mknod)
			continue;
		if (r.type != 'a' || whole) {
			rc = write_rule(d, &r, e);
			continue;
		}
		r.type = 'b';
		rc = write_rule(d, &r, e);
		r.type = 'c';
		if (!rc)
			rc = write_rule(d, &r, e);
	}
	return rc;
}

static int apply_v1(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	static const struct oci_device_rule nothing = {
		.type = 'a', .major = -1, .minor = -1, .read = true, .write = true, .mknod = true
	};
	size_t first = r->devices_n;

	/* Only what follows the last rule for everything counts. */
	while (first && !cgroup_rule_covers_all(&r->devices[first - 1]))
		first--;
	bool all = first && r->devices[first - 1].allow;
	int rc = write_rule(d, all ? &r->devices[first - 1] : &nothing, e);

	if (!rc && first < r->devices_n)
		rc = write_rules(d, r->devices + first, r->devices_n - first, e);
	/* Under "everything but" the defaults are allowed already. */
	if (!rc && !all)
		rc = write_rules(d, cgroup_default_devices, cgroup_default_devices_n, e);
	return rc;
}

/* The program that an earlier call attached, to be replaced; -1 when there is none. */
static int attached(int cgroup)
{
	uint32_t ids[64];
	int n = bpf_query_cgroup_device(cgroup, ids, sizeof(ids) / sizeof(ids[0]));

	return n == 1 ? bpf_prog_by_id(ids[0]) : -1;
}

static int apply_v2(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e)
{
	size_t n = r->devices_n + cgroup_default_devices_n;
	cleanup_free struct oci_device_rule *rules = calloc(n, sizeof(*rules));
	cleanup_free struct bpf_insn *insns = NULL;

	if (!rules)
		return err_sys(e, -ENOMEM, "linux.resources.devices");
	if (r->devices_n)
		memcpy(rules, r->devices, r->devices_n * sizeof(*rules));
	memcpy(rules + r->devices_n, cgroup_default_devices,
	       cgroup_default_devices_n * sizeof(*rules));
	int count = cgroup_bpf_compile(rules, n, &insns);

	if (count < 0)
		return err_sys(e, count, "linux.resources.devices: %zu rules", r->devices_n);
	cleanup_fd int prog = bpf_load_cgroup_device(insns, (size_t)count, e);
	cleanup_fd int cgroup = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (prog < 0) {
		err_wrap(e, "linux.resources.devices");
		return prog;
	}
	if (cgroup < 0)
		return err_sys(e, -errno, "cgroup %s", d->path);
	cleanup_fd int old = attached(cgroup);
	int rc = bpf_attach_cgroup_device(cgroup, prog, old);

	return rc ? err_sys(e, rc, "linux.resources.devices: attach to cgroup %s", d->path) : 0;
}

int cgroup_devices(struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	const struct cgroup_dir *v1 = cgroup_dir_of(cg, CGROUP_DEVICES), *v2 = cgroup_dir_v2(cg);

	if (cg->rootless)
		return 0;
	int rc = v1 ? apply_v1(v1, r, e) : v2 ? apply_v2(v2, r, e) : 0;

	if ((rc == -EPERM || rc == -EACCES) && cgroup_is_rootless(cg)) {
		if (e)
			err_clear(e);
		return 0;
	}
	return rc;
}
