/* The cgroup manager on trees of plain files: which hierarchies, which paths, what is written where. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../test.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "container/cgroup_int.h"
#include "os/file.h"

#define NUM(x) ((struct oci_num){ .set = true, .v = (x) })

static const char hybrid_mounts[] =
	"22 1 0:20 / /proc rw - proc proc rw\n"
	"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
	"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
	"35 31 0:32 /docker/7 /sys/fs/cgroup/memory rw master:3 - cgroup cgroup rw,memory\n"
	"36 31 0:32 / /mnt/with\\040blank rw - cgroup cgroup rw,memory\n"
	"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
	"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
	"torn line\n"
	"50 31 0:99 / /x rw - cgroup\n";

static const char hybrid_self[] =
	"4:memory:/user/a\n3:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/init.scope\n";

static const struct cgroup_hier *hier(const struct cgroup_layout *l, uint32_t controller)
{
	for (int i = 0; i < l->n; i++)
		if (l->h[i].controllers & controller)
			return &l->h[i];
	return NULL;
}

static void reads_a_hybrid_host(void **state)
{
	struct cgroup_layout l;

	assert_int_equal(cgroup_layout_parse(&l, hybrid_mounts, hybrid_self, false), 0);
	assert_int_equal(l.n, 4);
	assert_string_equal(hier(&l, CGROUP_CPUACCT)->mount, "/sys/fs/cgroup/cpu,cpuacct");
	assert_string_equal(hier(&l, CGROUP_CPU)->name, "cpu,cpuacct");
	/* The whole hierarchy is better than the part that was mounted first. */
	assert_string_equal(hier(&l, CGROUP_MEMORY)->mount, "/mnt/with blank");
	assert_string_equal(hier(&l, CGROUP_MEMORY)->self, "/user/a");
	assert_string_equal(hier(&l, CGROUP_SYSTEMD)->self, "/init.scope");
	assert_true(l.h[3].v2);
	cgroup_layout_fini(&l);
}

static void a_host_without_cgroups_says_so(void **state)
{
	struct cgroup_layout l;

	assert_int_equal(
		cgroup_layout_parse(&l, "22 1 0:20 / /proc rw - proc proc rw\n", "0::/\n", false),
		-ENOENT);
	assert_int_equal(cgroup_layout_parse(&l, "", "", false), -ENOENT);
}

static void our_place_is_below_the_mounted_part(void **state)
{
	static const struct {
		const char *root, *self, *expect;
	} rows[] = {
		{ "/docker/7", "/docker/7/web", "/web" },
		{ "/docker/7", "/docker/7", "/" },
		{ "/docker/7", "/docker/77/web", "/" },
		{ "/docker/7", "/../x", "/" },
		{ "/", "/../x", "/" },
		{ "/", "/a/b", "/a/b" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cgroup_layout l;
		char mounts[256], self[256];

		snprintf(mounts, sizeof(mounts), "35 31 0:32 %s /m rw - cgroup cgroup rw,pids\n",
			 rows[i].root);
		snprintf(self, sizeof(self), "4:pids:%s\n", rows[i].self);
		assert_int_equal(cgroup_layout_parse(&l, mounts, self, false), 0);
		if (!streq(rows[i].expect, "/") && !*l.h[0].self)
			fail();
		assert_string_equal(*l.h[0].self ? l.h[0].self : "/", rows[i].expect);
		cgroup_layout_fini(&l);
	}
}

static void paths_cannot_climb(void **state)
{
	static const struct {
		const char *base, *path, *expect;
	} rows[] = {
		{ "/", "../../etc", "/etc" },
		{ "/a/b", "../c", "/a/c" },
		{ "/sys/fs/cgroup", "/x//y/./z/", "/sys/fs/cgroup/x/y/z" },
		{ "/", "..", "/" },
		{ "/a", "..hidden", "/a/..hidden" },
		{ "/a", "", "/a" },
	};
	char out[PATH_MAX], small[6];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(cgroup_path_clean(out, sizeof(out), rows[i].base, rows[i].path),
				 0);
		assert_string_equal(out, rows[i].expect);
	}
	assert_int_equal(cgroup_path_clean(small, sizeof(small), "/", "abcdef"), -ENAMETOOLONG);
}

