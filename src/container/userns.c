/*
 * User namespaces.
 *
 * Root writes the maps itself. An ordinary user may map only its own id that way (user_namespaces(7)); anything
 * more is done by the setuid helpers newuidmap and newgidmap, which know what /etc/subuid grants.
 *
 * Trust: the maps are the config's; the kernel and the helpers judge them. Threads: none; runs in the parent.
 * #syscalls: openat write clone3 kill wait4 execve geteuid getegid
 */
#include "container/userns_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "os/file.h"
#include "os/sys.h"

/* The kernel takes at most 340 lines, each at most 3 numbers of 10 digits. */
enum { MAP_MAX = 340 * 34, HELPER_ARGS = 340 * 3 + 3 };

/* The host's own has the same inode number everywhere (PROC_USER_INIT_INO). */
bool userns_is_inner(void)
{
	struct stat st;

	return stat("/proc/self/ns/user", &st) == 0 && st.st_ino != 0xeffffffd;
}

static int print_map(const struct oci_id_mappings *m, struct buf *b)
{
	for (size_t i = 0; i < m->n; i++)
		buf_addf(b, "%" PRIu32 " %" PRIu32 " %" PRIu32 "\n", m->v[i].container_id,
			 m->v[i].host_id, m->v[i].size);
	return b->error;
}

static int write_file(pid_t pid, const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return file_poke(AT_FDCWD, path, text);
}

/* newuidmap PID in out size ... */
static int run_helper(const char *program, pid_t pid, const struct oci_id_mappings *m,
		      struct err *e)
{
	char numbers[HELPER_ARGS][12], *argv[HELPER_ARGS + 1];
	char name[32];
	size_t n = 0;
	int status;

	if (m->n * 3 + 3 > HELPER_ARGS)
		return err_set(e, -EINVAL, "%s: too many mappings", program);
	snprintf(name, sizeof(name), "%s", program);
	argv[n++] = name;
	snprintf(numbers[n], sizeof(numbers[n]), "%d", (int)pid);
	argv[n] = numbers[n];
	n++;
	for (size_t i = 0; i < m->n; i++) {
		const uint32_t v[3] = { m->v[i].container_id, m->v[i].host_id, m->v[i].size };

		for (int k = 0; k < 3; k++, n++) {
			snprintf(numbers[n], sizeof(numbers[n]), "%" PRIu32, v[k]);
			argv[n] = numbers[n];
		}
	}
	argv[n] = NULL;
	pid_t child = fork();

	if (child < 0)
		return err_sys(e, -errno, "fork");
	if (!child) {
		execvp(program, argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(e, -ENOENT,
			       "%s is not installed (package uidmap): "
			       "without it a user can map one id only",
			       program);
	return err_set(e, -EPERM, "%s refused the mapping: see /etc/sub%s", program,
		       program[3] == 'u' ? "uid" : "gid");
}

static bool is_own_id(const struct oci_id_mappings *m, uint32_t id)
{
	return m->n == 1 && m->v[0].size == 1 && m->v[0].host_id == id;
}

static int map_one(pid_t pid, const char *file, const char *helper, const struct oci_id_mappings *m,
		   bool direct, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(MAP_MAX);

	if (!m->n)
		return 0;
	if (!direct)
		return run_helper(helper, pid, m, e);
	int err = print_map(m, &text);

	if (!err)
		err = write_file(pid, file, buf_str(&text));
	return err ? err_sys(e, err, "write %s", file) : 0;
}

int userns_map(pid_t pid, const struct oci_id_mappings *uids, const struct oci_id_mappings *gids,
	       struct err *e)
{
	bool root = geteuid() == 0;
	bool own_gid = is_own_id(gids, getegid());
	int err = map_one(pid, "uid_map", "newuidmap", uids, root || is_own_id(uids, geteuid()), e);

	if (!err && !root && own_gid) {
		err = write_file(pid, "setgroups", "deny");
		if (err)
			return err_sys(e, err, "write setgroups");
	}
	if (!err)
		err = map_one(pid, "gid_map", "newgidmap", gids, root || own_gid, e);
	return err;
}

int userns_make(const struct oci_id_mappings *uids, const struct oci_id_mappings *gids,
		struct err *e)
{
	struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	char path[64];
	int fd = -1;
	pid_t pid = sys_clone3(&args);

	if (pid < 0)
		return err_sys(e, pid, "user namespace");
	if (!pid) {
		for (;;)
			pause();
	}
	int err = userns_map(pid, uids, gids, e);

	if (!err) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			err = err_sys(e, -errno, "user namespace");
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	return err ? err : fd;
}
