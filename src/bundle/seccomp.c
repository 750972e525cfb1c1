/*
 * Seccomp profiles for config.json: the default one, which users of docker and podman know, and files.
 *
 * What is allowed: everything that ordinary programs call, always; more by capability, so that whoever was given
 * the capability can use it; personality() with five harmless values; socket() for families that are in
 * use, which leaves out those that only add attack surface or reach beyond the container (AF_ALG, AF_VSOCK); clone()
 * unless it makes namespaces; clone3(), whose flags a filter cannot see, does "not exist", so that libc falls back to clone().
 * Everything else is EPERM. i386's socketcall() stays open, as it does there: its arguments lie in memory
 * where no filter can look, and 32-bit programs need it.
 *
 * The profile is written as text into config.json, so that it can be read and changed there, and any OCI
 * runtime would do the same with it.
 *
 * A file given with --security-opt seccomp= may be in docker's form, whose rules depend on capabilities,
 * architecture and kernel; it is turned into the specification's. What is then wrong with it is said when
 * config.json is read.
 *
 * Trust: the file is the user's. Threads: none. #syscalls: openat read close uname
 */
#include "bundle/seccomp.h"

#include <errno.h>
#include <json-c/json.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/util.h"
#include "wire/caps.h"

#define ARCHITECTURES "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32"

static const char always[] =
	"accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod "
	"chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 "
	"clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close "
	"close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 "
	"epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd "
	"eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 "
	"fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat "
	"fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat "
	"fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue "
	"futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents "
	"getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 "
	"getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid "
	"getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid "
	"getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr "
	"getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel "
	"ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get "
	"ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset "
	"landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount "
	"listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 "
	"madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat "
	"mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify "
	"mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 "
	"mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap "
	"name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause "
	"pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll "
	"ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 "
	"pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv "
	"recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr "
	"removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction "
	"rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
	"rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity "
	"sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min "
	"sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 "
	"sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield "
	"seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile "
	"sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid "
	"setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 "
	"setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit "
	"set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 "
	"setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd "
	"signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs "
	"statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee "
	"tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
	"timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
	"timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask "
	"uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork "
	"vmsplice wait4 waitid waitpid write writev process_vm_readv process_vm_writev ptrace "
	"arch_prctl modify_ldt";

