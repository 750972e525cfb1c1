/*
 * What is done to a container's cgroups while it runs and after: freeze, signal, list, watch for OOM, remove.
 *
 * Freezing and killing prefer the v2 directory, also on hybrid hosts, where it exists for every container even if
 * it has no controller: cgroup.freeze leaves the processes killable, and cgroup.kill takes all of them at once with
 * no race against fork. A pure v1 host gets the freezer, a loop of signals, and a thaw.
 *
 * Only directories that Warren made are killed or removed: a cgroup that was there before has other tenants.
 *
 * Trust: none of the content is the container's. Threads: the caller's.
 * #syscalls: openat read write close poll kill rmdir getdents64 clock_nanosleep eventfd2
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "container/cgroup_int.h"
#include "os/file.h"
#include "os/loop.h"

enum {
	FREEZE_MS = 10000, /* longer than any uninterruptible sleep that is worth waiting for */
	REMOVE_MS = 5000,
	DEPTH_MAX = 64,
};

static void nap_ms(unsigned int ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* The directory to freeze by: v2 if it can. */
static const struct cgroup_dir *freezer_of(const struct cgroup *cg)
{
	const struct cgroup_dir *v2 = cgroup_dir_v2(cg);

	if (v2 && cgroup_file_exists(v2, "cgroup.freeze"))
		return v2;
	const struct cgroup_dir *v1 = cgroup_dir_of(cg, CGROUP_FREEZER);

	return v1 && !v1->v2 ? v1 : NULL;
}

static int freeze_v2(const struct cgroup_dir *d, bool freeze, struct err *e)
{
	char path[PATH_MAX];
	uint64_t deadline = now_ns() + FREEZE_MS * 1000000ULL, frozen = 0;

	snprintf(path, sizeof(path), "%s/cgroup.events", d->path);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	snprintf(path, sizeof(path), "%s/cgroup.freeze", d->path);
	int r = file_poke(AT_FDCWD, path, freeze ? "1" : "0");

	if (r)
		return err_sys(e, r, "%s", path);
	/* Each round reads first: the change may be over before poll() begins. */
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		char text[256];
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

		if (n < 0)
			return err_sys(e, -errno, "%s/cgroup.events", d->path);
		text[n] = '\0';
		frozen = strstr(text, "frozen 1") != NULL;
		if (frozen == freeze)
			return 0;
		if (now_ns() > deadline)
			break;
		poll(&p, 1, 100);
	}
	if (freeze)
		file_poke(AT_FDCWD, path, "0");
	return err_set(e, -ETIMEDOUT, "%s: some process did not stop within %d s", d->path,
		       FREEZE_MS / 1000);
}

static int freeze_v1(const struct cgroup_dir *d, bool freeze, struct err *e)
{
	const char *want = freeze ? "FROZEN" : "THAWED";
	uint64_t deadline = now_ns() + FREEZE_MS * 1000000ULL;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/freezer.state", d->path);
	for (unsigned int nap = 1;; nap = nap < 32 ? nap * 2 : nap) {
		/* Written again each round: a process that forked meanwhile leaves the group FREEZING. */
		cleanup_with(buf_fini) struct buf b = BUF_INIT(64);
		int r = file_poke(AT_FDCWD, path, want);

		if (!r)
			r = file_read(AT_FDCWD, path, &b);
		if (r)
			return err_sys(e, r, "%s", path);
		if (str_after(buf_str(&b), want))
			return 0;
		if (now_ns() > deadline)
			break;
		nap_ms(nap);
	}
	if (freeze)
		file_poke(AT_FDCWD, path, "THAWED");
	return err_set(e, -ETIMEDOUT, "%s: some process did not stop within %d s", d->path,
		       FREEZE_MS / 1000);
}

int cgroup_freeze(const struct cgroup *cg, bool freeze, struct err *e)
{
	const struct cgroup_dir *d = freezer_of(cg);

	if (!d)
		return err_set(e, -EOPNOTSUPP, "no freezer: the container has no cgroup %s",
			       cg->n ? "with one" : "of its own");
	if (!d->made)
		return err_set(e, -EPERM, "cgroup %s was not made by Warren, so it is not frozen",
			       d->path);
	return d->v2 ? freeze_v2(d, freeze, e) : freeze_v1(d, freeze, e);
}

