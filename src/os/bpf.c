/*
 * bpf(2) for device rules on cgroup v2.
 *
 * Trust: programs are compiled by Warren; the kernel's verifier checks them again. Threads: any.
 * #syscalls: bpf
 */
#include "os/bpf.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(enum bpf_cmd cmd, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : (int)r;
}

int bpf_load_cgroup_device(const struct bpf_insn *insns, size_t n, struct err *e)
{
	char log[4096] = "";
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = (uint32_t)n;
	attr.license = (uintptr_t) "MIT";
	memcpy(attr.prog_name, "warren_devices", sizeof("warren_devices"));
	int r = -EAGAIN;

	/* The verifier gives up when something waits for this thread, be it a signal or only the kernel's own work. */
	for (int tries = 0; r == -EAGAIN && tries < 10; tries++)
		r = bpf(BPF_PROG_LOAD, &attr);
	if (r >= 0)
		return r;
	/* Once more, for the words of the verifier; they cost time, so not on the way that works. */
	if (r == -EINVAL || r == -EACCES) {
		attr.log_buf = (uintptr_t)log;
		attr.log_size = sizeof(log);
		attr.log_level = 1;
		if (bpf(BPF_PROG_LOAD, &attr) < 0 && log[0])
			return err_sys(e, r, "load the device program: %.600s", log);
	}
	return err_sys(e, r, "load the device program");
}

int bpf_attach_cgroup_device(int cgroup, int prog, int replace)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.target_fd = (uint32_t)cgroup;
	attr.attach_bpf_fd = (uint32_t)prog;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (replace >= 0) {
		attr.attach_flags |= BPF_F_REPLACE;
		attr.replace_bpf_fd = (uint32_t)replace;
	}
	return bpf(BPF_PROG_ATTACH, &attr);
}

int bpf_detach_cgroup_device(int cgroup, int prog)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.target_fd = (uint32_t)cgroup;
	attr.attach_bpf_fd = (uint32_t)prog;
	return bpf(BPF_PROG_DETACH, &attr);
}

int bpf_query_cgroup_device(int cgroup, uint32_t *ids, size_t max)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)cgroup;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = (uintptr_t)ids;
	attr.query.prog_cnt = (uint32_t)max;
	int r = bpf(BPF_PROG_QUERY, &attr);

	return r < 0 ? r : (int)attr.query.prog_cnt;
}

int bpf_prog_by_id(uint32_t id)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	return bpf(BPF_PROG_GET_FD_BY_ID, &attr);
}
