/*
 * The cgroups of one container: where they are, making them, getting in.
 *
 * A `struct cgroup` is a list of directories, one in every hierarchy that the host has (cgroup_layout.c), so
 * that v1, v2 and hybrid hosts differ in the length of a list and in nothing else. Whether a directory was made
 * by Warren is recorded with it: what was there before may be joined and limited when the configuration names it,
 * but is never killed and never removed.
 *
 * Getting in costs more than everything else when it is done the usual way: writing another process into
 * cgroup.procs takes a global lock whose writer waits for an RCU grace period, 7 to 20 ms. Two ways do not wait:
 * clone3(CLONE_INTO_CGROUP) on v2, and on v1 a thread that writes "0" into "tasks", because the kernel skips the
 * lock for a thread that moves itself (cgroup_attach_lock() in kernel/cgroup/cgroup.c, since 5.16). So the parent
 * opens the "tasks" files with its own rights, and the child, which has one thread, writes.
 *
 * The v1 hierarchies are many, so making them takes as long as the child needs for its network namespace. Both happen
 * at once: before the clone only what the clone needs is made (cgroup_begin), the rest after it (cgroup_finish), and
 * the child waits for the descriptors.
 *
 * Trust: cgroupsPath comes from config.json; ".." cannot climb out of a hierarchy. Threads: the caller's.
 * #syscalls: mkdir rmdir openat read write close faccessat2
 */
#include "container/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "container/cgroup_int.h"
#include "container/userns_int.h"
#include "os/file.h"

void cgroup_init(struct cgroup *cg)
{
	memset(cg, 0, sizeof(*cg));
	for (int i = 0; i < CGROUP_DIRS_MAX; i++)
		cg->dirs[i].join_fd = -1;
}

void cgroup_fini(struct cgroup *cg)
{
	for (int i = 0; i < cg->n; i++) {
		close_fd(&cg->dirs[i].join_fd);
		free(cg->dirs[i].path);
	}
	free(cg->unit);
	cgroup_init(cg);
}

const struct cgroup_dir *cgroup_dir_of(const struct cgroup *cg, uint32_t controller)
{
	for (int i = 0; i < cg->n; i++)
		if (cg->dirs[i].controllers & controller)
			return &cg->dirs[i];
	return NULL;
}

const struct cgroup_dir *cgroup_dir_v2(const struct cgroup *cg)
{
	for (int i = 0; i < cg->n; i++)
		if (cg->dirs[i].v2)
			return &cg->dirs[i];
	return NULL;
}

/* The container's directory in `h`, absolute on the host. */
static int plan_path(char out[PATH_MAX], const struct cgroup_hier *h,
		     const struct cgroup_wish *wish, struct err *e)
{
	char base[PATH_MAX], rel[PATH_MAX];
	const char *path = wish->path;
	int r = 0;

	if (path && !*path)
		path = NULL;
	if (path && *path == '/') {
		r = cgroup_path_clean(rel, sizeof(rel), "/", path);
	} else if (!path && !wish->rootless) {
		r = cgroup_path_clean(rel, sizeof(rel), "/warren", wish->id);
	} else {
		/* A v2 directory with processes cannot hand controllers down: beside us, not below us. */
		r = cgroup_path_clean(base, sizeof(base), h->self, h->v2 ? ".." : "");
		if (!r)
			r = cgroup_path_clean(rel, sizeof(rel), base, path ? path : wish->id);
	}
	if (!r && streq(rel, "/"))
		return err_set(e, -EINVAL, "linux.cgroupsPath: '%s' is the root of the hierarchy",
			       path ? path : "");
	if (!r)
		r = cgroup_path_clean(out, PATH_MAX, h->mount, rel);
	return r ? err_sys(e, r, "linux.cgroupsPath: '%s'", path ? path : wish->id) : 0;
}

/* mkdir -p, counting what was made above the last one. -EEXIST: it was there. */
static int make_dir(char *path, int *parents)
{
	for (int tries = 0;; tries++) {
		if (mkdir(path, 0755) == 0)
			return 0;
		if (errno != ENOENT || tries == 5)
			return -errno;
		/* Somebody who removes an empty parent may get between: hence the tries. */
		char *slash = strrchr(path, '/');

		if (!slash || slash == path)
			return -ENOENT;
		*slash = '\0';
		int above = 0, r = make_dir(path, &above);

		*slash = '/';
		if (r && r != -EEXIST)
			return r;
		*parents = above + (r == 0);
	}
}