int cgroup_frozen(const struct cgroup *cg)
{
	const struct cgroup_dir *d = freezer_of(cg);
	cleanup_with(buf_fini) struct buf b = BUF_INIT(64);
	uint64_t v = 0;

	if (!d)
		return 0;
	if (d->v2) {
		int r = cgroup_file_u64(d, "cgroup.freeze", &v);

		return r ? r : v == 1;
	}
	int r = cgroup_file_read(d, "freezer.state", &b);

	return r ? r : !str_after(buf_str(&b), "THAWED");
}

struct pid_list {
	pid_t *v;
	size_t n, cap;
};

static int add_pid(struct pid_list *l, pid_t pid)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		pid_t *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = pid;
	return 0;
}

static int pids_of_file(int dir, struct pid_list *l)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(64 << 20);
	int r = file_read(dir, "cgroup.procs", &b);

	/* Gone meanwhile, or a threaded cgroup, whose processes its parent lists. */
	if (r == -ENODEV || r == -ENOENT || r == -EOPNOTSUPP)
		return 0;
	for (const char *s = buf_str(&b); !r && *s; s += *s == '\n') {
		char *end;
		long pid = strtol(s, &end, 10);

		/* 0: a process of a pid namespace that we do not see. */
		if (end != s && pid > 0)
			r = add_pid(l, (pid_t)pid);
		s = end + strcspn(end, "\n");
	}
	return r;
}

/* Calls `fn` for the directory and all below it, deepest first. */
static int walk(int at, const char *name, int depth,
		int (*fn)(int dir, int at, const char *name, void *arg), void *arg)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth ? O_NOFOLLOW : 0));

	if (fd < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	cleanup_closedir DIR *dir = fdopendir(fd);

	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	int r = 0;

	for (struct dirent *x; !r && (x = readdir(dir));)
		if (x->d_type == DT_DIR && x->d_name[0] != '.' && depth < DEPTH_MAX)
			r = walk(fd, x->d_name, depth + 1, fn, arg);
	return r ? r : fn(fd, at, name, arg);
}

static int collect(int dir, int at, const char *name, void *arg)
{
	return pids_of_file(dir, arg);
}

/* The hierarchy that knows best who belongs to us. */
static const struct cgroup_dir *list_dir(const struct cgroup *cg)
{
	const struct cgroup_dir *d = cgroup_dir_v2(cg);

	if (!d)
		d = cgroup_dir_of(cg, CGROUP_PIDS);
	if (!d)
		d = cgroup_dir_of(cg, CGROUP_FREEZER);
	return d ? d : cg->n ? &cg->dirs[0] : NULL;
}

int cgroup_pids(const struct cgroup *cg, pid_t **pids, struct err *e)
{
	const struct cgroup_dir *d = list_dir(cg);
	struct pid_list l = { 0 };
	int r = d ? walk(AT_FDCWD, d->path, 0, collect, &l) : 0;

	if (r) {
		free(l.v);
		return err_sys(e, r, "cgroup %s: list processes", d->path);
	}
	*pids = l.v;
	return (int)l.n;
}

/* One round of signals; how many were sent. */
static int signal_all(const struct cgroup *cg, int sig, struct err *e)
{
	cleanup_free pid_t *pids = NULL;
	int n = cgroup_pids(cg, &pids, e), sent = 0;

	for (int i = 0; i < n; i++)
		if (kill(pids[i], sig) == 0)
			sent++;
	return n < 0 ? n : sent;
}

/* Stopped processes cannot fork away from the signal, nor can their numbers be reused under it. */
static int kill_frozen(const struct cgroup *cg, struct err *e)
{
	for (int round = 0; round < 100; round++) {
		bool frozen = !cgroup_freeze(cg, true, NULL);
		int sent = signal_all(cg, SIGKILL, e);

		if (frozen)
			cgroup_freeze(cg, false, NULL);
		if (sent <= 0)
			return sent;
		nap_ms(round < 10 ? 1 : 20);
	}
	return err_set(e, -EBUSY, "processes keep appearing in cgroup %s", list_dir(cg)->path);
}

