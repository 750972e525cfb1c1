/*
 * seccomp(2): no wrapper in libc.
 *
 * Trust: the program is checked by the kernel. Threads: any; the filter binds the calling thread.
 * #syscalls: seccomp prctl
 */
#include "os/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int os_seccomp_load(const struct sock_filter *insn, size_t n, unsigned int flags)
{
	struct sock_fprog prog = {
		.len = (unsigned short)n,
		.filter = (struct sock_filter *)(uintptr_t)insn,
	};

	if (n == 0 || n > BPF_MAXINSNS)
		return -EINVAL;
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);

	if (r < 0 && errno == ENOSYS && !flags)
		r = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
	if (r < 0)
		return -errno;
	/* TSYNC without TSYNC_ESRCH reports the thread that refused. */
	if (r > 0 && !(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
		return -ESRCH;
	return (int)r;
}

bool os_seccomp_has_action(unsigned int action)
{
	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

unsigned int os_seccomp_known_flags(unsigned int flags)
{
	unsigned int known = 0;

	/* With a null program a known flag gives EFAULT, an unknown one EINVAL. WAIT_KILLABLE_RECV is only
	 * taken together with NEW_LISTENER. */
	for (unsigned int bit = 1; bit && bit <= flags; bit <<= 1) {
		unsigned int with = bit;

		if (bit == SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
			with |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
		if ((flags & bit) &&
		    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, with, NULL) < 0 &&
		    errno == EFAULT)
			known |= bit;
	}
	return known;
}
