/*
 * config.json's `linux` object: config-linux.md of the runtime-spec 1.3 as tables (see wire/oci.c).
 *
 * Trust: the document is hostile. Threads: none of its own. #syscalls: none
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/personality.h>

#include "base/str.h"
#include "base/util.h"
#include "wire/oci_int.h"
#include "wire/oci_words.h"

/* An object whose members are named by the document: `fn` fills one item of a growing array. */
typedef int item_fn(struct json_reader *r, const struct json_at *at, const char *key,
		    const struct json_value *v, void *item);

static int read_named(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		      size_t size, item_fn *fn, void **items, size_t *n)
{
	if (v->type != JSON_TYPE_OBJECT)
		return json_fail(r, at, "expected an object");
	size_t count = v->n;

	*items = arena_calloc(r->arena, count + 1, size);
	if (!*items)
		return json_fail(r, at, "too large");
	for (uint32_t i = 0; i < v->n; i++) {
		const char *key = v->members[i].key;
		const struct json_value *value = &v->members[i].value;
		struct json_at here = { at, key, 0 };
		int err = fn(r, &here, key, value, (char *)*items + *n * size);

		if (err)
			return err;
		++*n;
	}
	return 0;
}

/* Namespaces */

const struct json_word oci_ns_words[] = {
	{ "pid", OCI_NS_PID },	     { "network", OCI_NS_NETWORK }, { "mount", OCI_NS_MOUNT },
	{ "ipc", OCI_NS_IPC },	     { "uts", OCI_NS_UTS },	    { "user", OCI_NS_USER },
	{ "cgroup", OCI_NS_CGROUP }, { "time", OCI_NS_TIME },	    { NULL, 0 },
};

struct ns_item {
	int type;
	const char *path;
};

static const struct json_member ns_members[] = {
	JSON_ENUM("type", struct ns_item, type, oci_ns_words, .required = true),
	JSON_STRING("path", struct ns_item, path),
	JSON_END,
};

static int read_namespaces(struct json_reader *r, const struct json_at *at,
			   const struct json_value *v, void *dest)
{
	struct oci_namespace *ns = dest;

	if (v->type != JSON_TYPE_ARRAY)
		return json_fail(r, at, "expected an array");
	for (size_t i = 0; i < v->n; i++) {
		struct json_at here = { at, NULL, i };
		struct ns_item item = { 0, NULL };
		int err = json_read_members(r, &here, ns_members, &v->items[i], &item);

		if (err)
			return err;
		if (item.path && !*item.path)
			item.path = NULL;
		if (item.path && *item.path != '/')
			return json_fail(r, &here, "path '%.100s': expected an absolute path",
					 item.path);
		if (ns[item.type].present)
			return json_fail(r, &here, "this type was given before");
		ns[item.type] = (struct oci_namespace){ true, item.path };
	}
	return 0;
}

static const struct json_member offset_members[] = {
	JSON_I64("secs", struct oci_time_offset, secs),
	{ .kind = JSON_U32_,
	  .name = "nanosecs",
	  .max = 999999999,
	  .offset = offsetof(struct oci_time_offset, nanosecs) },
	JSON_END,
};

static int read_offset(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		       void *dest)
{
	struct oci_time_offset *o = dest;

	o->set = true;
	return json_read_members(r, at, offset_members, v, o);
}

static const struct json_member time_members[] = {
	JSON_CALL("monotonic", struct oci_linux, monotonic, read_offset),
	JSON_CALL("boottime", struct oci_linux, boottime, read_offset),
	JSON_END,
};

/* Devices */

static int read_device_type(struct json_reader *r, const struct json_at *at,
			    const struct json_value *v, void *dest)
{
	const char *s;
	int err = json_read_string(r, at, v, &s);

	if (err)
		return err;
	if (!*s || s[1] || !strchr("abcup", *s))
		return json_fail(r, at, "'%.20s' is none of a, b, c, u, p", s);
	*(char *)dest = *s;
	return 0;
}