static void weights_meet_at_the_defaults(void **state)
{
	assert_int_equal(cgroup_weight_of_shares(2), 1);
	assert_int_equal(cgroup_weight_of_shares(1024), 100);
	assert_int_equal(cgroup_weight_of_shares(262144), 10000);
	assert_int_equal(cgroup_weight_of_shares(0), 1);
	assert_int_equal(cgroup_weight_of_shares(UINT64_MAX), 10000);
	assert_int_equal(cgroup_weight_of_blkio(10), 1);
	assert_int_equal(cgroup_weight_of_blkio(1000), 10000);
}

/* A temporary tree that stands for /sys/fs/cgroup. */
struct tree {
	char root[64];
};

static void tree_file(const struct tree *t, const char *path, const char *text)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", t->root, path);
	for (char *s = full + strlen(t->root) + 1; (s = strchr(s, '/')); s++) {
		*s = '\0';
		mkdir(full, 0755);
		*s = '/';
	}
	FILE *f = fopen(full, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static const char *tree_read(const struct tree *t, const char *path)
{
	static char text[4096];
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", t->root, path);
	cleanup_fd int fd = open(full, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return "(no file)";
	text[n] = '\0';
	return text;
}

static int tree_up(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	snprintf(t->root, sizeof(t->root), "/tmp/warren-cgroup-XXXXXX");
	*state = t;
	return mkdtemp(t->root) ? 0 : -1;
}

static int tree_down(void **state)
{
	struct tree *t = *state;
	char *argv[] = { "rm", "-rf", t->root, NULL };
	pid_t pid = fork();

	if (pid == 0) {
		execvp("rm", argv);
		_exit(1);
	}
	free(t);
	return 0;
}

static void v2_tree(struct tree *t, struct cgroup_layout *l, const char *controllers)
{
	static const char *const files[] = { "cpu.max",		"cpu.max.burst",
					     "cpu.weight",	"cpu.idle",
					     "memory.max",	"memory.swap.max",
					     "memory.low",	"pids.max",
					     "io.weight",	"io.max",
					     "cpuset.cpus",	"cpuset.mems",
					     "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max",
					     "cgroup.procs",	"memory.high" };
	char mounts[256], path[128];

	tree_file(t, "cgroup.controllers", controllers);
	tree_file(t, "cgroup.subtree_control", "");
	tree_file(t, "pod/cgroup.controllers", controllers);
	tree_file(t, "pod/cgroup.subtree_control", "");
	tree_file(t, "pod/c1/cgroup.controllers", controllers);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "pod/c1/%s", files[i]);
		tree_file(t, path, "");
	}
	snprintf(mounts, sizeof(mounts), "41 31 0:38 / %s rw - cgroup2 cgroup2 rw\n", t->root);
	assert_int_equal(cgroup_layout_parse(l, mounts, "0::/\n", false), 0);
}

/* Creates /pod/c1 in the tree with `r`. Rootless, because plain files take no BPF program. */
static int make(struct cgroup *cg, const struct cgroup_layout *l, const struct cgroup_wish *wish,
		struct err *e)
{
	int rc = cgroup_begin_in(cg, l, wish, e);

	return rc ? rc : cgroup_finish_in(cg, l, wish, e);
}

static int v2_create(struct tree *t, const char *controllers, const struct oci_resources *r,
		     struct err *e)
{
	const struct cgroup_wish wish = {
		.id = "c1", .path = "/pod/c1", .resources = r, .rootless = true
	};
	struct cgroup_layout l;
	struct cgroup cg;

	v2_tree(t, &l, controllers);
	int rc = make(&cg, &l, &wish, e);

	if (!rc) {
		assert_int_equal(cg.n, 1);
		assert_false(cg.dirs[0].made);
		assert_true(cgroup_clone_fd(&cg) >= 0);
	}
	cgroup_fini(&cg);
	cgroup_layout_fini(&l);
	return rc;
}

