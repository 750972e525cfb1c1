/*
 * warren doctor: what this host can do.
 *
 * One table of checks, each a small function that looks and says what it saw and what would mend it. What
 * has to be tried out (a user namespace, an overlay mount, a bridge) is tried in a child whose namespaces
 * end with it, so nothing on the host changes. A verdict a wall follows from the failed checks that
 * the wall needs.
 *
 * Trust: reads the kernel's own files. Threads: none, and none may exist: children are forked.
 * #syscalls: clone wait4 pidfd_open poll kill openat read close write exit_group unshare geteuid getegid
 */
#include "run/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "os/file.h"
#include "run/doctor_int.h"
#include "run/wall.h"

static const struct check {
	const char *id;
	void (*run)(struct doctor_finding *f);
	unsigned needed_by;
} checks[] = {
	{ "KVM-01", check_cpu, NEEDS_VM },
	{ "KVM-02", check_kvm_opens, NEEDS_PV | NEEDS_VM },
	{ "KVM-03", check_kvm_speed, NEEDS_VM },
	{ "KVM-04", check_kvm_capabilities, NEEDS_PV | NEEDS_VM },
	{ "KVM-05", check_kvm_paging, NEEDS_NOTHING },
	{ "PV-01", check_pv_mode, NEEDS_PV },
	{ "HYP-01", check_hypervisor, NEEDS_NOTHING },
	{ "NS-01", check_namespaces, NEEDS_CONTAINER },
	{ "USERNS-01", check_userns, NEEDS_CONTAINER },
	{ "USERNS-02", check_userns_lsm, NEEDS_CONTAINER },
	{ "USERNS-03", check_subids, NEEDS_NOTHING },
	{ "CG-01", check_cgroup_layout, NEEDS_NOTHING },
	{ "CG-02", check_cgroup_controllers, NEEDS_NOTHING },
	{ "CG-03", check_cgroup_delegation, NEEDS_NOTHING },
	{ "MNT-01", check_mount_api, NEEDS_CONTAINER },
	{ "OVL-01", check_overlay, NEEDS_NOTHING },
	{ "OVL-02", check_overlay_userns, NEEDS_NOTHING },
	{ "NET-01", check_links, NEEDS_NOTHING },
	{ "NET-02", check_forward_policy, NEEDS_NOTHING },
	{ "NET-03", check_ip_forward, NEEDS_NOTHING },
	{ "NET-04", check_low_ports, NEEDS_NOTHING },
	{ "NET-05", check_subnet, NEEDS_NOTHING },
	{ "NET-06", check_passt, NEEDS_NOTHING },
	{ "TUN-01", check_tun, NEEDS_NOTHING },
	{ "VHOST-01", check_vhost, NEEDS_NOTHING },
	{ "LSM-01", check_lsm, NEEDS_NOTHING },
	{ "SEC-01", check_seccomp, NEEDS_CONTAINER },
	{ "CAP-01", check_capabilities, NEEDS_NOTHING },
	{ "RT-01", check_runtimes, NEEDS_NOTHING },
};

const char *doctor_result_name(enum doctor_result r)
{
	return r == DOCTOR_PASS ? "PASS" : r == DOCTOR_WARN ? "WARN" : "FAIL";
}

static void found(struct doctor_finding *f, enum doctor_result r, const char *mend, const char *fmt,
		  va_list ap)
{
	f->result = r;
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	snprintf(f->mend, sizeof(f->mend), "%s", mend ? mend : "");
}

void doctor_pass(struct doctor_finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	found(f, DOCTOR_PASS, NULL, fmt, ap);
	va_end(ap);
}

void doctor_warn(struct doctor_finding *f, const char *mend, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	found(f, DOCTOR_WARN, mend, fmt, ap);
	va_end(ap);
}

void doctor_fail(struct doctor_finding *f, const char *mend, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	found(f, DOCTOR_FAIL, mend, fmt, ap);
	va_end(ap);
}

int doctor_in_child(int (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(fn(arg));
	cleanup_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd ended = { .fd = fd, .events = POLLIN };

	if (fd >= 0 && poll(&ended, 1, 2000) == 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

int doctor_enter_userns(int more_flags)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER | more_flags) < 0)
		return -errno;
	int r = file_poke(AT_FDCWD, "/proc/self/setgroups", "deny");

	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!r)
		r = file_poke(AT_FDCWD, "/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return r ? r : file_poke(AT_FDCWD, "/proc/self/gid_map", map);
}

char *doctor_read(const char *path)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(1 << 20);

	if (file_read(AT_FDCWD, path, &b))
		return NULL;
	if (b.len && b.data[b.len - 1] == '\n')
		b.data[--b.len] = '\0';
	return buf_steal(&b);
}

bool doctor_has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = text; p && *p;) {
		size_t len = strcspn(p, " \n\t,");

		if (len == n && strncmp(p, word, n) == 0)
			return true;
		p += len + (p[len] != '\0');
	}
	return false;
}

/* A wall that this build lacks, or that itself says that it cannot work, does not. */
static void ask_wall(struct doctor_verdict *v)
{
	const struct wall_ops *w;
	struct err e = ERR_INIT;

	if (wall_find(v->wall, &w, NULL))
		snprintf(v->text, sizeof(v->text), "this build has no %s wall", v->wall);
	else if (w->probe && w->probe(&e) < 0)
		snprintf(v->text, sizeof(v->text), "%.500s", e.msg);
	else
		return;
	v->works = false;
}

void doctor_run(void (*report)(const struct doctor_finding *f, void *arg), void *arg,
		struct doctor_verdict verdicts[DOCTOR_WALLS])
{
	static const char *const names[DOCTOR_WALLS] = { "container", "pv", "vm" };

	for (int w = 0; w < DOCTOR_WALLS; w++)
		verdicts[w] = (struct doctor_verdict){ .wall = names[w], .works = true };
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct doctor_finding f = { .id = checks[i].id };

		checks[i].run(&f);
		report(&f, arg);
		for (int w = 0; w < DOCTOR_WALLS; w++) {
			struct doctor_verdict *v = &verdicts[w];
			size_t used = strlen(v->text);

			if (f.result != DOCTOR_FAIL || !(checks[i].needed_by & 1u << w))
				continue;
			v->works = false;
			snprintf(v->text + used, sizeof(v->text) - used, "%s%s: %s",
				 used ? "; " : "", f.id, f.text);
		}
	}
	for (int w = 0; w < DOCTOR_WALLS; w++)
		if (verdicts[w].works)
			ask_wall(&verdicts[w]);
}
