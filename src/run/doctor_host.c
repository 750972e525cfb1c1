/*
 * Checks of the host that concern processes: namespaces, user ids, security modules, seccomp, capabilities,
 * and the other runtimes that are installed.
 *
 * Trust: reads the kernel's own files and /etc. Threads: none.
 * #syscalls: access openat read close clone unshare geteuid seccomp landlock_create_ruleset
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "run/doctor_int.h"

void check_namespaces(struct doctor_finding *f)
{
	static const char *const names[] = { "mnt", "pid",  "net",    "ipc",
					     "uts", "user", "cgroup", "time" };
	char missing[128] = "", path[64];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t used = strlen(missing);

		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		if (access(path, F_OK) < 0)
			snprintf(missing + used, sizeof(missing) - used, " %s", names[i]);
	}
	if (!missing[0])
		doctor_pass(f, "all eight kinds of namespace");
	else if (doctor_has_word(missing, "mnt") || doctor_has_word(missing, "pid"))
		doctor_fail(f, "use a kernel with CONFIG_NAMESPACES", "namespaces missing:%s",
			    missing);
	else
		doctor_warn(f, "use a kernel with all of CONFIG_*_NS", "namespaces missing:%s",
			    missing);
}

static int try_userns(void *arg)
{
	(void)arg;
	return -doctor_enter_userns(CLONE_NEWNS);
}

void check_userns(struct doctor_finding *f)
{
	cleanup_free char *most = doctor_read("/proc/sys/user/max_user_namespaces");
	cleanup_free char *allowed = doctor_read("/proc/sys/kernel/unprivileged_userns_clone");
	const char *mend = "boot a kernel with CONFIG_USER_NS";
	int r = doctor_in_child(try_userns, NULL);

	if (r == 0) {
		doctor_pass(f, "user namespaces work (at most %s)", most ? most : "?");
		return;
	}
	if (most && streq(most, "0"))
		mend = "sysctl user.max_user_namespaces=15000";
	else if (allowed && streq(allowed, "0"))
		mend = "sysctl kernel.unprivileged_userns_clone=1";
	else if (r == EPERM)
		mend = "allow it in the sandbox around this shell, or run as root";
	if (geteuid() == 0)
		doctor_warn(f, mend, "no user namespace can be made: %s; --userns will not work",
			    strerror(r > 0 ? r : EIO));
	else
		doctor_fail(f, mend, "no user namespace can be made: %s",
			    strerror(r > 0 ? r : EIO));
}

/* AppArmor may let anybody make a user namespace and then withhold its rights; mounting something in it
 * shows which. */