static void v2_limits_are_translated(void **state)
{
	struct oci_weight_device wd = { .major = 8, .minor = 16, .weight = NUM(1000) };
	struct oci_throttle throttle = { .major = 8, .minor = 0, .rate = 1048576 };
	struct oci_hugepage_limit huge = { .page_size = "2MB", .limit = 4194304 };
	struct oci_pair pair = { "memory.high", "1000000" };
	struct tree *t = *state;
	struct oci_resources r = {
		.memory = { .limit = NUM(100000000),
			    .swap = NUM(150000000),
			    .reservation = NUM(50000000) },
		.cpu = { .shares = NUM(1024),
			 .quota = NUM(50000),
			 .period = NUM(100000),
			 .cpus = "0-1",
			 .mems = "0" },
		.pids_limit = NUM(7),
		.blkio = { .weight = NUM(10), .write_bps = { &throttle, 1 } },
		.hugepages = &huge,
		.hugepages_n = 1,
		.unified = { &pair, 1 },
	};
	struct err e = ERR_INIT;

	assert_int_equal(v2_create(t, "cpuset cpu io memory hugetlb pids\n", &r, &e), 0);
	assert_string_equal(tree_read(t, "pod/c1/memory.max"), "100000000");
	assert_string_equal(tree_read(t, "pod/c1/memory.swap.max"), "50000000");
	assert_string_equal(tree_read(t, "pod/c1/memory.low"), "50000000");
	assert_string_equal(tree_read(t, "pod/c1/cpu.weight"), "100");
	assert_string_equal(tree_read(t, "pod/c1/cpu.max"), "50000 100000");
	assert_string_equal(tree_read(t, "pod/c1/cpuset.cpus"), "0-1");
	assert_string_equal(tree_read(t, "pod/c1/pids.max"), "7");
	assert_string_equal(tree_read(t, "pod/c1/io.weight"), "1");
	assert_string_equal(tree_read(t, "pod/c1/io.max"), "8:0 wbps=1048576");
	assert_string_equal(tree_read(t, "pod/c1/hugetlb.2MB.max"), "4194304");
	assert_string_equal(tree_read(t, "pod/c1/hugetlb.2MB.rsvd.max"), "4194304");
	assert_string_equal(tree_read(t, "pod/c1/memory.high"), "1000000");
	/* Every ancestor handed the controllers down, the container's own directory did not. */
	assert_string_equal(tree_read(t, "cgroup.subtree_control"),
			    "+cpuset +cpu +io +memory +pids +hugetlb");
	assert_string_equal(tree_read(t, "pod/cgroup.subtree_control"),
			    "+cpuset +cpu +io +memory +pids +hugetlb");
	r.blkio.weight_device = &wd;
	r.blkio.weight_device_n = 1;
	tree_file(t, "pod/c1/io.weight", "");
	assert_int_equal(v2_create(t, "cpuset cpu io memory hugetlb pids\n", &r, &e), 0);
	assert_string_equal(tree_read(t, "pod/c1/io.weight"), "8:16 10000");
}

static void v2_minus_one_is_max(void **state)
{
	struct tree *t = *state;
	struct oci_resources r = {
		.memory = { .limit = NUM(-1), .swap = NUM(-1) },
		.cpu = { .quota = NUM(-1) },
		.pids_limit = NUM(-1),
	};
	struct err e = ERR_INIT;

	assert_int_equal(v2_create(t, "cpu memory pids\n", &r, &e), 0);
	assert_string_equal(tree_read(t, "pod/c1/memory.max"), "max");
	assert_string_equal(tree_read(t, "pod/c1/memory.swap.max"), "max");
	assert_string_equal(tree_read(t, "pod/c1/cpu.max"), "max");
	assert_string_equal(tree_read(t, "pod/c1/pids.max"), "max");
}

