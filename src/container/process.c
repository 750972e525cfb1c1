/*
 * From a process of Warren's to the container's command.
 *
 * The order matters. Limits and priorities first, while we still may. Then bounding set, groups, user,
 * capabilities, no_new_privs; the working directory is entered as the user who will work there. The program is
 * looked up at that point, so that "not found" is an error of `create`. After the start signal only this happens:
 * descriptors marked, filter loaded, exec.
 *
 * With a notifying seccomp filter the descriptor of the listener must leave this process after the filter
 * binds it: sending it may itself be a call that waits for the listener. A helper that shares our descriptors
 * but not our filter, made before, sends it.
 *
 * Trust: the container's root is hostile; /etc/passwd is read bounded, names are only used after we are confined to
 * that root. Threads: none; runs in init. #syscalls: prlimit64 sched_setattr ioprio_set sched_setaffinity
 * personality set_mempolicy umask keyctl setgroups setresgid setresuid prctl chdir getcwd close_range
 * faccessat2 execve seccomp clone3 wait4
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/ioprio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "container/process_int.h"
#include "container/sync_int.h"
#include "os/file.h"
#include "os/sys.h"
#include "wire/caps.h"
#include "wire/passwd.h"

static int set_rlimits(const struct oci_process *p, struct err *e)
{
	for (size_t i = 0; i < p->rlimits_n; i++) {
		const struct oci_rlimit *l = &p->rlimits[i];
		struct rlimit64 new = { l->soft, l->hard };

		if (prlimit64(0, (__rlimit_resource_t)l->resource, &new, NULL) < 0)
			return err_sys(e, -errno, "rlimits[%zu]: set %llu:%llu", i,
				       (unsigned long long)l->soft, (unsigned long long)l->hard);
	}
	return 0;
}

/* sched_setattr(2): its header and the C library's do not go together. */
struct sched_attr_v0 {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

_Static_assert(sizeof(struct sched_attr_v0) == 48, "SCHED_ATTR_SIZE_VER0");

static int set_scheduler(const struct oci_process *p, struct err *e)
{
	const struct oci_scheduler *s = p->scheduler;

	if (s) {
		struct sched_attr_v0 attr = {
			.size = sizeof(attr),
			.policy = (uint32_t)s->policy,
			.flags = s->flags,
			.nice = s->nice,
			.priority = (uint32_t)s->priority,
			.runtime = s->runtime,
			.deadline = s->deadline,
			.period = s->period,
		};

		if (syscall(SYS_sched_setattr, 0, &attr, 0) < 0)
			return err_sys(e, -errno, "scheduler");
	}
	if (p->io_priority.set &&
	    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		    IOPRIO_PRIO_VALUE(p->io_priority.class, p->io_priority.priority)) < 0)
		return err_sys(e, -errno, "ioPriority");
	return 0;
}

/* "0-3,7" */
int process_affinity(const char *list, struct err *e)
{
	cpu_set_t set;

	if (!list || !*list)
		return 0;
	CPU_ZERO(&set);
	if (str_to_set(list, (uint8_t *)&set, CPU_SETSIZE) < 0)
		return err_set(e, -EINVAL, "execCPUAffinity: '%s' is no list of CPUs", list);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return err_sys(e, -errno, "execCPUAffinity '%s'", list);
	return 0;
}

static int set_memory_policy(const struct oci_linux *l, struct err *e)
{
	unsigned long mask[1024 / (8 * sizeof(long))] = { 0 };
	const char *nodes = l->memory_policy.nodes;

	if (!l->memory_policy.present)
		return 0;
	if (nodes && *nodes && str_to_set(nodes, (uint8_t *)mask, 8 * sizeof(mask)) < 0)
		return err_set(e, -EINVAL, "memoryPolicy: nodes '%s'", nodes);
	if (syscall(SYS_set_mempolicy, (unsigned int)l->memory_policy.mode | l->memory_policy.flags,
		    nodes ? mask : NULL, 1024UL) < 0)
		return err_sys(e, -errno, "memoryPolicy");
	return 0;
}