static const struct json_member device_members[] = {
	JSON_PATH("path", struct oci_device, path, .required = true),
	JSON_CALL("type", struct oci_device, type, read_device_type, .required = true),
	{ .kind = JSON_I64_,
	  .name = "major",
	  .offset = offsetof(struct oci_device, major),
	  .max = 4095 },
	{ .kind = JSON_I64_,
	  .name = "minor",
	  .offset = offsetof(struct oci_device, minor),
	  .max = 1048575 },
	JSON_NUMBER("fileMode", struct oci_device, file_mode, 0, UINT32_MAX),
	JSON_NUMBER("uid", struct oci_device, uid, 0, UINT32_MAX),
	JSON_NUMBER("gid", struct oci_device, gid, 0, UINT32_MAX),
	JSON_END,
};

static int read_devices(struct json_reader *r, const struct json_at *at, const struct json_value *v,
			void *dest)
{
	static const struct json_member list[] = {
		JSON_ARRAY("devices", struct oci_linux, devices, devices_n, device_members),
		JSON_END,
	};
	struct oci_linux *l = container_of(dest, struct oci_linux, devices);
	const struct json_pair devices = { "devices", *v };
	const struct json_value holder = { .type = JSON_TYPE_OBJECT, .n = 1, .members = &devices };
	int err = json_read_members(r, at->up, list, &holder, l);

	for (size_t i = 0; i < l->devices_n && !err; i++) {
		struct json_at here = { at, NULL, i };

		if (l->devices[i].type == 'a')
			err = json_fail(r, &here, "type 'a' is none of b, c, u, p");
	}
	return err;
}

static int read_net_device(struct json_reader *r, const struct json_at *at, const char *key,
			   const struct json_value *v, void *item)
{
	static const struct json_member members[] = {
		JSON_STRING("name", struct oci_net_device, name),
		JSON_END,
	};
	struct oci_net_device *d = item;

	d->host_name = key;
	int err = json_read_members(r, at, members, v, d);

	if (!err && (!*key || strlen(key) > 15 || (d->name && strlen(d->name) > 15)))
		err = json_fail(r, at, "expected interface names of 1 to 15 bytes");
	return err;
}

static int read_net_devices(struct json_reader *r, const struct json_at *at,
			    const struct json_value *v, void *dest)
{
	struct oci_linux *l = container_of(dest, struct oci_linux, net_devices);
	void *items = NULL;
	int err = read_named(r, at, v, sizeof(*l->net_devices), read_net_device, &items,
			     &l->net_devices_n);

	l->net_devices = items;
	return err;
}

/* Control groups */

static int read_any_number(struct json_reader *r, const struct json_at *at,
			   const struct json_value *v, void *dest)
{
	return json_read_int(r, at, v, -1, UINT32_MAX, dest);
}

static int read_access(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		       void *dest)
{
	struct oci_device_rule *rule = container_of(dest, struct oci_device_rule, read);
	const char *s;
	int err = json_read_string(r, at, v, &s);

	if (err)
		return err;
	if (s[strspn(s, "rwm")])
		return json_fail(r, at, "'%.20s': expected some of r, w, m", s);
	rule->read = strchr(s, 'r');
	rule->write = strchr(s, 'w');
	rule->mknod = strchr(s, 'm');
	return 0;
}

static const struct json_member rule_members[] = {
	JSON_BOOL("allow", struct oci_device_rule, allow, .required = true),
	JSON_CALL("type", struct oci_device_rule, type, read_device_type),
	JSON_CALL("major", struct oci_device_rule, major, read_any_number),
	JSON_CALL("minor", struct oci_device_rule, minor, read_any_number),
	JSON_CALL("access", struct oci_device_rule, read, read_access),
	JSON_END,
};