void check_userns_lsm(struct doctor_finding *f)
{
	cleanup_free char *restricted = doctor_read(
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns");

	if (!restricted || !streq(restricted, "1") || geteuid() == 0)
		doctor_pass(f, "no security module restricts user namespaces");
	else
		doctor_fail(f,
			    "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or load a "
			    "profile that lets warren have userns",
			    "AppArmor restricts user namespaces of ordinary users");
}

/* Whether `path` (/etc/subuid) grants somebody 65536 ids or more. Lines are name-or-uid:first:count. */
static bool has_subids(const char *path, const char *name, uid_t uid)
{
	cleanup_fclose FILE *f = fopen(path, "re");
	char line[512], number[16];

	snprintf(number, sizeof(number), "%u", uid);
	while (f && fgets(line, sizeof(line), f)) {
		char *first = strchr(line, ':'), *count = first ? strchr(first + 1, ':') : NULL;
		uint64_t n;

		if (!count)
			continue;
		*first = '\0';
		count[strcspn(count, "\n")] = '\0';
		if ((streq(line, name) || streq(line, number)) && !str_to_u64(count + 1, &n) &&
		    n >= 65536)
			return true;
	}
	return false;
}

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	char file[4096];

	for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
		size_t n = strcspn(p, ":");

		snprintf(file, sizeof(file), "%.*s/%s", (int)n, p, program);
		if (access(file, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

void check_subids(struct doctor_finding *f)
{
	uid_t uid = geteuid();
	char name[64] = "";

	if (uid == 0) {
		doctor_pass(f, "root needs no subordinate ids");
		return;
	}
	/* Not getpwuid(): the program is static and loads no name service. */
	cleanup_fclose FILE *users = fopen("/etc/passwd", "re");

	for (struct passwd *p; users && (p = fgetpwent(users));)
		if (p->pw_uid == uid)
			snprintf(name, sizeof(name), "%s", p->pw_name);
	bool uids = has_subids("/etc/subuid", name, uid),
	     gids = has_subids("/etc/subgid", name, uid);

	if (!in_path("newuidmap") || !in_path("newgidmap"))
		doctor_warn(
			f, "apt install uidmap",
			"newuidmap and newgidmap are not installed: containers have one user id");
	else if (!uids || !gids)
		doctor_warn(f,
			    "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER",
			    "no 65536 ids for this user in %s%s%s: containers have one user id",
			    uids ? "" : "/etc/subuid", uids || gids ? "" : " and ",
			    gids ? "" : "/etc/subgid");
	else
		doctor_pass(f, "newuidmap, newgidmap and 65536 ids for '%s'", name);
}

void check_lsm(struct doctor_finding *f)
{
	enum { ASK_VERSION = 1 };
	long landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, ASK_VERSION);
	cleanup_free char *list = doctor_read("/sys/kernel/security/lsm");
	const char *apparmor = access("/sys/kernel/security/apparmor", F_OK) ? "no" : "yes";
	const char *selinux = access("/sys/fs/selinux/enforce", F_OK) ? "no" : "yes";

	if (landlock > 0)
		doctor_pass(f, "Landlock ABI %ld, AppArmor %s, SELinux %s%s%s", landlock, apparmor,
			    selinux, list ? "; active: " : "", list ? list : "");
	else
		doctor_warn(f, "boot with lsm=landlock,... (CONFIG_SECURITY_LANDLOCK)",
			    "no Landlock: helpers that read images are confined by seccomp alone; "
			    "AppArmor %s, SELinux %s",
			    apparmor, selinux);
}

void check_seccomp(struct doctor_finding *f)
{
	uint32_t filter = SECCOMP_RET_ERRNO, notify = SECCOMP_RET_USER_NOTIF;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &filter) < 0)
		doctor_fail(f,
			    "use a kernel with CONFIG_SECCOMP_FILTER, or --security-opt "
			    "seccomp=unconfined",
			    "seccomp filters: %s", strerror(errno));
	else if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &notify) < 0)
		doctor_warn(f, "use Linux 5.0 or newer", "seccomp filters, but no notification");
	else
		doctor_pass(f, "seccomp filters and user notification");
}

void check_capabilities(struct doctor_finding *f)
{
	static const struct {
		int number;
		const char *name;
	} wanted[] = {
		{ 0, "CHOWN" },		{ 1, "DAC_OVERRIDE" }, { 12, "NET_ADMIN" },
		{ 18, "SYS_CHROOT" },	{ 19, "SYS_PTRACE" },  { 21, "SYS_ADMIN" },
		{ 24, "SYS_RESOURCE" }, { 27, "MKNOD" },       { 31, "SETFCAP" },
	};
	cleanup_free char *status = doctor_read("/proc/self/status");
	const char *line = status ? strstr(status, "\nCapEff:") : NULL;
	unsigned long long have = 0;
	char missing[160] = "";

	if (geteuid() != 0) {
		doctor_pass(f, "ordinary user: capabilities inside user namespaces only");
		return;
	}
	if (line)
		have = strtoull(line + 8, NULL, 16);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		size_t used = strlen(missing);

		if (!(have & 1ull << wanted[i].number))
			snprintf(missing + used, sizeof(missing) - used, " CAP_%s", wanted[i].name);
	}
	if (!missing[0])
		doctor_pass(f, "root with all the capabilities that containers ask for");
	else
		doctor_warn(f, "run warren outside the container or sandbox that withholds them",
			    "root without%s: what needs them (raised limits, lower oom_score_adj) "
			    "is refused",
			    missing);
}

void check_runtimes(struct doctor_finding *f)
{
	static const char *const names[] = {
		"podman", "docker", "containerd", "crun",   "runc",
		"youki",  "crio",   "buildah",	  "skopeo", "qemu-system-x86_64"
	};
	char list[256] = "";

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t used = strlen(list);

		if (in_path(names[i]))
			snprintf(list + used, sizeof(list) - used, " %s", names[i]);
	}
	doctor_pass(f, "other programs found:%s", list[0] ? list : " none");
}