/* The kernel's answers to a user who may not. */
static bool is_refusal(int r)
{
	return r == -EACCES || r == -EPERM || r == -EROFS;
}

/* root of a user namespace (podman without root runs us so) is an ordinary user here; asked only after a refusal. */
bool cgroup_is_rootless(struct cgroup *cg)
{
	if (!cg->rootless)
		cg->rootless = userns_is_inner();
	return cg->rootless;
}

static int plan_dir(struct cgroup *cg, const struct cgroup_hier *h, const struct cgroup_wish *wish,
		    struct err *e)
{
	struct cgroup_dir *d = &cg->dirs[cg->n];
	char path[PATH_MAX];
	int r = plan_path(path, h, wish, e);

	if (r)
		return r;
	*d = (struct cgroup_dir){ .v2 = h->v2, .controllers = h->controllers, .join_fd = -1 };
	d->path = strdup(path);
	if (!d->path)
		return err_sys(e, -ENOMEM, "cgroup %s", path);
	cg->n++;
	return 0;
}

static void drop_dir(struct cgroup *cg, int at)
{
	close_fd(&cg->dirs[at].join_fd);
	free(cg->dirs[at].path);
	cg->n--;
	memmove(&cg->dirs[at], &cg->dirs[at + 1], (size_t)(cg->n - at) * sizeof(cg->dirs[0]));
}

/* 1: made, or there; 0: refused to a user who may not. */
static int make_planned(struct cgroup *cg, struct cgroup_dir *d, const struct cgroup_hier *h,
			const struct cgroup_wish *wish, struct err *e)
{
	int parents = 0, r = make_dir(d->path, &parents);

	if (is_refusal(r) && cgroup_is_rootless(cg)) {
		log_debug("%s: mkdir: %s", d->path, strerror(-r));
		return 0;
	}
	if (r && r != -EEXIST)
		return err_sys(e, r, "cgroup %s: mkdir", d->path);
	d->made = r == 0;
	/* /warren itself stays: making it for each container would cost a tenth of the start. */
	d->parents = wish->path || wish->rootless ? parents : 0;
	if (h->v2)
		d->controllers = cgroup_v2_enable(h->mount, d->path, h->controllers);
	r = h->v2 ? 0 : cgroup_v1_prepare(d, !wish->path && !wish->rootless, e);
	return r ? r : 1;
}

/* The planned directories of one version. Those that are refused lose their bit in cg->kept. */
static int make_all(struct cgroup *cg, const struct cgroup_layout *l, bool v2,
		    const struct cgroup_wish *wish, struct err *e)
{
	for (int i = 0; i < cg->n; i++) {
		int r = l->h[i].v2 == v2 ? make_planned(cg, &cg->dirs[i], &l->h[i], wish, e) : 1;

		if (r < 0)
			return r;
		if (!r)
			cg->kept &= ~(1u << i);
	}
	return 0;
}

void cgroup_keep(struct cgroup *cg, uint32_t kept)
{
	for (int i = cg->n; i-- > 0;)
		if (!(kept & 1u << i))
			drop_dir(cg, i);
}

int cgroup_open(struct cgroup *cg, struct err *e)
{
	for (int i = 0; i < cg->n; i++) {
		struct cgroup_dir *d = &cg->dirs[i];
		char path[PATH_MAX];

		if (d->join_fd >= 0)
			continue;
		snprintf(path, sizeof(path), "%s%s", d->path, d->v2 ? "" : "/tasks");
		d->join_fd = open(path, d->v2 ? O_RDONLY | O_DIRECTORY | O_CLOEXEC
					      : O_WRONLY | O_CLOEXEC);
		if (d->join_fd < 0)
			return err_sys(e, -errno, "cgroup %s", path);
	}
	return 0;
}

/* The directory that existed already and belongs to somebody else may refuse us too. */
static void drop_refused(struct cgroup *cg)
{
	for (int i = 0; i < cg->n; i++) {
		const struct cgroup_dir *d = &cg->dirs[i];
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/cgroup.procs", d->path);
		if (!d->made && access(path, W_OK) < 0)
			cg->kept &= ~(1u << i);
	}
}

static int apply_all(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e)
{
	static const struct oci_resources none;
	const struct oci_resources *r = wish->resources ? wish->resources : &none;
	int rc = cgroup_apply(cg, r, e);

	return rc ? rc : cgroup_devices(cg, r, e);
}

