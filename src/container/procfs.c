/*
 * Writes to /proc.
 *
 * What a container mounts on /proc must not decide where our writes go (CVE-2019-16884, CVE-2019-19921): init
 * holds the host's /proc, opened before it entered anything and checked to be a procfs, and opens files below it
 * without leaving that mount and without following links that procfs makes up. "self" in it is us: procfs
 * answers for the reader, in its own pid namespace. The same for sysctls: the kernel takes network, IPC and
 * UTS settings from the writer's namespaces.
 *
 * Trust: sysctl names are the config's and are held against a list of what namespaces contain; anything else
 * would change the host. Threads: none; runs in init. #syscalls: openat2 fstatfs write close
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "container/process_int.h"
#include "os/sys.h"

int procfs_open(struct err *e)
{
	cleanup_fd int fd = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct statfs st;

	if (fd < 0)
		return err_sys(e, -errno, "/proc");
	if (fstatfs(fd, &st) < 0 || st.f_type != PROC_SUPER_MAGIC)
		return err_set(e, -ENODEV, "the host's /proc is not a procfs");
	return steal_fd(&fd);
}

int procfs_write(int proc, const char *path, const char *text)
{
	cleanup_fd int fd = sys_openat2(proc, path, O_WRONLY | O_CLOEXEC, 0,
					RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
	size_t n = strlen(text);

	if (fd < 0)
		return fd;
	ssize_t r = write(fd, text, n);

	return r < 0 ? -errno : (size_t)r == n ? 0 : -EIO;
}

/* sysctl(8)'s rule: the first separator decides which of '.' and '/' separates. */
static int sysctl_path(const char *name, char *out, size_t size)
{
	size_t first = strcspn(name, "./");
	bool swap = name[first] == '.';

	if ((size_t)snprintf(out, size, "sys/%s", name) >= size)
		return -ENAMETOOLONG;
	for (char *p = out + 4; swap && *p; p++)
		*p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
	return strstr(out, "/../") || str_ends(out, "/..") ? -EINVAL : 0;
}

static const struct {
	const char *prefix;
	enum oci_ns ns;
} namespaced[] = {
	{ "sys/net/", OCI_NS_NETWORK },	       { "sys/fs/mqueue/", OCI_NS_IPC },
	{ "sys/kernel/msgmax", OCI_NS_IPC },   { "sys/kernel/msgmnb", OCI_NS_IPC },
	{ "sys/kernel/msgmni", OCI_NS_IPC },   { "sys/kernel/sem", OCI_NS_IPC },
	{ "sys/kernel/shmall", OCI_NS_IPC },   { "sys/kernel/shmmax", OCI_NS_IPC },
	{ "sys/kernel/shmmni", OCI_NS_IPC },   { "sys/kernel/shm_rmid_forced", OCI_NS_IPC },
	{ "sys/kernel/hostname", OCI_NS_UTS }, { "sys/kernel/domainname", OCI_NS_UTS },
};

static bool ends_name(const char *rest, const char *prefix)
{
	return rest && (!*rest || str_ends(prefix, "/"));
}

static int check_sysctl(const char *path, const struct oci_linux *l, struct err *e)
{
	static const char *const ns_names[OCI_NS_COUNT] = { "pid", "network", "mount",	"ipc",
							    "uts", "user",    "cgroup", "time" };

	for (size_t i = 0; i < ARRAY_SIZE(namespaced); i++) {
		if (!ends_name(str_after(path, namespaced[i].prefix), namespaced[i].prefix))
			continue;
		if (l->ns[namespaced[i].ns].present)
			return 0;
		return err_set(e, -EINVAL, "would change the host: there is no %s namespace",
			       ns_names[namespaced[i].ns]);
	}
	return err_set(e, -EINVAL, "would change the host: it is not part of any namespace");
}

int procfs_sysctls(int proc, const struct oci_linux *l, struct err *e)
{
	for (size_t i = 0; i < l->sysctl.n; i++) {
		const struct oci_pair *s = &l->sysctl.v[i];
		char path[256];
		int err = sysctl_path(s->key, path, sizeof(path));

		if (err)
			err = err_sys(e, err, "not a name");
		else
			err = check_sysctl(path, l, e);
		if (!err) {
			err = procfs_write(proc, path, s->value);
			if (err)
				err_sys(e, err, "write '%s'", s->value);
		}
		if (err)
			return err_wrap(e, "sysctl '%s'", s->key);
	}
	return 0;
}