/* Calls that come with a capability. */
static const struct {
	int cap;
	const char *names;
} by_capability[] = {
	{ CAP_DAC_READ_SEARCH, "open_by_handle_at" },
	{ CAP_SYS_ADMIN,
	  "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie "
	  "lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount "
	  "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog "
	  "umount umount2 unshare" },
	{ CAP_SYS_BOOT, "reboot" },
	{ CAP_SYS_CHROOT, "chroot" },
	{ CAP_SYS_MODULE, "delete_module init_module finit_module" },
	{ CAP_SYS_PACCT, "acct" },
	{ CAP_SYS_PTRACE,
	  "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace" },
	{ CAP_SYS_RAWIO, "iopl ioperm" },
	{ CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64" },
	{ CAP_SYS_TTY_CONFIG, "vhangup" },
	{ CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node" },
	{ CAP_SYSLOG, "syslog" },
	{ CAP_BPF, "bpf" },
	{ CAP_PERFMON, "perf_event_open" },
};

/* PER_LINUX, PER_LINUX32, UNAME26, both, and the question for the current one. */
static const uint32_t personalities[] = { 0, 8, 0x20000, 0x20008, 0xffffffff };

/* Address families: all below AF_DECnet, and these. Not among them: DECnet, Econet, ATM SVC, IrDA, WANPIPE, IUCV,
 * CAIF, ALG, VSOCK, and whatever comes after MCTP. */
enum { FAMILIES_BELOW = 12 };
static const uint8_t families[] = { 13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29,
				    30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45 };

/* CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
enum { CLONE_NAMESPACES = 0x7e020000 };

static bool has(uint64_t caps, int cap)
{
	return caps >> cap & 1;
}

/* "a b c" as a list. */
static struct json_object *word_list(const char *words)
{
	struct json_object *list = json_object_new_array();

	for (const char *s = words; *s;) {
		size_t n = strcspn(s, " ");

		json_object_array_add(list, json_object_new_string_len(s, (int)n));
		s += n + (s[n] == ' ');
	}
	return list;
}

static struct json_object *add_rule(struct json_object *rules, const char *words,
				    const char *action)
{
	struct json_object *rule = json_object_new_object();

	json_object_object_add(rule, "names", word_list(words));
	json_object_object_add(rule, "action", json_object_new_string(action));
	json_object_array_add(rules, rule);
	return rule;
}

/* Allowed when argument 0 compares as said. */
static void add_rule_if(struct json_object *rules, const char *name, const char *op, uint32_t value)
{
	struct json_object *arg = json_object_new_object(), *args = json_object_new_array();

	json_object_object_add(arg, "index", json_object_new_int(0));
	json_object_object_add(arg, "value", json_object_new_int64(value));
	json_object_object_add(arg, "op", json_object_new_string(op));
	json_object_array_add(args, arg);
	json_object_object_add(add_rule(rules, name, "SCMP_ACT_ALLOW"), "args", args);
}

int bundle_seccomp_default(uint64_t caps, struct json_object **out, struct err *e)
{
	struct json_object *profile = json_object_new_object(), *rules = json_object_new_array();

	(void)e;
	json_object_object_add(profile, "defaultAction", json_object_new_string("SCMP_ACT_ERRNO"));
	json_object_object_add(profile, "defaultErrnoRet", json_object_new_int(EPERM));
	json_object_object_add(profile, "architectures", word_list(ARCHITECTURES));
	json_object_object_add(profile, "syscalls", rules);
	add_rule(rules, always, "SCMP_ACT_ALLOW");
	add_rule_if(rules, "socket", "SCMP_CMP_LT", FAMILIES_BELOW);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		add_rule_if(rules, "socket", "SCMP_CMP_EQ", families[i]);
	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
		add_rule_if(rules, "personality", "SCMP_CMP_EQ", personalities[i]);
	for (size_t i = 0; i < ARRAY_SIZE(by_capability); i++)
		if (has(caps, by_capability[i].cap))
			add_rule(rules, by_capability[i].names, "SCMP_ACT_ALLOW");
	if (!has(caps, CAP_SYS_ADMIN)) {
		add_rule_if(rules, "clone", "SCMP_CMP_MASKED_EQ", CLONE_NAMESPACES);
		json_object_object_add(add_rule(rules, "clone3", "SCMP_ACT_ERRNO"), "errnoRet",
				       json_object_new_int(ENOSYS));
	}
	*out = profile;
	return 0;
}

/* --- docker's form --- */

/* "4.8" against the kernel that runs. Text that is no version counts as met. */
static bool kernel_at_least(const char *wanted)
{
	struct utsname u;
	unsigned int have[2] = { 0 }, want[2] = { 0 };

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &have[0], &have[1]) < 1 ||
	    sscanf(wanted, "%u.%u", &want[0], &want[1]) < 1)
		return true;
	return have[0] != want[0] ? have[0] > want[0] : have[1] >= want[1];
}

/* How many of the list's words hold: names of capabilities in `caps`, or (caps NULL) this machine's
 * architecture. `*total` is how many there are. */
static size_t count_held(struct json_object *filter, const char *key, const uint64_t *caps,
			 size_t *total)
{
	struct json_object *list;
	size_t held = 0;

	*total = 0;
	if (!json_object_object_get_ex(filter, key, &list) ||
	    !json_object_is_type(list, json_type_array))
		return 0;
	*total = json_object_array_length(list);
	for (size_t i = 0; i < *total; i++) {
		struct json_object *word = json_object_array_get_idx(list, i);
		const char *s = json_object_get_string(word);

		if (!s)
			continue;
		if (caps) {
			int cap = cap_from_name(s);

			held += cap >= 0 && has(*caps, cap);
		} else {
			held += strcmp(s, "amd64") == 0;
		}
	}
	return held;
}