/* Absent: type 'a', any number, all accesses. */
static int read_rules(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		      void *dest)
{
	struct oci_resources *res = container_of(dest, struct oci_resources, devices);

	if (v->type != JSON_TYPE_ARRAY)
		return json_fail(r, at, "expected an array");
	size_t n = v->n;

	res->devices = arena_calloc(r->arena, n + 1, sizeof(*res->devices));
	if (!res->devices)
		return json_fail(r, at, "too large");
	for (size_t i = 0; i < n; i++) {
		struct json_at here = { at, NULL, i };
		struct oci_device_rule *rule = &res->devices[i];

		*rule = (struct oci_device_rule){ .type = 'a', .major = -1, .minor = -1 };
		rule->read = rule->write = rule->mknod = true;
		int err = json_read_members(r, &here, rule_members, &v->items[i], rule);

		if (err)
			return err;
		if (!strchr("abc", rule->type))
			return json_fail(r, &here, "type '%c' is none of a, b, c", rule->type);
		res->devices_n = i + 1;
	}
	return 0;
}

#define LIMIT(name, field) JSON_NUMBER(name, struct oci_resources, field, INT64_MIN, INT64_MAX)
#define COUNT(name, field) JSON_NUMBER(name, struct oci_resources, field, 0, UINT64_MAX)

static const struct json_member memory_members[] = {
	LIMIT("limit", memory.limit),
	LIMIT("reservation", memory.reservation),
	LIMIT("swap", memory.swap),
	LIMIT("kernel", memory.kernel),
	LIMIT("kernelTCP", memory.kernel_tcp),
	COUNT("swappiness", memory.swappiness),
	JSON_OPT_BOOL("disableOOMKiller", struct oci_resources, memory.disable_oom_killer),
	JSON_OPT_BOOL("useHierarchy", struct oci_resources, memory.use_hierarchy),
	JSON_OPT_BOOL("checkBeforeUpdate", struct oci_resources, memory.check_before_update),
	JSON_END,
};

static const struct json_member cpu_members[] = {
	COUNT("shares", cpu.shares),
	LIMIT("quota", cpu.quota),
	COUNT("burst", cpu.burst),
	COUNT("period", cpu.period),
	LIMIT("realtimeRuntime", cpu.realtime_runtime),
	COUNT("realtimePeriod", cpu.realtime_period),
	LIMIT("idle", cpu.idle),
	JSON_STRING("cpus", struct oci_resources, cpu.cpus),
	JSON_STRING("mems", struct oci_resources, cpu.mems),
	JSON_END,
};

#define DEVICE_NUMBER(key, type, field)                                                \
	{                                                                              \
		.kind = JSON_I64_, .required = true, .name = (key), .max = UINT32_MAX, \
		.offset = offsetof(type, field)                                        \
	}

static const struct json_member weight_device_members[] = {
	DEVICE_NUMBER("major", struct oci_weight_device, major),
	DEVICE_NUMBER("minor", struct oci_weight_device, minor),
	JSON_NUMBER("weight", struct oci_weight_device, weight, 0, UINT16_MAX),
	JSON_NUMBER("leafWeight", struct oci_weight_device, leaf_weight, 0, UINT16_MAX),
	JSON_END,
};

static const struct json_member throttle_members[] = {
	DEVICE_NUMBER("major", struct oci_throttle, major),
	DEVICE_NUMBER("minor", struct oci_throttle, minor),
	JSON_U64("rate", struct oci_throttle, rate),
	JSON_END,
};

#define THROTTLE(name, field) \
	JSON_ARRAY(name, struct oci_resources, blkio.field.v, blkio.field.n, throttle_members)

static const struct json_member blkio_members[] = {
	JSON_NUMBER("weight", struct oci_resources, blkio.weight, 0, UINT16_MAX),
	JSON_NUMBER("leafWeight", struct oci_resources, blkio.leaf_weight, 0, UINT16_MAX),
	JSON_ARRAY("weightDevice", struct oci_resources, blkio.weight_device, blkio.weight_device_n,
		   weight_device_members),
	THROTTLE("throttleReadBpsDevice", read_bps),
	THROTTLE("throttleWriteBpsDevice", write_bps),
	THROTTLE("throttleReadIOPSDevice", read_iops),
	THROTTLE("throttleWriteIOPSDevice", write_iops),
	JSON_END,
};

