/*
 * Pruning.
 *
 * An instance's directory below the root is made first and removed last, so whatever names an id that has no
 * directory there is a left-over. A control group is only removed when it is empty (rmdir refuses others) and
 * has been there for a while, since another root's instance may just be getting its first process.
 *
 * Trust: the root and the data directory are the user's own. Threads: any.
 * #syscalls: openat getdents64 readlinkat unlinkat rmdir access newfstatat
 */
#include "run/prune.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "run/lifecycle.h"
#include "run/registry.h"

enum { CGROUP_AGE = 60 };

static bool is_id(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static bool exists(const char *root, const char *id)
{
	char path[PATH_MAX];

	return (size_t)snprintf(path, sizeof(path), "%s/%s", root, id) < sizeof(path) &&
	       access(path, F_OK) == 0;
}

static void prune_names(const char *root)
{
	char path[PATH_MAX], id[256];

	snprintf(path, sizeof(path), "%s/.names", root);
	cleanup_closedir DIR *d = opendir(path);

	for (struct dirent *ent; d && (ent = readdir(d));) {
		ssize_t n = readlinkat(dirfd(d), ent->d_name, id, sizeof(id) - 1);

		if (n < 0)
			continue;
		id[n] = '\0';
		if (!exists(root, id))
			unlinkat(dirfd(d), ent->d_name, 0);
	}
}

/* Below one hierarchy. */
static void prune_cgroups(const char *root, const char *hierarchy)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/warren", hierarchy);
	cleanup_closedir DIR *d = opendir(path);

	for (struct dirent *ent; d && (ent = readdir(d));)
		if (is_id(ent->d_name) && !exists(root, ent->d_name) &&
		    fstatat(dirfd(d), ent->d_name, &st, 0) == 0 &&
		    st.st_mtim.tv_sec + CGROUP_AGE < time(NULL))
			unlinkat(dirfd(d), ent->d_name, AT_REMOVEDIR);
}

static void prune_all_cgroups(const char *root)
{
	static const char top[] = "/sys/fs/cgroup";
	cleanup_closedir DIR *d = opendir(top);

	prune_cgroups(root, top);
	for (struct dirent *ent; d && (ent = readdir(d));) {
		char path[PATH_MAX];

		if (ent->d_name[0] == '.' || ent->d_type != DT_DIR)
			continue;
		snprintf(path, sizeof(path), "%s/%s", top, ent->d_name);
		prune_cgroups(root, path);
	}
}

static int prune_one(const char *root, const char *id, prune_fn *fn, void *arg, struct err *e)
{
	struct subject s;
	int r = subject_open_id(&s, root, id, false, e);

	if (r == -ENOENT) {
		err_clear(e);
		return 0;
	}
	if (r)
		return r;
	/* One that is being made at this moment is locked by its maker. */
	bool idle = !subject_alive(&s) && !s.rec.restarting &&
		    (subject_status(&s) != SUBJECT_DEAD || instance_half(&s.in));

	if (idle) {
		r = lifecycle_remove(&s, root, false, false, e);
		if (!r && fn)
			fn(arg, id);
	}
	subject_fini(&s);
	return r;
}

int prune_instances(const char *root, prune_fn *fn, void *arg, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	int r = instance_list(root, &ids, e), first = r;

	for (size_t i = 0; !r && i < ids.n; i++) {
		struct err one = ERR_INIT;
		int s = prune_one(root, ids.v[i], fn, arg, &one);

		if (s && !first) {
			first = s;
			if (e)
				*e = one;
		}
	}
	prune_names(root);
	prune_all_cgroups(root);
	return first;
}
