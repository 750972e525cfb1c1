/*
 * The jail of a VMM: a guest that breaks out of its machine finds a process that has nothing. All that it uses
 * was opened before and handed over; from here on it can neither open, connect, signal nor see anything.
 *
 *	namespaces	mount, network, IPC, UTS, cgroup, processes; users too when we are not root
 *	root		an empty read-only tmpfs
 *	user		one that nobody else has, from a high range
 *	capabilities	none, no_new_privs
 *	system calls	those that the files of the machine are tagged with (tools/gen-jail), by number;
 *			ioctl by request as well. Anything else kills the process, which the monitor reports.
 *
 * The first tags below are what libc needs for threads and memory.
 *
 * Trust: called before the guest exists. Threads: none yet.
 * #syscalls(start): brk mprotect mremap madvise munmap mmap rt_sigreturn rt_sigprocmask rt_sigaction set_robust_list
 * rseq gettid getpid tgkill sched_yield restart_syscall clock_nanosleep clock_gettime nanosleep futex clone3
 * exit exit_group newfstatat lseek sched_getaffinity prlimit64 getrandom timer_create timer_settime
 * timer_delete epoll_pwait poll ppoll read write close sendto recvfrom sendmsg recvmsg writev readv preadv
 * pwritev pread64 pwrite64
 *
 * Once a machine is built, each of its threads gives up what its own work does not need (guest_jail_thread).
 * #syscalls(vcpu,disk,block,net,main): futex madvise restart_syscall
 * #syscalls(vcpu): rt_sigprocmask exit
 * #syscalls(disk,block,net,main): brk mmap munmap mremap mprotect
 * #syscalls(main): exit_group
 */
#include "run/guest_jail.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "os/confine.h"
#include "os/seccomp.h"

/* One user for each process id: beyond what /etc/subuid hands out by habit. */
#define JAIL_UID_BASE 0x70000000u
/* The types (bits 8 to 15) of the ioctl requests that machines use: KVM's, and block devices'. */
#define IOCTL_KVM   0xaeu
#define IOCTL_BLOCK 0x12u

static pid_t monitor_pid;

void guest_jail_prepare(void)
{
	monitor_pid = getpid();
	if (unshare(CLONE_NEWPID) < 0)
		return; /* an ordinary user */
}

static int by_value(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void guest_keep_only(int *fds, size_t n)
{
	unsigned from = 3;

	qsort(fds, n, sizeof(*fds), by_value);
	for (size_t i = 0; i < n; i++) {
		if (fds[i] < (int)from)
			continue;
		if ((unsigned)fds[i] > from)
			syscall(SYS_close_range, from, (unsigned)fds[i] - 1, 0);
		from = (unsigned)fds[i] + 1;
	}
	syscall(SYS_close_range, from, ~0u, 0);
}

/* Nothing is left to be opened by name. */
static int empty_root(struct err *e)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=555") <
		    0 ||
	    chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ||
	    mount(NULL, "/", NULL,
		  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_sys(e, -errno, "jail: empty root");
	return 0;
}

static int own_user(struct err *e)
{
	uid_t id = JAIL_UID_BASE + ((unsigned)monitor_pid & 0xffffff);

	if (geteuid() != 0)
		return 0;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(e, -errno, "jail: capability %d", cap);
	}
	if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
		return err_sys(e, -errno, "jail: user %u", id);
	return 0;
}

static int namespaces(struct err *e)
{
	int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

	if (geteuid() != 0)
		flags |= CLONE_NEWUSER;
	return unshare(flags) < 0 ? err_sys(e, -errno, "jail: namespaces") : 0;
}

/* Requests of other types than the two, and other ones than these of a tap, end the process. */
static int filter_ioctls(struct err *e)
{
	const struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 7),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TUNSETOFFLOAD, 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TUNSETQUEUE, 4, 0),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IOCTL_KVM << 8, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IOCTL_BLOCK << 8, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	int r = os_seccomp_load(f, ARRAY_SIZE(f), 0);

	return r < 0 ? err_sys(e, r, "jail: ioctl filter") : 0;
}

int guest_jail_enter(const int *calls, size_t n, struct err *e)
{
	const struct rlimit none = { 0, 0 };
	const struct confine c = { .calls = calls, .calls_n = n };
	int r = namespaces(e);

	if (r == 0)
		r = empty_root(e);
	if (r == 0)
		r = own_user(e);
	if (r < 0)
		return r;
	/* A new user made the process undumpable and forgot whom its death is tied to. */
	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, -errno, "jail");
	r = filter_ioctls(e);
	return r < 0 ? r : confine_self(&c, e);
}

int guest_jail_thread(const struct guest_jail_list *l)
{
	return confine_thread(l->calls, l->calls_n, l->requests, l->requests_n);
}