static const struct json_member pids_members[] = {
	LIMIT("limit", pids_limit),
	JSON_END,
};

static const struct json_member hugepage_members[] = {
	JSON_STRING("pageSize", struct oci_hugepage_limit, page_size, .required = true),
	JSON_U64("limit", struct oci_hugepage_limit, limit, .required = true),
	JSON_END,
};

static const struct json_member ifprio_members[] = {
	JSON_STRING("name", struct oci_ifprio, name, .required = true),
	JSON_U32("priority", struct oci_ifprio, priority, .required = true),
	JSON_END,
};

static const struct json_member network_members[] = {
	JSON_NUMBER("classID", struct oci_resources, network.class_id, 0, UINT32_MAX),
	JSON_ARRAY("priorities", struct oci_resources, network.priorities, network.priorities_n,
		   ifprio_members),
	JSON_END,
};

static int read_rdma(struct json_reader *r, const struct json_at *at, const char *key,
		     const struct json_value *v, void *item)
{
	static const struct json_member members[] = {
		JSON_NUMBER("hcaHandles", struct oci_rdma, hca_handles, 0, UINT32_MAX),
		JSON_NUMBER("hcaObjects", struct oci_rdma, hca_objects, 0, UINT32_MAX),
		JSON_END,
	};
	struct oci_rdma *d = item;

	d->device = key;
	return json_read_members(r, at, members, v, d);
}

static int read_rdmas(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		      void *dest)
{
	struct oci_resources *res = container_of(dest, struct oci_resources, rdma);
	void *items = NULL;
	int err = read_named(r, at, v, sizeof(*res->rdma), read_rdma, &items, &res->rdma_n);

	res->rdma = items;
	return err;
}

static const struct json_member resources_members[] = {
	JSON_CALL("devices", struct oci_resources, devices, read_rules),
	JSON_FLAT("memory", memory_members),
	JSON_FLAT("cpu", cpu_members),
	JSON_FLAT("pids", pids_members),
	JSON_FLAT("blockIO", blkio_members),
	JSON_ARRAY("hugepageLimits", struct oci_resources, hugepages, hugepages_n,
		   hugepage_members),
	JSON_FLAT("network", network_members),
	JSON_CALL("rdma", struct oci_resources, rdma, read_rdmas),
	JSON_MAP("unified", struct oci_resources, unified),
	JSON_END,
};

int oci_read_resources(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		       void *dest)
{
	struct oci_resources *res = arena_alloc(r->arena, sizeof(*res));

	if (!res)
		return json_fail(r, at, "too large");
	*(struct oci_resources **)dest = res;
	return json_read_members(r, at, resources_members, v, res);
}

/* Seccomp */

const struct json_word oci_seccomp_action_words[] = {
	{ "SCMP_ACT_KILL", OCI_SECCOMP_KILL_THREAD },
	{ "SCMP_ACT_KILL_THREAD", OCI_SECCOMP_KILL_THREAD },
	{ "SCMP_ACT_KILL_PROCESS", OCI_SECCOMP_KILL_PROCESS },
	{ "SCMP_ACT_TRAP", OCI_SECCOMP_TRAP },
	{ "SCMP_ACT_ERRNO", OCI_SECCOMP_ERRNO },
	{ "SCMP_ACT_TRACE", OCI_SECCOMP_TRACE },
	{ "SCMP_ACT_ALLOW", OCI_SECCOMP_ALLOW },
	{ "SCMP_ACT_LOG", OCI_SECCOMP_LOG },
	{ "SCMP_ACT_NOTIFY", OCI_SECCOMP_NOTIFY },
	{ NULL, 0 },
};