/* Docker's `includes` and `excludes`: whether the rule is in force. */
static bool rule_applies(struct json_object *rule, uint64_t caps)
{
	struct json_object *filter, *kernel;
	size_t total;

	if (json_object_object_get_ex(rule, "excludes", &filter)) {
		if (count_held(filter, "arches", NULL, &total) ||
		    count_held(filter, "caps", &caps, &total))
			return false;
		if (json_object_object_get_ex(filter, "minKernel", &kernel) &&
		    json_object_is_type(kernel, json_type_string) &&
		    kernel_at_least(json_object_get_string(kernel)))
			return false;
	}
	if (json_object_object_get_ex(rule, "includes", &filter)) {
		if (!count_held(filter, "arches", NULL, &total) && total)
			return false;
		if (count_held(filter, "caps", &caps, &total) < total)
			return false;
		if (json_object_object_get_ex(filter, "minKernel", &kernel) &&
		    json_object_is_type(kernel, json_type_string) &&
		    !kernel_at_least(json_object_get_string(kernel)))
			return false;
	}
	return true;
}

static void convert_rule(struct json_object *rule)
{
	struct json_object *name;

	if (json_object_object_get_ex(rule, "name", &name)) {
		struct json_object *names = json_object_new_array();

		json_object_array_add(names, json_object_get(name));
		json_object_object_del(rule, "name");
		json_object_object_add(rule, "names", names);
	}
	json_object_object_del(rule, "includes");
	json_object_object_del(rule, "excludes");
	json_object_object_del(rule, "comment");
}

/* archMap: for this machine's architecture the list of those that it brings along. */
static void convert_architectures(struct json_object *profile)
{
	struct json_object *map, *name, *subs;

	if (!json_object_object_get_ex(profile, "archMap", &map))
		return;
	for (size_t i = 0;
	     json_object_is_type(map, json_type_array) && i < json_object_array_length(map); i++) {
		struct json_object *entry = json_object_array_get_idx(map, i);

		if (!json_object_object_get_ex(entry, "architecture", &name) ||
		    !json_object_is_type(name, json_type_string) ||
		    strcmp(json_object_get_string(name), "SCMP_ARCH_X86_64") != 0)
			continue;
		struct json_object *list = json_object_new_array();

		json_object_array_add(list, json_object_get(name));
		if (json_object_object_get_ex(entry, "subArchitectures", &subs) &&
		    json_object_is_type(subs, json_type_array))
			for (size_t k = 0; k < json_object_array_length(subs); k++)
				json_object_array_add(
					list, json_object_get(json_object_array_get_idx(subs, k)));
		json_object_object_add(profile, "architectures", list);
	}
	json_object_object_del(profile, "archMap");
}

int bundle_seccomp_file(const char *path, uint64_t caps, struct json_object **out, struct err *e)
{
	struct json_object *profile, *rules;

	if (access(path, R_OK) < 0)
		return err_sys(e, -errno, "'%s'", path);
	profile = json_object_from_file(path);
	if (!profile)
		return err_set(e, -EINVAL, "'%s': cannot be read as JSON", path);
	if (!json_object_is_type(profile, json_type_object)) {
		json_object_put(profile);
		return err_set(e, -EINVAL, "'%s': not a JSON object", path);
	}
	convert_architectures(profile);
	if (json_object_object_get_ex(profile, "syscalls", &rules) &&
	    json_object_is_type(rules, json_type_array)) {
		struct json_object *kept = json_object_new_array();

		for (size_t i = 0; i < json_object_array_length(rules); i++) {
			struct json_object *rule = json_object_array_get_idx(rules, i);

			if (!json_object_is_type(rule, json_type_object) ||
			    !rule_applies(rule, caps))
				continue;
			convert_rule(rule);
			json_object_array_add(kept, json_object_get(rule));
		}
		json_object_object_add(profile, "syscalls", kept);
	}
	*out = profile;
	return 0;
}
