/*
 * Checks of the host that concern file systems. Mounts are tried in a child's own mount namespace.
 *
 * Trust: none crosses. Threads: none. #syscalls: clone unshare mount mkdir openat2 open_tree fsopen
 * mount_setattr clone3
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "run/doctor_int.h"

/* A call that exists complains about its arguments; one that does not says ENOSYS, or EPERM from an old
 * seccomp profile around us. */
void check_mount_api(struct doctor_finding *f)
{
	static const struct {
		long number;
		const char *name;
	} calls[] = {
		{ SYS_openat2, "openat2" },	  { SYS_clone3, "clone3" },
		{ SYS_open_tree, "open_tree" },	  { SYS_move_mount, "move_mount" },
		{ SYS_fsopen, "fsopen" },	  { SYS_mount_setattr, "mount_setattr" },
		{ SYS_pidfd_open, "pidfd_open" },
	};
	char missing[160] = "";

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		size_t used = strlen(missing);

		if (syscall(calls[i].number, -1, 0, 0, 0, 0) < 0 && errno == ENOSYS)
			snprintf(missing + used, sizeof(missing) - used, " %s", calls[i].name);
	}
	if (missing[0])
		doctor_fail(f, "use Linux 5.12 or newer, and a sandbox that lets these calls pass",
			    "system calls missing:%s", missing);
	else
		doctor_pass(f, "openat2, clone3, pidfd and the mount API");
}

/* On a private tmpfs over /tmp, gone with the namespace. */
static int mount_overlay(const char *options)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/tmp", "tmpfs", 0, NULL) < 0 || mkdir("/tmp/lower", 0700) < 0 ||
	    mkdir("/tmp/upper", 0700) < 0 || mkdir("/tmp/work", 0700) < 0 ||
	    mkdir("/tmp/all", 0700) < 0)
		return errno;
	return mount("overlay", "/tmp/all", "overlay", 0, options) < 0 ? errno : 0;
}

static const char layers[] = "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work";

static int try_overlay(void *arg)
{
	(void)arg;
	return unshare(CLONE_NEWNS) < 0 ? errno : mount_overlay(layers);
}

static int try_overlay_userns(void *arg)
{
	int r = doctor_enter_userns(CLONE_NEWNS);

	(void)arg;
	return r ? -r : mount_overlay(layers);
}

void check_overlay(struct doctor_finding *f)
{
	if (geteuid() != 0) {
		doctor_pass(f, "ordinary user: see OVL-02");
		return;
	}
	int r = doctor_in_child(try_overlay, NULL);

	if (!r)
		doctor_pass(f, "overlay file system");
	else
		doctor_warn(f,
			    r == ENODEV ? "modprobe overlay"
					: "allow mounts in the sandbox around us",
			    "overlay cannot be mounted: %s; images cannot be run, --rootfs can",
			    strerror(r > 0 ? r : EIO));
}

void check_overlay_userns(struct doctor_finding *f)
{
	int r = doctor_in_child(try_overlay_userns, NULL);

	if (!r)
		doctor_pass(f, "overlay file system inside a user namespace");
	else
		doctor_warn(f, "use Linux 5.11 or newer",
			    "overlay inside a user namespace: %s; images need root here",
			    strerror(r > 0 ? r : EIO));
}