static int complete(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e)
{
	if (cg->rootless)
		drop_refused(cg);
	cgroup_keep(cg, cg->kept);
	int r = apply_all(cg, wish, e);

	if (!r && !cg->n)
		log_warn("no cgroup is delegated to this user: '%s' runs without limits and "
			 "accounting",
			 wish->id);
	return r ? r : cgroup_open(cg, e);
}

int cgroup_begin_in(struct cgroup *cg, const struct cgroup_layout *l,
		    const struct cgroup_wish *wish, struct err *e)
{
	int r = 0;

	cgroup_init(cg);
	cg->manager = wish->manager;
	cg->rootless = wish->rootless;
	if (wish->manager == CGROUP_MANAGER_SYSTEMD)
		return cgroup_systemd_plan(cg, wish, e);
	for (int i = 0; i < l->n && !r; i++) {
		r = plan_dir(cg, &l->h[i], wish, e);
		cg->pending |= !l->h[i].v2;
	}
	cg->kept = (1u << cg->n) - 1;
	if (!r)
		r = make_all(cg, l, true, wish, e);
	if (!r && cg->pending && cgroup_dir_v2(cg)) {
		struct cgroup_dir *d = &cg->dirs[cgroup_dir_v2(cg) - cg->dirs];

		/* A refused directory is not there to be born into. */
		d->join_fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (!r && !cg->pending)
		r = complete(cg, wish, e);
	if (r) {
		cgroup_remove(cg, NULL);
		cgroup_fini(cg);
	}
	return r;
}

int cgroup_finish_in(struct cgroup *cg, const struct cgroup_layout *l,
		     const struct cgroup_wish *wish, struct err *e)
{
	if (!cg->pending)
		return 0;
	cg->pending = false;
	int r = make_all(cg, l, false, wish, e);

	return r ? r : complete(cg, wish, e);
}

int cgroup_begin(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e)
{
	const struct cgroup_layout *l = cgroup_layout_get(e);

	if (l)
		return cgroup_begin_in(cg, l, wish, e);
	cgroup_init(cg);
	if (!wish->rootless)
		return e ? e->code : -ENOENT;
	err_clear(e);
	log_warn("no cgroup file system here: '%s' runs without limits and accounting", wish->id);
	return wish->resources ? cgroup_apply(cg, wish->resources, e) : 0;
}

int cgroup_finish(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e)
{
	return cg->pending ? cgroup_finish_in(cg, cgroup_layout_get(e), wish, e) : 0;
}

int cgroup_join_fds(const struct cgroup *cg, int fds[CGROUP_DIRS_MAX])
{
	int n = 0;

	for (int i = 0; i < cg->n; i++)
		if (!cg->dirs[i].v2)
			fds[n++] = cg->dirs[i].join_fd;
	return n;
}

void cgroup_take_fds(struct cgroup *cg, int *fds, int n)
{
	int at = 0;

	for (int i = 0; i < cg->n && at < n; i++)
		if (!cg->dirs[i].v2)
			cg->dirs[i].join_fd = steal_fd(&fds[at++]);
}

/* No process in it; a directory that is gone has none either, but is nothing to find. */
static bool is_empty(const char *dir)
{
	char path[PATH_MAX], c;

	if ((size_t)snprintf(path, sizeof(path), "%s/cgroup.procs", dir) >= sizeof(path))
		return false;
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, &c, 1) == 0;
}

/* The orphan of the dead creator ends as soon as it notices. */
static bool becomes_empty(const char *dir)
{
	const struct timespec nap = { .tv_nsec = 2000000 };

	for (int tries = 0; tries < 1000; tries++) {
		if (is_empty(dir))
			return true;
		if (access(dir, F_OK) < 0)
			return false;
		nanosleep(&nap, NULL);
	}
	return false;
}

/* The directories of `wish` that exist; `empty`: only those without a process. */
static int find_dirs(struct cgroup *cg, const struct cgroup_wish *wish, bool empty, struct err *e)
{
	const struct cgroup_layout *l = cgroup_layout_get(NULL);

	cgroup_init(cg);
	for (int i = 0; l && i < l->n; i++) {
		struct cgroup_dir *d = &cg->dirs[cg->n];
		char path[PATH_MAX];
		int r = plan_path(path, &l->h[i], wish, e);

		if (r)
			return r;
		if (access(path, F_OK) < 0 || (empty && !becomes_empty(path)))
			continue;
		*d = (struct cgroup_dir){ .v2 = l->h[i].v2, .made = true, .join_fd = -1 };
		d->path = strdup(path);
		if (!d->path)
			return err_sys(e, -ENOMEM, "cgroup %s", path);
		d->controllers = d->v2 ? cgroup_v2_enable(path, path, 0) : l->h[i].controllers;
		cg->n++;
	}
	return 0;
}