int process_oom_score(struct process_setup *s, struct err *e)
{
	char text[16];

	if (!s->process->oom_score_adj.set || s->oom_score_done)
		return 0;
	s->oom_score_done = true;
	snprintf(text, sizeof(text), "%d", (int)s->process->oom_score_adj.v);
	int err = procfs_write(s->proc, "self/oom_score_adj", text);

	if (err == -EACCES && geteuid() == 0 && !s->user_ns)
		return err_sys(e, err, "oomScoreAdj %s: lowering it needs CAP_SYS_RESOURCE", text);
	if (err == -EACCES || (err == -EPERM && s->user_ns)) {
		log_warn("oomScoreAdj %s: not allowed for this user, left as it is", text);
		return 0;
	}
	return err ? err_sys(e, err, "oomScoreAdj %s", text) : 0;
}

/* Linux 5.8 gave each security module a directory; before it "attr/exec" belonged to whichever there was. */
static int set_apparmor(struct process_setup *s, const char *profile, struct err *e)
{
	bool own = faccessat(s->proc, "self/attr/apparmor", F_OK, 0) == 0;
	char text[512];

	if ((size_t)snprintf(text, sizeof(text), "exec %s", profile) >= sizeof(text))
		return err_set(e, -ENAMETOOLONG, "apparmorProfile: too long");
	int err = procfs_write(s->proc, own ? "self/attr/apparmor/exec" : "self/attr/exec", text);

	if (err == -ENOENT && own)
		return err_set(e, err, "apparmorProfile '%s': no such profile is loaded", profile);
	if (err == -ENOENT || err == -EINVAL)
		return err_set(e, -EOPNOTSUPP, "apparmorProfile '%s': this host has no AppArmor",
			       profile);
	return err ? err_sys(e, err, "apparmorProfile '%s'", profile) : 0;
}

/* For the exec to come: the kernel's security module is asked through attr/exec. */
static int set_labels(struct process_setup *s, struct err *e)
{
	const struct oci_process *p = s->process;

	if (p->apparmor_profile && *p->apparmor_profile && set_apparmor(s, p->apparmor_profile, e))
		return e->code;
	if (!p->selinux_label || !*p->selinux_label)
		return 0;
	if (!s->selinux)
		return err_set(e, -EOPNOTSUPP, "selinuxLabel '%s': this host has no SELinux",
			       p->selinux_label);
	int err = procfs_write(s->proc, "self/attr/exec", p->selinux_label);

	if (err == -EINVAL)
		return err_set(e, err, "selinuxLabel '%s': not in this host's policy",
			       p->selinux_label);
	return err ? err_sys(e, err, "selinuxLabel '%s'", p->selinux_label) : 0;
}

int process_limits(struct process_setup *s, struct err *e)
{
	const struct oci_process *p = s->process;
	int err = set_rlimits(p, e);

	if (!err)
		err = process_oom_score(s, e);
	if (!err)
		err = set_scheduler(p, e);
	if (!err)
		err = set_memory_policy(s->linux_, e);
	if (!err)
		err = set_labels(s, e);
	if (!err && s->linux_->personality.set &&
	    personality((unsigned long)s->linux_->personality.v) < 0)
		err = err_sys(e, -errno, "personality");
	/* A session keyring of its own: the caller's keys stay outside. */
	if (!err && !s->no_new_keyring) {
		char name[64];

		snprintf(name, sizeof(name), "_ses.%.50s", s->id);
		/* A kernel without keys, or a filter around us that forbids them to the container as well. */
		if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) < 0 && errno != ENOSYS &&
		    errno != EPERM)
			err = err_sys(e, -errno, "session keyring%s",
				      errno == EDQUOT ? " (see kernel.keys.maxkeys)" : "");
	}
	return err;
}

/* Becoming the user */

static int set_groups(struct process_setup *s, struct err *e)
{
	const struct oci_process *p = s->process;

	if (s->no_setgroups) {
		if (p->additional_gids_n)
			return err_set(e, -EPERM,
				       "additionalGids: this user cannot set groups; "
				       "newgidmap and /etc/subgid make it possible");
		return 0;
	}
	if (setgroups(p->additional_gids_n, p->additional_gids) < 0 &&
	    (errno != EPERM || !s->user_ns || p->additional_gids_n))
		return err_sys(e, -errno, "additionalGids");
	return 0;
}

