/*
 * Confinement of helper programs. Each layer stands alone: limits bound what a bomb can take, landlock bounds
 * which files can be named, dropped capabilities what root may do, seccomp what the kernel can be asked.
 * A call that is not on the list kills the program, and its parent reports that.
 *
 * Threads: confine_self one, before others exist; confine_thread any. #syscalls: prctl capset landlock_create_ruleset landlock_add_rule
 * #syscalls: landlock_restrict_self seccomp prlimit64
 */
#include "os/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/seccomp.h"

#define CALLS_MAX    120
#define REQUESTS_MAX 16

/* The address sanitizer takes terabytes of address space and calls of its own. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* The rights of landlock's first version, which every later one has. */
#define READ_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ALL_RIGHTS  ((1ull << 13) - 1)

static int limit(int resource, uint64_t value)
{
	struct rlimit r;

	if (getrlimit(resource, &r) < 0)
		return -errno;
	if (r.rlim_max == RLIM_INFINITY || value < r.rlim_max)
		r.rlim_cur = r.rlim_max = value;
	return setrlimit(resource, &r) < 0 ? -errno : 0;
}

static int allow_below(int ruleset, const int *dirs, size_t n, uint64_t rights)
{
	for (size_t i = 0; i < n; i++) {
		struct landlock_path_beneath_attr at = { .allowed_access = rights,
							 .parent_fd = dirs[i] };

		if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &at, 0) < 0)
			return -errno;
	}
	return 0;
}

static int lock_paths(const struct confine *c)
{
	struct landlock_ruleset_attr at = { .handled_access_fs = ALL_RIGHTS };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t rights = ALL_RIGHTS;

	/* The first version denies all links between directories, which layers are full of. */
	if (abi < 2)
		return 0;
	at.handled_access_fs = rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		at.handled_access_fs = rights |= 1ull << 14; /* truncate */
	cleanup_fd int fd = (int)syscall(SYS_landlock_create_ruleset, &at, sizeof(at), 0);

	if (fd < 0)
		return -errno;
	int r = allow_below(fd, c->writable, c->writable_n, rights);

	if (!r)
		r = allow_below(fd, c->readable, c->readable_n, READ_RIGHTS);
	if (!r && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		r = -errno;
	return r;
}

static int drop_caps(uint64_t keep)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct now[2], want[2] = { { 0 } };

	if (syscall(SYS_capget, &h, now) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		want[i].effective = want[i].permitted = now[i].permitted &
							(uint32_t)(keep >> (32 * i));
	for (int cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 &&
		    !(keep & 1ull << cap)) /* needs CAP_SETPCAP; without it nothing is lost */
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	return syscall(SYS_capset, &h, want) < 0 ? -errno : 0;
}

static struct sock_filter op(uint16_t code, uint32_t k, size_t jt, size_t jf)
{
	return (struct sock_filter){ code, (uint8_t)jt, (uint8_t)jf, k };
}

/* Only these calls; of ioctl, where `requests` is given, only these. Others end the process. */
static int filter_calls(const int *calls, size_t n, const uint32_t *requests, size_t requests_n)
{
	const uint16_t load = BPF_LD | BPF_W | BPF_ABS, equal = BPF_JMP | BPF_JEQ | BPF_K,
		       end = BPF_RET | BPF_K;
	struct sock_filter f[CALLS_MAX + REQUESTS_MAX + 12];
	size_t k = 0;

	if (n > CALLS_MAX || requests_n > REQUESTS_MAX)
		return -E2BIG;
	f[k++] = op(load, offsetof(struct seccomp_data, arch), 0, 0);
	f[k++] = op(equal, AUDIT_ARCH_X86_64, 1, 0);
	f[k++] = op(end, SECCOMP_RET_KILL_PROCESS, 0, 0);
	f[k++] = op(load, offsetof(struct seccomp_data, nr), 0, 0);
	if (requests) {
		f[k++] = op(equal, SYS_ioctl, 0, requests_n + 3);
		f[k++] = op(load, offsetof(struct seccomp_data, args[1]), 0, 0);
		for (size_t i = 0; i < requests_n; i++)
			f[k++] = op(equal, requests[i], requests_n - i, 0);
		f[k++] = op(end, SECCOMP_RET_KILL_PROCESS, 0, 0);
		f[k++] = op(end, SECCOMP_RET_ALLOW, 0, 0);
	}
	for (size_t i = 0; i < n; i++)
		f[k++] = op(equal, (uint32_t)calls[i], n - i, 0);
	f[k++] = op(end, SECCOMP_RET_KILL_PROCESS, 0, 0);
	f[k++] = op(end, SECCOMP_RET_ALLOW, 0, 0);
	return os_seccomp_load(f, k, 0);
}

int confine_thread(const int *calls, size_t n, const uint32_t *requests, size_t requests_n)
{
	return SANITIZED ? 0 : filter_calls(calls, n, requests, requests_n);
}

int confine_self(const struct confine *c, struct err *e)
{
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : limit(RLIMIT_CORE, 0);

	if (!r && c->memory && !SANITIZED)
		r = limit(RLIMIT_AS, c->memory);
	if (!r && c->file_size)
		r = limit(RLIMIT_FSIZE, c->file_size);
	if (r)
		return err_sys(e, r, "confinement: limits");
	r = lock_paths(c);
	if (r)
		return err_sys(e, r, "confinement: landlock");
	r = drop_caps(c->keep_caps);
	if (r)
		return err_sys(e, r, "confinement: capabilities");
	r = c->calls && !SANITIZED ? filter_calls(c->calls, c->calls_n, NULL, 0) : 0;
	return r ? err_sys(e, r, "confinement: seccomp") : 0;
}

void helper_die(const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	/* The parent reads the last line: a name with a newline in it must not make two. */
	for (char *p = line; *p; p++)
		*p = (unsigned char)*p < ' ' ? '?' : *p;
	size_t n = strlen(line);

	line[n++] = '\n';
	if (write(2, line, n) < 0)
		_exit(2);
	_exit(1);
}
