/* Image + wishes -> config.json: what comes out parses, holds what was asked, and every wrong wish is
 * refused by name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "bundle/bundle.h"
#include "wire/oci.h"

static const char ID[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static const char CONFIG[] =
	"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/"
	"bin\",\"A=image\"],"
	"\"Entrypoint\":[\"/entry\"],\"Cmd\":[\"cmd\",\"arg\"],\"WorkingDir\":\"/work\","
	"\"StopSignal\":\"SIGINT\",\"User\":\"7:8\"},"
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";

struct made {
	struct bundle b;
	struct oci_spec *spec;
	struct image img;
};

static int make(const struct bundle_options *o, bool rootless, char *const *args, struct made *x,
		struct err *e)
{
	static const char *const layers[] = { "/nonexistent/1", "/nonexistent/2", NULL };
	static const struct bundle_id_range ids[] = { { 0, 1000, 1 }, { 1, 100000, 65536 } };
	struct bundle_request r = { .options = o,
				    .image = &x->img,
				    .id = ID,
				    .name = "n",
				    .dir = "/run/i",
				    .disk = "/data/instances/i",
				    .args = args,
				    .discard = true,
				    .rootless = rootless,
				    .uids = ids,
				    .gids = ids,
				    .uids_n = 2,
				    .gids_n = 2 };

	memset(x, 0, sizeof(*x));
	arena_init(&x->img.arena, 1 << 20);
	assert_int_equal(image_config_parse(CONFIG, strlen(CONFIG), "config", &x->img.arena,
					    &x->img.config, e),
			 0);
	x->img.name = "test";
	x->img.layers = (struct image_list){ (const char **)(uintptr_t)layers, 2 };
	int rc = bundle_make(&r, &x->b, e);

	if (!rc)
		rc = oci_spec_parse(x->b.config, x->b.config_n, "config.json", &x->spec, e);
	return rc;
}

static void drop(struct made *x)
{
	oci_spec_free(x->spec);
	bundle_fini(&x->b);
	arena_fini(&x->img.arena);
}

static bool list_has(const struct oci_strings *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (streq(l->v[i], s))
			return true;
	return false;
}

static const struct oci_mount *mount_at(const struct oci_spec *s, const char *where)
{
	for (size_t i = 0; i < s->mounts_n; i++)
		if (streq(s->mounts[i].destination, where))
			return &s->mounts[i];
	return NULL;
}

static void defaults_are_dockers(void **state)
{
	struct bundle_options o = { 0 };
	struct err e = ERR_INIT;
	struct made x;

	(void)state;
	int r = make(&o, false, NULL, &x, &e);

	assert_string_equal(e.msg, "");
	assert_int_equal(r, 0);
	const struct oci_process *p = x.spec->process;

	assert_int_equal(p->args.n, 3);
	assert_string_equal(p->args.v[0], "/entry");
	assert_string_equal(p->args.v[2], "arg");
	assert_string_equal(p->cwd, "/work");
	assert_int_equal(p->uid, 7);
	assert_int_equal(p->gid, 8);
	assert_true(list_has(&p->env, "PATH=/bin"));
	assert_true(list_has(&p->env, "HOSTNAME=0123456789ab"));
	assert_true(list_has(&p->env, "HOME=/"));
	assert_int_equal(p->caps->bounding, 0xa80425fbull);
	assert_string_equal(x.b.stop_signal, "SIGINT");
	assert_int_equal(x.b.command.n, 3);
	assert_string_equal(x.b.command.v[0], "/entry");
	assert_string_equal(x.b.command.v[2], "arg");
	assert_string_equal(x.spec->hostname, "0123456789ab");
	assert_true(x.spec->linux_->ns[OCI_NS_NETWORK].present);
	assert_false(x.spec->linux_->ns[OCI_NS_USER].present);
	assert_non_null(mount_at(x.spec, "/etc/hosts"));
	assert_string_equal(mount_at(x.spec, "/dev/shm")->type, "tmpfs");
	assert_true(list_has(&x.spec->linux_->masked_paths, "/proc/kcore"));
	drop(&x);
}

static void overlay_comes_back(void **state)
{
	struct bundle_options o = { 0 };
	struct bundle_overlay ov;
	struct err e = ERR_INIT;
	struct made x;

	(void)state;
	assert_int_equal(make(&o, false, NULL, &x, &e), 0);
	assert_int_equal(bundle_overlay_parse(x.spec, &ov, &e), 1);
	assert_int_equal(ov.lower_n, 2);
	assert_string_equal(ov.lower[0], "/nonexistent/2");
	assert_string_equal(ov.upper, "/data/instances/i/upper");
	assert_true(ov.is_volatile);
	assert_true(strlist_has(&x.b.make_dirs, "/run/i/rootfs"));
	bundle_overlay_fini(&ov);
	drop(&x);
}

static void wishes_win(void **state)
{
	char *args[] = { (char *)(uintptr_t) "sh", NULL };
	char *env[] = { (char *)(uintptr_t) "A=mine", NULL };
	char *vol[] = { (char *)(uintptr_t) "/tmp:/data:ro", NULL };
	char *tmp[] = { (char *)(uintptr_t) "/dev/shm:size=1m", NULL };
	char *add[] = { (char *)(uintptr_t) "net_admin", NULL };
	char *lim[] = { (char *)(uintptr_t) "nofile=10:20", NULL };
	struct bundle_options o = { .env = { env, 1 },
				    .volumes = { vol, 1 },
				    .tmpfs = { tmp, 1 },
				    .cap_add = { add, 1 },
				    .ulimits = { lim, 1 },
				    .cpus = "0.5",
				    .memory = 64 << 20,
				    .memory_swap = "128m",
				    .pids_limit = 50,
				    .hostname = "box",
				    .workdir = "/w",
				    .user = "0",
				    .tty = true,
				    .entrypoint = "",
				    .network = "host",
				    .read_only = true };
	struct err e = ERR_INIT;
	struct made x;

	(void)state;
	int r = make(&o, false, args, &x, &e);

	assert_string_equal(e.msg, "");
	assert_int_equal(r, 0);
	const struct oci_process *p = x.spec->process;
	const struct oci_resources *res = x.spec->linux_->resources;

	assert_int_equal(p->args.n, 1);
	assert_true(p->terminal);
	assert_true(list_has(&p->env, "A=mine"));
	assert_false(list_has(&p->env, "A=image"));
	assert_true(list_has(&p->env, "TERM=xterm"));
	assert_int_equal(p->rlimits[0].hard, 20);
	assert_true(p->caps->effective & 1 << 12);
	assert_int_equal(res->cpu.quota.v, 50000);
	assert_int_equal(res->memory.limit.v, 64 << 20);
	assert_int_equal(res->memory.swap.v, 128 << 20);
	assert_int_equal(res->pids_limit.v, 50);
	assert_false(x.spec->linux_->ns[OCI_NS_NETWORK].present);
	assert_string_equal(x.spec->hostname, "box");
	assert_true(list_has(&mount_at(x.spec, "/data")->options, "ro"));
	assert_true(list_has(&mount_at(x.spec, "/dev/shm")->options, "size=1m"));
	assert_true(x.spec->root_readonly);
	drop(&x);
}

static void rootless_has_a_user_namespace(void **state)
{
	struct bundle_options o = { .network = "host" };
	struct err e = ERR_INIT;
	struct made x;

	(void)state;
	assert_int_equal(make(&o, true, NULL, &x, &e), 0);
	assert_true(x.spec->linux_->ns[OCI_NS_USER].present);
	assert_int_equal(x.spec->linux_->uid_mappings.v[1].host_id, 100000);
	assert_string_equal(mount_at(x.spec, "/sys")->type, "bind");
	assert_int_equal(x.spec->linux_->resources->devices_n, 0);
	drop(&x);
}

/* Each row breaks one thing; the error must name it. */
static void wrong_wishes_are_named(void **state)
{
	static const struct {
		size_t offset; /* a strlist, or a const char * when `single` */
		bool single;
		const char *value, *error;
	} rows[] = {
#define LIST(m, v, t) { offsetof(struct bundle_options, m), false, v, t }
#define ONE(m, v, t)                                           \
	{                                                      \
		offsetof(struct bundle_options, m), true, v, t \
	}
		LIST(env, "=x", "environment '=x'"),
		LIST(env_file, "/nonexistent/f", "--env-file '/nonexistent/f'"),
		LIST(volumes, "tmp", "destination 'tmp'"),
		LIST(volumes, "/tmp:rel", "destination 'rel'"),
		LIST(volumes, "/tmp:/a/../b", "contains '..'"),
		LIST(volumes, "/tmp:/.", "root itself"),
		LIST(volumes, "/tmp:/x:wrong", "unknown option 'wrong'"),
		LIST(volumes, "a b:/x", "source 'a b'"),
		LIST(mounts, "type=bind,source=/tmp", "no destination"),
		LIST(mounts, "type=odd,source=/tmp,dst=/x", "type 'odd'"),
		LIST(mounts, "type=bind,source=/nonexistent/d,dst=/x", "/nonexistent/d"),
		LIST(mounts, "type=tmpfs,dst=/x,tmpfs-size=big", "tmpfs-size 'big'"),
		LIST(mounts, "type=volume,source=../x,dst=/x", "source '../x'"),
		LIST(mounts, "what=1", "unknown field 'what'"),
		LIST(tmpfs, "rel", "--tmpfs: destination 'rel'"),
		LIST(cap_add, "CAP_FLY", "--cap-add 'CAP_FLY'"),
		LIST(cap_drop, "walk", "--cap-drop 'walk'"),
		LIST(security_opt, "odd=1", "--security-opt 'odd=1'"),
		LIST(security_opt, "seccomp=/nonexistent/p", "'/nonexistent/p'"),
		LIST(sysctls, "vm.swappiness=1", "belongs to no namespace"),
		LIST(sysctls, "noequals", "--sysctl 'noequals'"),
		LIST(ulimits, "nofile", "--ulimit 'nofile'"),
		LIST(ulimits, "fish=1", "--ulimit 'fish=1'"),
		LIST(ulimits, "nofile=9:3", "above the hard one"),
		LIST(devices, "/nonexistent/dev", "--device '/nonexistent/dev'"),
		LIST(devices, "/tmp", "not a device"),
		LIST(devices, "/dev/null:/x:q", "'q' is not made of"),
		LIST(device_cgroup_rules, "x 1:1 r", "--device-cgroup-rule"),
		LIST(device_read_bps, "/dev/null:1m", "not a block device"),
		LIST(group_add, "nobodyhere", "group 'nobodyhere'"),
		LIST(add_host, "justname", "--add-host 'justname'"),
		LIST(dns, "name.server", "--dns 'name.server'"),
		LIST(annotations, "dev.warren.init=true", "Warren's own"),
		ONE(user, "nosuchuser", "user 'nosuchuser'"),
		ONE(user, "4294967295", "number too large"),
		ONE(user, "0:nosuchgroup", "group 'nosuchgroup'"),
		ONE(workdir, "relative", "working directory 'relative'"),
		ONE(cpus, "many", "--cpus 'many'"),
		ONE(cpus, "0", "--cpus '0'"),
		ONE(cpus, "99999", "range of CPUs is from 0.01 to "),
		ONE(cpuset_cpus, "a", "--cpuset-cpus 'a'"),
		ONE(memory_swap, "1g", "--memory-swap '1g'"),
		ONE(hostname, "bad host", "--hostname 'bad host'"),
		ONE(network, "moon", "--network 'moon'"),
		ONE(userns, "keep-id", "--userns 'keep-id'"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bundle_options o = { 0 };
		struct err e = ERR_INIT;
		char *one[] = { (char *)(uintptr_t)rows[i].value, NULL };
		char *at = (char *)&o + rows[i].offset;
		struct made x;

		if (rows[i].single)
			*(const char **)(void *)at = rows[i].value;
		else
			*(struct strlist *)(void *)at = (struct strlist){ one, 1 };
		int r = make(&o, false, NULL, &x, &e);

		if (r >= 0 || !strstr(e.msg, rows[i].error))
			fail_msg("%s: got %d '%s', wanted '%s'", rows[i].value, r, e.msg,
				 rows[i].error);
		drop(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_dockers),
		cmocka_unit_test(overlay_comes_back),
		cmocka_unit_test(wishes_win),
		cmocka_unit_test(rootless_has_a_user_namespace),
		cmocka_unit_test(wrong_wishes_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