int cgroup_find(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e)
{
	return find_dirs(cg, wish, true, e);
}

int cgroup_adopt(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e)
{
	return find_dirs(cg, wish, false, e);
}

void cgroup_close(struct cgroup *cg)
{
	for (int i = 0; i < cg->n; i++)
		close_fd(&cg->dirs[i].join_fd);
}

int cgroup_clone_fd(const struct cgroup *cg)
{
	const struct cgroup_dir *d = cgroup_dir_v2(cg);

	return d ? d->join_fd : -1;
}

int cgroup_join(const struct cgroup *cg, struct err *e)
{
	const struct cgroup_dir *freezer = NULL;

	for (int i = 0; i < cg->n; i++) {
		const struct cgroup_dir *d = &cg->dirs[i];

		if (d->v2 || d->join_fd < 0)
			continue;
		/* A frozen group holds us at once: it must be the last one. */
		if (d->controllers & CGROUP_FREEZER) {
			freezer = d;
			continue;
		}
		if (write(d->join_fd, "0", 1) < 0)
			return err_sys(e, -errno, "cgroup %s: join", d->path);
	}
	if (freezer && write(freezer->join_fd, "0", 1) < 0)
		return err_sys(e, -errno, "cgroup %s: join", freezer->path);
	return 0;
}

static int move_into(const struct cgroup_dir *d, pid_t pid, struct err *e)
{
	char path[PATH_MAX], text[16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", d->path);
	snprintf(text, sizeof(text), "%d", (int)pid);
	int r = file_poke(AT_FDCWD, path, text);

	return r ? err_sys(e, r, "cgroup %s: move process %d into it", d->path, (int)pid) : 0;
}

/* The scope's directory in `h`. systemd makes it in the hierarchies that it manages; the others are ours. */
static int add_scope_dir(struct cgroup *cg, const struct cgroup_hier *h, const char *scope,
			 pid_t pid, struct err *e)
{
	struct cgroup_dir *d = &cg->dirs[cg->n];
	char path[PATH_MAX];
	int parents = 0, r = cgroup_path_clean(path, sizeof(path), h->mount, scope);

	if (!r)
		r = make_dir(path, &parents);
	if (is_refusal(r) && cgroup_is_rootless(cg))
		return 0;
	if (r && r != -EEXIST)
		return err_sys(e, r, "cgroup %s: mkdir", path);
	*d = (struct cgroup_dir){ .v2 = h->v2, .made = true, .parents = parents, .join_fd = -1 };
	d->path = strdup(path);
	if (!d->path)
		return err_sys(e, -ENOMEM, "cgroup %s", path);
	cg->n++;
	/* What systemd handed down to the scope is all that there is on v2. */
	d->controllers = h->v2 ? cgroup_v2_enable(d->path, d->path, 0) : h->controllers;
	r = h->v2 ? 0 : cgroup_v1_prepare(d, false, e);
	return r ? r : move_into(d, pid, e);
}

static int attach_scope(struct cgroup *cg, const struct cgroup_wish *wish, pid_t pid, struct err *e)
{
	const struct cgroup_layout *l = cgroup_layout_get(e);
	char scope[PATH_MAX];

	if (!l)
		return e ? e->code : -ENOENT;
	int r = cgroup_systemd_start(cg, wish, pid, scope, e);

	for (int i = 0; i < l->n && !r; i++)
		r = add_scope_dir(cg, &l->h[i], scope, pid, e);
	return r ? r : apply_all(cg, wish, e);
}

int cgroup_attach(struct cgroup *cg, const struct cgroup_wish *wish, pid_t pid, bool joined,
		  struct err *e)
{
	if (cg->manager == CGROUP_MANAGER_SYSTEMD && wish)
		return attach_scope(cg, wish, pid, e);
	for (int i = 0; i < cg->n && !joined; i++) {
		int r = move_into(&cg->dirs[i], pid, e);

		if (r)
			return r;
	}
	return 0;
}