/* The command must be able to reopen its own pipes and terminal. */
static void own_stdio(const struct oci_process *p)
{
	struct stat st;

	for (int i = 0; i < 3 && p->uid; i++) {
		if (fstat(i, &st) < 0 || st.st_uid == p->uid ||
		    (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))
			continue;
		if (fchown(i, p->uid, (gid_t)-1) < 0)
			log_debug("descriptor %d keeps its owner: %s", i, strerror(errno));
	}
}

/* Inherited by accident, a directory descriptor or working directory of the host would be a way out
 * (CVE-2024-21626): where we are must have a name below our root. The kernel's answer is what counts; libc's
 * getcwd() would go looking for a name when there is none. */
static int check_cwd(const struct oci_process *p, struct err *e)
{
	char where[PATH_MAX];
	long n = syscall(SYS_getcwd, where, sizeof(where));

	if (n <= 0 || where[0] != '/')
		return err_set(e, -EXDEV, "cwd '%s': leads out of the container", p->cwd);
	return 0;
}

static int enter_cwd(const struct oci_process *p, struct err *e)
{
	if (chdir(p->cwd) < 0)
		return err_sys(e, -errno, "cwd '%s'", p->cwd);
	return check_cwd(p, e);
}

static const char *env_get(const struct oci_process *p, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = p->env.n; i-- > 0;)
		if (strncmp(p->env.v[i], name, n) == 0 && p->env.v[i][n] == '=')
			return p->env.v[i] + n + 1;
	return NULL;
}

static bool is_program(const char *path, int *why)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		*why = -errno;
		return false;
	}
	if (S_ISDIR(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0) {
		*why = -EACCES;
		return false;
	}
	return true;
}

int process_find(struct process_setup *s, struct err *e)
{
	const char *name = s->process->args.v[0];
	const char *path = env_get(s->process, "PATH");
	int why = -ENOENT, denied = 0;

	if (!*name)
		return err_set(e, -ENOENT,
			       "exec: process.args[0] is empty: executable file not found");
	if (strchr(name, '/')) {
		snprintf(s->path, sizeof(s->path), "%s", name);
		if (is_program(name, &why))
			return 0;
		return err_sys(e, why, "exec '%s'", name);
	}
	if (!path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (const char *p = path;; p++) {
		size_t n = strcspn(p, ":");

		if ((size_t)snprintf(s->path, sizeof(s->path), "%.*s%s%s", (int)n, p, n ? "/" : "",
				     name) < sizeof(s->path) &&
		    is_program(s->path, &why))
			return 0;
		if (why == -EACCES)
			denied = why;
		p += n;
		if (!*p)
			break;
	}
	if (denied)
		return err_sys(e, denied, "exec '%s'", name);
	return err_sys(e, -ENOENT, "exec '%s': executable file not found in $PATH", name);
}

/* The user's directory by /etc/passwd of the container; "/" when there is none. */
static void find_home(uint32_t uid, struct passwd_entry *entry)
{
	cleanup_fd int fd = open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	cleanup_with(buf_fini) struct buf text = BUF_INIT(1 << 20);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || read_all(fd, &text) ||
	    !passwd_find(buf_str(&text), text.len, NULL, uid, entry) || !entry->home[0])
		snprintf(entry->home, sizeof(entry->home), "/");
}

static int make_env(struct process_setup *s, struct err *e)
{
	const struct oci_process *p = s->process;
	size_t n = 0;
	struct passwd_entry user;

	s->env = calloc(p->env.n + 4, sizeof(char *));
	if (!s->env)
		return err_sys(e, -ENOMEM, "environment");
	for (; n < p->env.n; n++)
		s->env[n] = (char *)(uintptr_t)p->env.v[n];
	if (!env_get(p, "HOME")) {
		find_home(p->uid, &user);
		if (asprintf(&s->env[n], "HOME=%s", user.home) < 0)
			return err_sys(e, -ENOMEM, "environment");
		n++;
	}
	if (s->listen_fds) {
		if (asprintf(&s->env[n], "LISTEN_FDS=%d", s->listen_fds) < 0)
			return err_sys(e, -ENOMEM, "environment");
		s->env[n + 1] = strdup("LISTEN_PID=1");
		if (!s->env[n + 1])
			return err_sys(e, -ENOMEM, "environment");
	}
	return 0;
}

