/*
 * Subordinate ids. An ordinary user's containers and image layers hold files of many users; the kernel lets
 * a user namespace map the ranges that the administrator wrote into /etc/subuid and /etc/subgid, and the
 * set-user-id programs newuidmap and newgidmap check that they are his.
 *
 * Trust: the files are the administrator's. Threads: one (fork). #syscalls: openat read unshare setresuid
 * #syscalls: setresgid setgroups pipe2 fork execve wait4 access
 */
#include "os/subid.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "os/file.h"
#include "os/spawn.h"

/* The login name of `uid`, "" when there is none. getpwuid(3) would load libraries. */
static void login_name(uid_t uid, char *out, size_t size)
{
	cleanup_fclose FILE *f = fopen("/etc/passwd", "re");
	char line[1024], name[256];
	unsigned int id;

	out[0] = '\0';
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%255[^:]:%*[^:]:%u:", name, &id) == 2 && id == uid) {
			snprintf(out, size, "%s", name);
			return;
		}
	}
}

/* Appends the ranges of `file` that belong to the user by name or number. */
static void read_ranges(const char *file, uid_t uid, struct subid_range *v, size_t *n)
{
	cleanup_fclose FILE *f = fopen(file, "re");
	char line[512], who[256], name[256], number[16];
	unsigned int start, size;
	uint32_t next = 1;

	login_name(uid, name, sizeof(name));
	snprintf(number, sizeof(number), "%u", uid);
	while (f && *n < SUBID_RANGES_MAX && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%255[^:]:%u:%u", who, &start, &size) != 3 || size == 0 ||
		    start > UINT32_MAX - size || next > UINT32_MAX - size)
			continue;
		if (!streq(who, number) && !(*name && streq(who, name)))
			continue;
		v[(*n)++] = (struct subid_range){ next, start, size };
		next += size;
	}
}

static bool in_path(const char *program)
{
	static const char *const dirs[] = { "/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin" };
	char path[128];

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i], program);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

int subid_load(struct subid_map *m, struct err *e)
{
	*m = (struct subid_map){ .uids_n = 1, .gids_n = 1 };
	m->uids[0] = (struct subid_range){ 0, geteuid(), 1 };
	m->gids[0] = (struct subid_range){ 0, getegid(), 1 };
	(void)e;
	if (!in_path("newuidmap") || !in_path("newgidmap"))
		return 0;
	read_ranges("/etc/subuid", geteuid(), m->uids, &m->uids_n);
	read_ranges("/etc/subgid", geteuid(), m->gids, &m->gids_n);
	if (m->uids_n == 1 || m->gids_n == 1)
		m->uids_n = m->gids_n = 1;
	return 0;
}

static int run_mapper(const char *program, pid_t pid, const struct subid_range *v, size_t n,
		      struct err *e)
{
	char numbers[1 + 3 * SUBID_RANGES_MAX][12];
	const char *argv[3 + 3 * SUBID_RANGES_MAX] = { program, numbers[0] };
	const int stdio[3] = { -1, -1, -1 };
	size_t k = 0;
	int fd, r;
	pid_t child;

	snprintf(numbers[k++], 12, "%d", (int)pid);
	for (size_t i = 0; i < n; i++) {
		snprintf(numbers[k++], 12, "%u", v[i].inside);
		snprintf(numbers[k++], 12, "%u", v[i].outside);
		snprintf(numbers[k++], 12, "%u", v[i].size);
	}
	for (size_t i = 0; i < k; i++)
		argv[1 + i] = numbers[i];
	argv[1 + k] = NULL;
	r = spawn_with_stderr(&child, program, argv, stdio, &fd, e);
	return r ? r : spawn_finish(child, fd, program, e);
}

static int write_one(pid_t pid, const char *file, const struct subid_range *v, struct err *e)
{
	char path[64], text[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	snprintf(text, sizeof(text), "%u %u %u\n", v->inside, v->outside, v->size);
	int r = file_poke(AT_FDCWD, path, text);

	return r ? err_sys(e, r, "user namespace: write %s", path) : 0;
}

int subid_apply(pid_t pid, const struct subid_map *m, struct err *e)
{
	char path[64];
	int r;

	if (m->uids_n > 1) {
		r = run_mapper("newuidmap", pid, m->uids, m->uids_n, e);
		return r ? r : run_mapper("newgidmap", pid, m->gids, m->gids_n, e);
	}
	snprintf(path, sizeof(path), "/proc/%d/setgroups", (int)pid);
	r = file_poke(AT_FDCWD, path, "deny");
	if (r && r != -ENOENT)
		return err_sys(e, r, "user namespace: write %s", path);
	r = write_one(pid, "uid_map", m->uids, e);
	return r ? r : write_one(pid, "gid_map", m->gids, e);
}

/* The child's part: never returns. */
static void enter_and_exec(const char *path, const char *const *argv, const int stdio[3], int ready,
			   int go)
{
	int32_t r = unshare(CLONE_NEWUSER) < 0 ? -errno : 0;
	char c;

	if (write_full(ready, &r, sizeof(r)) || r || read_full(go, &c, 1) != 1)
		_exit(127);
	setgroups(0, NULL);
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		_exit(127);
	for (int i = 0; i < 3; i++)
		if (stdio[i] != i && dup2(stdio[i], i) < 0)
			_exit(127);
	execv(path, (char *const *)(uintptr_t)argv);
	_exit(127);
}

int subid_spawn(pid_t *pid, const char *path, const char *const *argv, const int stdio[3],
		struct err *e)
{
	int ready[2] = { -1, -1 }, go[2] = { -1, -1 };
	struct subid_map m;
	int32_t answer = -EPROTO;
	int r = subid_load(&m, e);

	if (r)
		return r;
	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0) {
		r = err_sys(e, -errno, "start '%s': pipe", path);
	} else if ((*pid = fork()) < 0) {
		r = err_sys(e, -errno, "start '%s': fork", path);
	} else if (*pid == 0) {
		close(ready[0]);
		close(go[1]);
		enter_and_exec(path, argv, stdio, ready[1], go[0]);
	} else {
		close_fd(&ready[1]);
		if (read_full(ready[0], &answer, sizeof(answer)) != sizeof(answer) || answer)
			r = err_sys(e, answer < 0 ? answer : -EPROTO,
				    "user namespace for an ordinary user (see 'warren doctor')");
		if (!r)
			r = subid_apply(*pid, &m, e);
		if (!r)
			r = write_full(go[1], "g", 1);
		if (r) {
			kill(*pid, SIGKILL);
			waitpid(*pid, NULL, 0);
		}
	}
	for (int i = 0; i < 2; i++) {
		close_fd(&ready[i]);
		close_fd(&go[i]);
	}
	return r;
}