/* One thing wrong a row: no limit is dropped without a word. */
static void v2_refuses_with_the_member(void **state)
{
	struct oci_throttle throttle = { .major = 8, .rate = 1 };
	struct oci_hugepage_limit huge = { .page_size = "2MB", .limit = 1 };
	struct oci_pair climb = { "../memory.max", "1" }, bare = { "tasks", "1" },
			none = { "cpu.nope", "1" };
	const struct {
		const char *controllers;
		struct oci_resources r;
		const char *expect;
	} rows[] = {
		{ "cpu pids",
		  { .memory.limit = NUM(1) },
		  "linux.resources.memory.limit: no memory controller" },
		{ "memory",
		  { .cpu.quota = NUM(1) },
		  "linux.resources.cpu.quota: no cpu controller" },
		{ "memory", { .cpu.cpus = "0" }, "linux.resources.cpu.cpus: no cpuset controller" },
		{ "memory",
		  { .pids_limit = NUM(3) },
		  "linux.resources.pids.limit: no pids controller" },
		{ "memory",
		  { .blkio.read_bps = { &throttle, 1 } },
		  "linux.resources.blockIO.throttleReadBpsDevice" },
		{ "memory",
		  { .hugepages = &huge, .hugepages_n = 1 },
		  "linux.resources.hugepageLimits" },
		{ "memory",
		  { .network.class_id = NUM(1) },
		  "linux.resources.network.classID: no net_cls" },
		{ "memory",
		  { .memory = { .limit = NUM(10), .swap = NUM(5) } },
		  "less than the memory limit" },
		{ "memory", { .memory = { .swap = NUM(5) } }, "needs a memory limit" },
		{ "cpu",
		  { .cpu.realtime_runtime = NUM(5) },
		  "cpu.realtimeRuntime: cgroup v2 does not have it" },
		{ "memory",
		  { .memory.swappiness = NUM(10) },
		  "memory.swappiness: cgroup v2 does not have it" },
		{ "memory",
		  { .memory.disable_oom_killer = { true, true } },
		  "memory.disableOOMKiller: cgroup v2 does not have it" },
		{ "io",
		  { .blkio.leaf_weight = NUM(10) },
		  "blockIO.leafWeight: cgroup v2 does not have it" },
		{ "cpu",
		  { .memory.swappiness = NUM(10) },
		  "memory.swappiness: no memory controller" },
		{ "memory", { .cpu.burst = NUM(10) }, "cpu.burst: no cpu controller" },
		{ "cpu", { .unified = { &climb, 1 } }, "not the name of a cgroup file" },
		{ "cpu", { .unified = { &bare, 1 } }, "not the name of a cgroup file" },
		{ "cpu",
		  { .unified = { &none, 1 } },
		  "linux.resources.unified.cpu.nope: this kernel has no" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = ERR_INIT;

		assert_true(v2_create(*state, rows[i].controllers, &rows[i].r, &e) < 0);
		if (!strstr(e.msg, rows[i].expect))
			fail_msg("row %zu: '%s' lacks '%s'", i, e.msg, rows[i].expect);
	}
}

static void an_update_leaves_the_rest(void **state)
{
	struct oci_resources r = { .cpu.period = NUM(20000),
				   .memory = { .limit = NUM(100),
					       .check_before_update = { true, true } } };
	struct tree *t = *state;
	struct err e = ERR_INIT;
	struct cgroup cg;
	char json[512];

	tree_file(t, "c/cpu.max", "5000 10000\n");
	tree_file(t, "c/memory.max", "");
	tree_file(t, "c/memory.current", "50\n");
	snprintf(json, sizeof(json),
		 "{\"rootless\":true,\"dirs\":[{\"path\":\"%s/"
		 "c\",\"version\":2,\"controllers\":\"cpu,memory\"}]}",
		 t->root);
	assert_int_equal(cgroup_load(&cg, json, strlen(json), &e), 0);
	assert_int_equal(cgroup_update(&cg, &r, &e), 0);
	assert_string_equal(tree_read(t, "c/cpu.max"), "5000 20000\n");
	assert_string_equal(tree_read(t, "c/memory.max"), "100");
	/* checkBeforeUpdate: below what is in use. */
	r.memory.limit = NUM(49);
	assert_int_equal(cgroup_update(&cg, &r, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "less than the 50 bytes in use"));
	cgroup_fini(&cg);
}

static void v1_tree(struct tree *t, struct cgroup_layout *l)
{
	static const char *const files[] = {
		"memory/g/cgroup.procs",
		"memory/g/tasks",
		"memory/g/memory.limit_in_bytes",
		"memory/g/memory.memsw.limit_in_bytes",
		"memory/g/memory.swappiness",
		"memory/g/memory.oom_control",
		"cpu/g/cgroup.procs",
		"cpu/g/tasks",
		"cpu/g/cpu.shares",
		"cpu/g/cpu.cfs_quota_us",
		"cpu/g/cpu.cfs_period_us",
		"cpuset/g/cgroup.procs",
		"cpuset/g/tasks",
		"cpuset/g/cpuset.cpus",
		"cpuset/g/cpuset.mems",
	};
	char mounts[512];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		tree_file(t, files[i], "");
	tree_file(t, "cpuset/cpuset.cpus", "0-3\n");
	tree_file(t, "cpuset/cpuset.mems", "0\n");
	snprintf(mounts, sizeof(mounts),
		 "1 2 0:1 / %s/memory rw - cgroup cgroup rw,memory\n2 2 0:2 / %s/cpu rw - cgroup "
		 "cgroup rw,cpu\n"
		 "3 2 0:3 / %s/cpuset rw - cgroup cgroup rw,cpuset\n",
		 t->root, t->root, t->root);
	assert_int_equal(cgroup_layout_parse(l, mounts, "1:memory:/\n2:cpu:/\n3:cpuset:/\n", false),
			 0);
}

static void v1_limits_and_inherited_cpuset(void **state)
{
	struct oci_resources r = {
		.memory = { .limit = NUM(1000),
			    .swap = NUM(-1),
			    .swappiness = NUM(0),
			    .disable_oom_killer = { true, true } },
		.cpu = { .shares = NUM(512), .quota = NUM(-1), .period = NUM(50000), .mems = "0" },
	};
	const struct cgroup_wish wish = {
		.id = "g", .path = "/g", .resources = &r, .rootless = true
	};
	struct tree *t = *state;
	struct err e = ERR_INIT;
	struct cgroup_layout l;
	struct cgroup cg;

	v1_tree(t, &l);
	assert_int_equal(make(&cg, &l, &wish, &e), 0);
	assert_int_equal(cg.n, 3);
	assert_int_equal(cgroup_clone_fd(&cg), -1);
	assert_string_equal(tree_read(t, "memory/g/memory.limit_in_bytes"), "1000");
	assert_string_equal(tree_read(t, "memory/g/memory.memsw.limit_in_bytes"), "-1");
	assert_string_equal(tree_read(t, "memory/g/memory.swappiness"), "0");
	assert_string_equal(tree_read(t, "memory/g/memory.oom_control"), "1");
	assert_string_equal(tree_read(t, "cpu/g/cpu.shares"), "512");
	assert_string_equal(tree_read(t, "cpu/g/cpu.cfs_quota_us"), "-1");
	assert_string_equal(tree_read(t, "cpu/g/cpu.cfs_period_us"), "50000");
	assert_string_equal(tree_read(t, "cpuset/g/cpuset.cpus"), "0-3");
	/* The child's own write into every "tasks". */
	assert_int_equal(cgroup_join(&cg, &e), 0);
	assert_string_equal(tree_read(t, "cpuset/g/tasks"), "0");
	assert_string_equal(tree_read(t, "memory/g/tasks"), "0");
	cgroup_fini(&cg);
	cgroup_layout_fini(&l);
}

static void state_survives(void **state)
{
	static const char json[] =
		"{\"manager\":\"systemd\",\"rootless\":true,\"unit\":\"a\\\"b.scope\",\"dirs\":["
		"{\"path\":\"/m/"
		"x\",\"version\":1,\"made\":true,\"parents\":2,\"controllers\":\"cpu,cpuacct\"},"
		"{\"path\":\"/"
		"u\",\"version\":2,\"made\":false,\"parents\":0,\"controllers\":\"\"}]}";
	cleanup_with(buf_fini) struct buf out = BUF_INIT(4096);
	struct err e = ERR_INIT;
	struct cgroup cg;

	assert_int_equal(cgroup_load(&cg, json, sizeof(json) - 1, &e), 0);
	assert_int_equal(cg.n, 2);
	assert_int_equal(cg.dirs[0].controllers, CGROUP_CPU | CGROUP_CPUACCT);
	assert_int_equal(cgroup_save(&cg, &out), 0);
	cgroup_fini(&cg);
	assert_int_equal(cgroup_load(&cg, out.data, out.len, &e), 0);
	assert_true(cg.dirs[0].made && !cg.dirs[1].made && cg.dirs[1].v2 &&
		    cg.dirs[0].parents == 2);
	assert_string_equal(cg.unit, "a\"b.scope");
	assert_int_equal(cg.manager, CGROUP_MANAGER_SYSTEMD);
	cgroup_fini(&cg);
}

static void hostile_state_is_refused(void **state)
{
	static const char *const rows[] = {
		"{\"dirs\":[{\"path\":\"/a/../b\",\"version\":1,\"controllers\":\"\"}]}",
		"{\"dirs\":[{\"path\":\"rel\",\"version\":1,\"controllers\":\"\"}]}",
		"{\"dirs\":[{\"path\":\"/a\",\"version\":3,\"controllers\":\"\"}]}",
		"{\"dirs\":[{\"path\":\"/a\",\"version\":1,\"controllers\":\"\",\"parents\":99}]}",
		"{\"dirs\":[{\"version\":1,\"controllers\":\"cpu\"}]}",
		"{\"manager\":\"upstart\"}",
		"[]",
		"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = ERR_INIT;
		struct cgroup cg;

		if (cgroup_load(&cg, rows[i], strlen(rows[i]), &e) >= 0)
			fail_msg("row %zu passed", i);
		assert_int_equal(cg.n, 0);
	}
}

static void the_top_is_nobodys_cgroup(void **state)
{
	const struct cgroup_wish wish = { .id = "c1", .path = "/pod/../..", .rootless = true };
	struct err e = ERR_INIT;
	struct cgroup_layout l;
	struct cgroup cg;

	v2_tree(*state, &l, "cpu\n");
	assert_int_equal(make(&cg, &l, &wish, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "linux.cgroupsPath: '/pod/../..' is the root"));
	cgroup_layout_fini(&l);
}

/* A cgroup that was there before is neither killed, nor frozen, nor removed. */
static void others_are_left_alone(void **state)
{
	struct tree *t = *state;
	struct err e = ERR_INIT;
	struct cgroup cg;
	char json[512];

	tree_file(t, "c/cgroup.freeze", "");
	tree_file(t, "c/cgroup.kill", "");
	tree_file(t, "c/cgroup.procs", "");
	snprintf(json, sizeof(json),
		 "{\"dirs\":[{\"path\":\"%s/c\",\"version\":2,\"controllers\":\"\"}]}", t->root);
	assert_int_equal(cgroup_load(&cg, json, strlen(json), &e), 0);
	assert_int_equal(cgroup_freeze(&cg, true, &e), -EPERM);
	assert_int_equal(cgroup_kill(&cg, 9, &e), 0);
	assert_int_equal(cgroup_remove(&cg, &e), 0);
	assert_string_equal(tree_read(t, "c/cgroup.kill"), "");
	cgroup_fini(&cg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_hybrid_host),
		cmocka_unit_test(a_host_without_cgroups_says_so),
		cmocka_unit_test(our_place_is_below_the_mounted_part),
		cmocka_unit_test(paths_cannot_climb),
		cmocka_unit_test(weights_meet_at_the_defaults),
		cmocka_unit_test_setup_teardown(v2_limits_are_translated, tree_up, tree_down),
		cmocka_unit_test_setup_teardown(v2_minus_one_is_max, tree_up, tree_down),
		cmocka_unit_test_setup_teardown(v2_refuses_with_the_member, tree_up, tree_down),
		cmocka_unit_test_setup_teardown(an_update_leaves_the_rest, tree_up, tree_down),
		cmocka_unit_test_setup_teardown(v1_limits_and_inherited_cpuset, tree_up, tree_down),
		cmocka_unit_test(state_survives),
		cmocka_unit_test(hostile_state_is_refused),
		cmocka_unit_test_setup_teardown(the_top_is_nobodys_cgroup, tree_up, tree_down),
		cmocka_unit_test_setup_teardown(others_are_left_alone, tree_up, tree_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