static int switch_user(struct process_setup *s, struct err *e)
{
	static const struct oci_caps none;
	const struct oci_process *p = s->process;
	const struct oci_caps *caps = p->caps ? p->caps : &none;
	uint64_t keep = s->seccomp && !p->no_new_privileges ? 1ULL << CAP_SYS_ADMIN : 0;
	int err = caps_drop_bounding(caps->bounding, e);

	if (!err)
		err = set_groups(s, e);
	if (err)
		return err;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(e, -errno, "keep capabilities");
	if (setresgid(p->gid, p->gid, p->gid) < 0)
		return err_sys(e, -errno, "user.gid %u", p->gid);
	if (setresuid(p->uid, p->uid, p->uid) < 0)
		return err_sys(e, -errno, "user.uid %u", p->uid);
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return err_sys(e, -errno, "keep capabilities");
	return caps_apply(caps, keep, e);
}

int process_become(struct process_setup *s, struct err *e)
{
	const struct oci_process *p = s->process;
	int err;

	for (int i = 0; i < 3; i++)
		if (s->stdio[i] >= 0 && s->stdio[i] != i && dup2(s->stdio[i], i) < 0)
			return err_sys(e, -errno, "standard stream %d", i);
	own_stdio(p);
	err = make_env(s, e);
	/* The directory may be one that only the user, or only root, can enter. */
	bool entered = !err && chdir(p->cwd) == 0;

	if (entered)
		err = check_cwd(p, e);
	if (!err)
		err = switch_user(s, e);
	if (!err && (!entered || access(".", X_OK) == 0))
		err = enter_cwd(p, e);
	if (!err && p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		err = err_sys(e, -errno, "noNewPrivileges");
	if (!err)
		umask(p->umask.set ? (mode_t)p->umask.v : 022);
	return err;
}

/* The seccomp listener */

/* Shares descriptors with its parent, not the filter; sends what the parent stored. */
static void send_listener(int sync, _Atomic int *stored)
{
	const struct timespec nap = { .tv_nsec = 50000 };
	pid_t parent = getppid();
	int fd;

	while ((fd = *stored) == 0 && getppid() == parent)
		nanosleep(&nap, NULL);
	if (fd > 0)
		sync_send(sync, SYNC_LISTENER, 0, NULL, fd - 1);
	*stored = 0;
	_exit(0);
}

static int load_notifying(struct process_setup *s, struct err *e)
{
	struct clone_args args = { .flags = CLONE_FILES, .exit_signal = SIGCHLD };
	struct sigaction reap = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
	_Atomic int *stored = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int listener = -1;

	if (stored == MAP_FAILED)
		return err_sys(e, -errno, "seccomp");
	/* The exec resets the flag; until then it keeps the helper from staying as a zombie. */
	sigaction(SIGCHLD, &reap, NULL);
	pid_t pid = sys_clone3(&args);

	if (pid < 0)
		return err_sys(e, pid, "seccomp");
	if (!pid)
		send_listener(s->sync, stored);
	int err = container_seccomp_load(s->seccomp, &listener, e);

	/* From here on every call may wait for the listener: memory only. */
	*stored = err ? -1 : listener + 1;
	while (!err && *stored)
		__builtin_ia32_pause();
	return err;
}

static int load_filter(struct process_setup *s, struct err *e)
{
	int listener = -1;

	if (!s->seccomp)
		return 0;
	if (s->seccomp->notify)
		return load_notifying(s, e);
	return container_seccomp_load(s->seccomp, &listener, e);
}

int process_exec(struct process_setup *s, struct err *e)
{
	sigset_t none;
	int err = 0;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	if (s->init_reaper) {
		err = reaper_fork(s, e);
		if (err)
			return err;
	}
	for (int i = 3; i < 3 + s->preserve_fds; i++)
		fcntl(i, F_SETFD, 0);
	if (syscall(SYS_close_range, 3U + (unsigned int)s->preserve_fds, ~0U, CLOSE_RANGE_CLOEXEC) <
	    0)
		return err_sys(e, -errno, "mark descriptors");
	err = load_filter(s, e);
	if (err)
		return err;
	execve(s->path, (char *const *)(uintptr_t)s->process->args.v, s->env);
	return err_sys(e, -errno, "exec '%s'", s->path);
}