int cgroup_kill(const struct cgroup *cg, int sig, struct err *e)
{
	const struct cgroup_dir *d = list_dir(cg), *v1 = cgroup_dir_of(cg, CGROUP_FREEZER);

	if (!d || !d->made)
		return 0;
	if (sig != SIGKILL) {
		int r = signal_all(cg, sig, e);

		return r < 0 ? r : 1;
	}
	if (d->v2 && cgroup_file_exists(d, "cgroup.kill")) {
		int r = cgroup_file_write(d, "cgroup.kill", "kill", NULL, "1");

		if (r && r != -ENOENT && r != -ENODEV)
			return err_sys(e, r, "%s/cgroup.kill", d->path);
		/* Frozen by somebody on v1, they die when they thaw. */
		if (v1 && !v1->v2 && v1->made)
			cgroup_file_write(v1, "freezer.state", "kill", NULL, "THAWED");
		return 1;
	}
	int r = kill_frozen(cg, e);

	return r < 0 ? r : 1;
}

int cgroup_oom_fd(const struct cgroup *cg, bool *v2)
{
	const struct cgroup_dir *d = cgroup_dir_of(cg, CGROUP_MEMORY);
	char path[PATH_MAX], text[64];

	if (!d)
		return -EOPNOTSUPP;
	*v2 = d->v2;
	snprintf(path, sizeof(path), "%s/%s", d->path,
		 d->v2 ? "memory.events" : "memory.oom_control");
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (d->v2)
		return steal_fd(&fd);
	cleanup_fd int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (event < 0)
		return -errno;
	snprintf(path, sizeof(path), "%s/cgroup.event_control", d->path);
	snprintf(text, sizeof(text), "%d %d", event, fd);
	int r = file_poke(AT_FDCWD, path, text);

	return r ? r : steal_fd(&event);
}

int64_t cgroup_oom_count(const struct cgroup *cg)
{
	const struct cgroup_dir *d = cgroup_dir_of(cg, CGROUP_MEMORY);
	uint64_t n = 0;

	if (!d)
		return -EOPNOTSUPP;
	int r = cgroup_file_key(d, d->v2 ? "memory.events" : "memory.oom_control", "oom_kill", &n);

	return r ? r : (int64_t)n;
}

static int remove_one(int dir, int at, const char *name, void *arg)
{
	if (unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return -errno;
}

static int remove_dir(const struct cgroup_dir *d, uint64_t deadline, struct err *e)
{
	int r = rmdir(d->path) < 0 ? -errno : 0;

	/* Busy: it has children, or the last process has not quite left. */
	for (unsigned int nap = 1; r == -EBUSY || r == -ENOTEMPTY; nap = nap < 64 ? nap * 2 : nap) {
		r = walk(AT_FDCWD, d->path, 0, remove_one, NULL);
		if (r != -EBUSY && r != -ENOTEMPTY)
			break;
		if (now_ns() > deadline)
			break;
		nap_ms(nap);
	}
	if (r && r != -ENOENT)
		return err_sys(e, r, "cgroup %s: remove", d->path);
	/* Parents that Warren made go when they are empty; others may have moved in. */
	cleanup_free char *above = d->parents ? strdup(d->path) : NULL;

	for (int i = 0; above && i < d->parents; i++) {
		*strrchr(above, '/') = '\0';
		if (rmdir(above) < 0)
			break;
	}
	return 0;
}

int cgroup_remove(struct cgroup *cg, struct err *e)
{
	uint64_t deadline = now_ns() + REMOVE_MS * 1000000ULL;
	int first = 0;

	if (cg->manager == CGROUP_MANAGER_SYSTEMD)
		first = cgroup_systemd_stop(cg, e);
	for (int i = 0; i < cg->n; i++) {
		int r = cg->dirs[i].made ? remove_dir(&cg->dirs[i], deadline, first ? NULL : e) : 0;

		if (r && !first)
			first = r;
	}
	return first;
}