const struct json_word oci_seccomp_op_words[] = {
	{ "SCMP_CMP_NE", OCI_CMP_NE },
	{ "SCMP_CMP_LT", OCI_CMP_LT },
	{ "SCMP_CMP_LE", OCI_CMP_LE },
	{ "SCMP_CMP_EQ", OCI_CMP_EQ },
	{ "SCMP_CMP_GE", OCI_CMP_GE },
	{ "SCMP_CMP_GT", OCI_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", OCI_CMP_MASKED_EQ },
	{ NULL, 0 },
};

static const struct json_member arg_members[] = {
	{ .kind = JSON_U32_,
	  .required = true,
	  .name = "index",
	  .max = 5,
	  .offset = offsetof(struct oci_seccomp_arg, index) },
	JSON_U64("value", struct oci_seccomp_arg, value, .required = true),
	JSON_U64("valueTwo", struct oci_seccomp_arg, value_two),
	JSON_ENUM("op", struct oci_seccomp_arg, op, oci_seccomp_op_words, .required = true),
	JSON_END,
};

static const struct json_member seccomp_rule_members[] = {
	JSON_STRINGS("names", struct oci_seccomp_rule, names, .required = true),
	JSON_ENUM("action", struct oci_seccomp_rule, action, oci_seccomp_action_words,
		  .required = true),
	JSON_NUMBER("errnoRet", struct oci_seccomp_rule, errno_ret, 0, 4095),
	JSON_ARRAY("args", struct oci_seccomp_rule, args, args_n, arg_members),
	JSON_END,
};

static const struct json_member seccomp_members[] = {
	JSON_ENUM("defaultAction", struct oci_seccomp, default_action, oci_seccomp_action_words,
		  .required = true),
	JSON_NUMBER("defaultErrnoRet", struct oci_seccomp, default_errno_ret, 0, 4095),
	JSON_STRINGS("architectures", struct oci_seccomp, architectures),
	JSON_STRINGS("flags", struct oci_seccomp, flags),
	JSON_PATH("listenerPath", struct oci_seccomp, listener_path),
	JSON_STRING("listenerMetadata", struct oci_seccomp, listener_metadata),
	JSON_ARRAY("syscalls", struct oci_seccomp, rules, rules_n, seccomp_rule_members),
	JSON_END,
};

int oci_read_seccomp(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		     void *dest)
{
	struct oci_seccomp *s = arena_alloc(r->arena, sizeof(*s));

	if (!s)
		return json_fail(r, at, "too large");
	*(struct oci_seccomp **)dest = s;
	int err = json_read_members(r, at, seccomp_members, v, s);

	for (size_t i = 0; i < s->rules_n && !err; i++) {
		struct json_at list = { at, "syscalls", 0 }, here = { &list, NULL, i };

		if (!s->rules[i].names.n)
			err = json_fail(r, &here, "names: expected at least one");
	}
	return err;
}

/* The rest */

static int read_propagation(struct json_reader *r, const struct json_at *at,
			    const struct json_value *v, void *dest)
{
	static const char *const known[] = { "private", "rprivate", "slave",	  "rslave",
					     "shared",	"rshared",  "unbindable", "runbindable" };
	const char **s = dest;
	int err = json_read_string(r, at, v, s);

	if (err)
		return err;
	if (!**s) {
		*s = NULL;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (streq(known[i], *s))
			return 0;
	return json_fail(r, at, "'%.40s' is no propagation", *s);
}

static int read_personality(struct json_reader *r, const struct json_at *at,
			    const struct json_value *v, void *dest)
{
	static const struct json_word words[] = { { "LINUX", PER_LINUX },
						  { "LINUX32", PER_LINUX32 },
						  { NULL, 0 } };
	struct domain {
		int domain;
		struct oci_strings flags;
	} d = { 0, { NULL, 0 } };
	static const struct json_member members[] = {
		JSON_ENUM("domain", struct domain, domain, words, .required = true),
		JSON_STRINGS("flags", struct domain, flags),
		JSON_END,
	};
	int err = json_read_members(r, at, members, v, &d);

	if (!err && d.flags.n)
		err = json_fail(r, at, "flags: no flag is supported");
	*(struct oci_num *)dest = (struct oci_num){ true, d.domain };
	return err;
}

static const struct json_member rdt_members[] = {
	JSON_STRING("closID", struct oci_linux, intel_rdt.clos_id),
	JSON_STRING("l3CacheSchema", struct oci_linux, intel_rdt.l3_cache_schema),
	JSON_STRING("memBwSchema", struct oci_linux, intel_rdt.mem_bw_schema),
	JSON_STRINGS("schemata", struct oci_linux, intel_rdt.schemata),
	JSON_BOOL("enableMonitoring", struct oci_linux, intel_rdt.enable_monitoring),
	JSON_END,
};

static int read_rdt(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		    void *dest)
{
	struct oci_linux *l = container_of(dest, struct oci_linux, intel_rdt);

	l->intel_rdt.present = true;
	return json_read_members(r, at, rdt_members, v, l);
}

const struct json_word oci_mpol_words[] = {
	{ "MPOL_DEFAULT", MPOL_DEFAULT },  { "MPOL_PREFERRED", MPOL_PREFERRED },
	{ "MPOL_BIND", MPOL_BIND },	   { "MPOL_INTERLEAVE", MPOL_INTERLEAVE },
	{ "MPOL_LOCAL", MPOL_LOCAL },	   { "MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY },
	{ "MPOL_WEIGHTED_INTERLEAVE", 6 }, { NULL, 0 },
};

const struct json_word oci_mpol_flag_words[] = {
	{ "MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES },
	{ "MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES },
	{ "MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING },
	{ NULL, 0 },
};

static const struct json_member mpol_members[] = {
	JSON_ENUM("mode", struct oci_linux, memory_policy.mode, oci_mpol_words, .required = true),
	JSON_STRING("nodes", struct oci_linux, memory_policy.nodes),
	JSON_FLAGS("flags", struct oci_linux, memory_policy.flags, oci_mpol_flag_words),
	JSON_END,
};

static int read_mpol(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		     void *dest)
{
	struct oci_linux *l = container_of(dest, struct oci_linux, memory_policy);

	l->memory_policy.present = true;
	return json_read_members(r, at, mpol_members, v, l);
}

static const struct json_member linux_members[] = {
	JSON_CALL("namespaces", struct oci_linux, ns, read_namespaces),
	JSON_CALL("uidMappings", struct oci_linux, uid_mappings, oci_read_id_mappings),
	JSON_CALL("gidMappings", struct oci_linux, gid_mappings, oci_read_id_mappings),
	JSON_FLAT("timeOffsets", time_members),
	JSON_CALL("devices", struct oci_linux, devices, read_devices),
	JSON_CALL("netDevices", struct oci_linux, net_devices, read_net_devices),
	JSON_STRING("cgroupsPath", struct oci_linux, cgroups_path),
	JSON_CALL("resources", struct oci_linux, resources, oci_read_resources),
	JSON_CALL("rootfsPropagation", struct oci_linux, rootfs_propagation, read_propagation),
	JSON_MAP("sysctl", struct oci_linux, sysctl),
	JSON_CALL("seccomp", struct oci_linux, seccomp, oci_read_seccomp),
	JSON_STRINGS("maskedPaths", struct oci_linux, masked_paths),
	JSON_STRINGS("readonlyPaths", struct oci_linux, readonly_paths),
	JSON_STRING("mountLabel", struct oci_linux, mount_label),
	JSON_CALL("personality", struct oci_linux, personality, read_personality),
	JSON_CALL("intelRdt", struct oci_linux, intel_rdt, read_rdt),
	JSON_CALL("memoryPolicy", struct oci_linux, memory_policy, read_mpol),
	JSON_END,
};

int oci_read_linux(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		   void *dest)
{
	struct oci_linux *l = arena_alloc(r->arena, sizeof(*l));

	if (!l)
		return json_fail(r, at, "too large");
	*(struct oci_linux **)dest = l;
	int err = json_read_members(r, at, linux_members, v, l);

	if (!err && (l->monotonic.set || l->boottime.set) &&
	    !(l->ns[OCI_NS_TIME].present && !l->ns[OCI_NS_TIME].path))
		err = json_fail(r, at, "timeOffsets: there is no new time namespace");
	return err;
}
