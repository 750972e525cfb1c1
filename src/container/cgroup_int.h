/* What the files of the cgroup manager share. */
#pragma once

#include <limits.h>

#include "container/cgroup.h"

enum {
	CGROUP_CPU = 1 << 0,
	CGROUP_CPUACCT = 1 << 1,
	CGROUP_CPUSET = 1 << 2,
	CGROUP_MEMORY = 1 << 3,
	CGROUP_DEVICES = 1 << 4,
	CGROUP_FREEZER = 1 << 5,
	CGROUP_BLKIO = 1 << 6, /* "io" on v2 */
	CGROUP_PIDS = 1 << 7,
	CGROUP_HUGETLB = 1 << 8,
	CGROUP_NET_CLS = 1 << 9,
	CGROUP_NET_PRIO = 1 << 10,
	CGROUP_PERF = 1 << 11,
	CGROUP_RDMA = 1 << 12,
	CGROUP_MISC = 1 << 13,
	CGROUP_SYSTEMD = 1 << 14, /* v1: the named hierarchy, which has no controller */
	CGROUP_DMEM = 1 << 15,
	CGROUP_LAST = CGROUP_DMEM,
};

/* One mounted hierarchy of the host. */
struct cgroup_hier {
	uint32_t controllers; /* v2: what the top directory offers */
	bool v2;
	dev_t dev;
	char name[24]; /* v1: as in /proc/self/cgroup: "cpu,cpuacct", "name=systemd" */
	char *mount;   /* "/sys/fs/cgroup/cpu" */
	char *root;    /* which directory of the hierarchy is mounted there, mostly "/" */
	char *self; /* where we are in the hierarchy, below `mount`; "/" when we are outside of it */
};

struct cgroup_layout {
	int n;
	struct cgroup_hier h[CGROUP_DIRS_MAX];
};

/* cgroup_layout.c */

/* Reads the two texts of /proc/self. `probe`: drop mounts that are hidden under others, and ask the v2 tree for its
 * controllers (tests on plain text say no). 0, -ENOENT without any hierarchy, or -errno. */
int cgroup_layout_parse(struct cgroup_layout *l, const char *mountinfo, const char *self,
			bool probe);
void cgroup_layout_fini(struct cgroup_layout *l);
/* The host's, read once a process. NULL with `e` set. */
const struct cgroup_layout *cgroup_layout_get(struct err *e);

/* "cpu" -> CGROUP_CPU, 0 when unknown; "io" is blkio. */
uint32_t cgroup_controller(const char *name, size_t n);
/* The bits of a list such as "cpu,cpuacct" or "cpuset cpu io". */
uint32_t cgroup_controllers(const char *list);
/* The name that errors use. */
const char *cgroup_controller_name(uint32_t bit);

/* `path` below "/", without ".", ".." and double slashes; ".." never climbs above "/". 0 or -ENAMETOOLONG. */
int cgroup_path_clean(char *out, size_t size, const char *base, const char *path);

/* cgroup.c */

/* cgroup_begin and cgroup_finish on a given layout. */
int cgroup_begin_in(struct cgroup *cg, const struct cgroup_layout *l,
		    const struct cgroup_wish *wish, struct err *e);
int cgroup_finish_in(struct cgroup *cg, const struct cgroup_layout *l,
		     const struct cgroup_wish *wish, struct err *e);
/* Whether we are an ordinary user, also one who is root in a user namespace; remembered in `cg`. */
bool cgroup_is_rootless(struct cgroup *cg);
/* The directory that has `controller`, NULL when there is none. */
const struct cgroup_dir *cgroup_dir_of(const struct cgroup *cg, uint32_t controller);
const struct cgroup_dir *cgroup_dir_v2(const struct cgroup *cg);

/* cgroup_file.c: one value in one file of one directory. */
int cgroup_file_read(const struct cgroup_dir *d, const char *file, struct buf *b);
/* A single number; "max" is UINT64_MAX. 0 or -errno. */
int cgroup_file_u64(const struct cgroup_dir *d, const char *file, uint64_t *out);
/* The number after `key` in a file of "key value" lines. 0, -ENOENT, -errno. */
int cgroup_file_key(const struct cgroup_dir *d, const char *file, const char *key, uint64_t *out);
bool cgroup_file_exists(const struct cgroup_dir *d, const char *file);
/* Errors read "linux.resources.<field>: <path>/<file>: write '<text>': <why>". 0 or -errno. */
int cgroup_file_write(const struct cgroup_dir *d, const char *file, const char *field,
		      struct err *e, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* cgroup_v1.c, cgroup_v2.c: those members of `r` whose controllers are on this version. */
/* `own_parent`: the directory above holds nothing but Warren's. */
int cgroup_v1_prepare(const struct cgroup_dir *d, bool own_parent, struct err *e);
int cgroup_v1_apply(const struct cgroup *cg, const struct oci_resources *r, struct err *e);
int cgroup_v2_apply(const struct cgroup *cg, const struct oci_resources *r, struct err *e);
/* Makes `wanted` available in the directory `path` by its ancestors' cgroup.subtree_control. What cannot be
 * had is left out. Returns the controllers that `path` has then. */
uint32_t cgroup_v2_enable(const char *mount, const char *path, uint32_t wanted);
/* The same files on both versions. */
int cgroup_apply_cpuset(const struct cgroup_dir *d, const struct oci_resources *r, struct err *e);
/* The same two on v1 and v2 but for the names of files and the scale of the value. */
int cgroup_apply_shares(const struct cgroup_dir *d, const struct oci_resources *r, const char *file,
			uint64_t value, struct err *e);
int cgroup_apply_hugetlb(const struct cgroup_dir *d, const struct oci_resources *r,
			 const char *name, struct err *e);
/* All members; complains about those whose controller is nowhere. */
int cgroup_apply(const struct cgroup *cg, const struct oci_resources *r, struct err *e);

/* weight of cgroup v2 for cpu.shares (2..262144) and blkio.weight (10..1000) */
uint64_t cgroup_weight_of_shares(uint64_t shares);
uint64_t cgroup_weight_of_blkio(uint64_t weight);

/* cgroup_state.c */
bool cgroup_on_cgroupfs(const char *path);

/* cgroup_devices.c: replaces the rules. Does nothing for an ordinary user. */
int cgroup_devices(struct cgroup *cg, const struct oci_resources *r, struct err *e);

/* cgroup_systemd.c */

/* Checks cgroupsPath and sets cg->unit. */
int cgroup_systemd_plan(struct cgroup *cg, const struct cgroup_wish *wish, struct err *e);
/* Starts the scope with `pid` in it; `path` gets its place in the hierarchies. */
int cgroup_systemd_start(struct cgroup *cg, const struct cgroup_wish *wish, pid_t pid,
			 char path[PATH_MAX], struct err *e);
int cgroup_systemd_update(const struct cgroup *cg, const struct oci_resources *r, struct err *e);
/* Stops the scope; fine when it has gone already. */
int cgroup_systemd_stop(const struct cgroup *cg, struct err *e);
