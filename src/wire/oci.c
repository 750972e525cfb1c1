/*
 * config.json: the parser of the runtime-spec 1.3, all but the `linux` object (wire/oci_linux.c).
 *
 * Each object of the specification is one table of members (wire/json.h). What a table cannot say
 * (no duplicate rlimit, a path that must be absolute) is a small function beside it. Capabilities
 * that this kernel's headers do not know are left out with a warning, as the specification asks.
 *
 * Trust: the document is hostile; nothing is used before its type and range were checked. Threads:
 * none of its own. #syscalls: none
 */
#include "wire/oci.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/str.h"
#include "base/util.h"
#include "wire/caps.h"
#include "wire/json.h"
#include "wire/oci_int.h"

enum { SPEC_MAX = 8 << 20, SPEC_ARENA_MAX = 64 << 20 };

struct spec_memory {
	struct arena arena;
	struct json_value doc;
	struct oci_spec spec;
};

static int read_caps(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		     void *dest)
{
	uint64_t *set = dest;

	if (v->type != JSON_TYPE_ARRAY)
		return json_fail(r, at, "expected an array");
	for (size_t i = 0; i < v->n; i++) {
		struct json_at here = { at, NULL, i };
		const char *name;
		int err = json_read_string(r, &here, &v->items[i], &name);

		if (err)
			return err;
		int cap = cap_from_name(name);

		if (cap < 0)
			log_warn("%s: unknown capability '%s' is left out", r->name, name);
		else
			*set |= 1ULL << cap;
	}
	return 0;
}

static const struct json_member caps_members[] = {
	JSON_CALL("bounding", struct oci_caps, bounding, read_caps),
	JSON_CALL("effective", struct oci_caps, effective, read_caps),
	JSON_CALL("inheritable", struct oci_caps, inheritable, read_caps),
	JSON_CALL("permitted", struct oci_caps, permitted, read_caps),
	JSON_CALL("ambient", struct oci_caps, ambient, read_caps),
	JSON_END,
};

static const struct json_word rlimit_words[] = {
	{ "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_STACK", RLIMIT_STACK },
	{ NULL, 0 },
};

static const struct json_member rlimit_members[] = {
	JSON_ENUM("type", struct oci_rlimit, resource, rlimit_words, .required = true),
	JSON_U64("soft", struct oci_rlimit, soft, .required = true),
	JSON_U64("hard", struct oci_rlimit, hard, .required = true),
	JSON_END,
};

static const struct json_word policy_words[] = {
	{ "SCHED_OTHER", SCHED_OTHER },
	{ "SCHED_FIFO", SCHED_FIFO },
	{ "SCHED_RR", SCHED_RR },
	{ "SCHED_BATCH", SCHED_BATCH },
	{ "SCHED_ISO", 4 },
	{ "SCHED_IDLE", SCHED_IDLE },
	{ "SCHED_DEADLINE", SCHED_DEADLINE },
	{ NULL, 0 },
};

static const struct json_word sched_flag_words[] = {
	{ "SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK },
	{ "SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM },
	{ "SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN },
	{ "SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY },
	{ "SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS },
	{ "SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX },
	{ NULL, 0 },
};

static const struct json_member scheduler_members[] = {
	JSON_ENUM("policy", struct oci_scheduler, policy, policy_words, .required = true),
	JSON_I32("nice", struct oci_scheduler, nice, -20, 19),
	JSON_I32("priority", struct oci_scheduler, priority, 0, 99),
	JSON_FLAGS("flags", struct oci_scheduler, flags, sched_flag_words),
	JSON_U64("runtime", struct oci_scheduler, runtime),
	JSON_U64("deadline", struct oci_scheduler, deadline),
	JSON_U64("period", struct oci_scheduler, period),
	JSON_END,
};

static const struct json_word ioprio_words[] = {
	{ "IOPRIO_CLASS_RT", IOPRIO_CLASS_RT },
	{ "IOPRIO_CLASS_BE", IOPRIO_CLASS_BE },
	{ "IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE },
	{ NULL, 0 },
};

static const struct json_member ioprio_members[] = {
	JSON_ENUM("class", struct oci_process, io_priority.class, ioprio_words, .required = true),
	JSON_I32("priority", struct oci_process, io_priority.priority, 0, 7),
	JSON_END,
};

static int read_ioprio(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		       void *dest)
{
	struct oci_process *p = container_of(dest, struct oci_process, io_priority);

	p->io_priority.set = true;
	return json_read_members(r, at, ioprio_members, v, p);
}

static int read_gids(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		     void *dest)
{
	struct oci_process *p = container_of(dest, struct oci_process, additional_gids);

	if (v->type != JSON_TYPE_ARRAY)
		return json_fail(r, at, "expected an array");
	size_t n = v->n;

	if (n > 65536)
		return json_fail(r, at, "expected at most 65536 groups");
	p->additional_gids = arena_calloc(r->arena, n + 1, sizeof(*p->additional_gids));
	if (!p->additional_gids)
		return json_fail(r, at, "too large");
	for (size_t i = 0; i < n; i++) {
		struct json_at here = { at, NULL, i };
		int64_t gid = 0;
		int err = json_read_int(r, &here, &v->items[i], 0, UINT32_MAX, &gid);

		if (err)
			return err;
		p->additional_gids[p->additional_gids_n++] = (uint32_t)gid;
	}
	return 0;
}

static const struct json_member console_size_members[] = {
	JSON_U16("height", struct oci_process, rows),
	JSON_U16("width", struct oci_process, cols),
	JSON_END,
};

static const struct json_member user_members[] = {
	JSON_U32("uid", struct oci_process, uid),
	JSON_U32("gid", struct oci_process, gid),
	JSON_NUMBER("umask", struct oci_process, umask, 0, 0777),
	JSON_CALL("additionalGids", struct oci_process, additional_gids, read_gids),
	JSON_STRING("username", struct oci_process, username),
	JSON_END,
};

static const struct json_member affinity_members[] = {
	JSON_STRING("initial", struct oci_process, cpu_affinity_initial),
	JSON_STRING("final", struct oci_process, cpu_affinity_final),
	JSON_END,
};

static const struct json_member process_members[] = {
	JSON_BOOL("terminal", struct oci_process, terminal),
	JSON_FLAT("consoleSize", console_size_members),
	JSON_FLAT("user", user_members),
	JSON_STRINGS("args", struct oci_process, args),
	JSON_STRINGS("env", struct oci_process, env),
	JSON_PATH("cwd", struct oci_process, cwd, .required = true),
	JSON_NEW("capabilities", struct oci_process, caps, caps_members),
	JSON_ARRAY("rlimits", struct oci_process, rlimits, rlimits_n, rlimit_members),
	JSON_BOOL("noNewPrivileges", struct oci_process, no_new_privileges),
	JSON_STRING("apparmorProfile", struct oci_process, apparmor_profile),
	JSON_STRING("selinuxLabel", struct oci_process, selinux_label),
	JSON_NUMBER("oomScoreAdj", struct oci_process, oom_score_adj, -1000, 1000),
	JSON_NEW("scheduler", struct oci_process, scheduler, scheduler_members),
	JSON_CALL("ioPriority", struct oci_process, io_priority, read_ioprio),
	JSON_FLAT("execCPUAffinity", affinity_members),
	JSON_END,
};

static int check_process(struct json_reader *r, const struct json_at *at,
			 const struct oci_process *p)
{
	uint32_t seen = 0;

	for (size_t i = 0; i < p->rlimits_n; i++) {
		struct json_at list = { at, "rlimits", 0 }, here = { &list, NULL, i };

		if (seen & 1u << p->rlimits[i].resource)
			return json_fail(r, &here, "this type was given before");
		if (p->rlimits[i].soft > p->rlimits[i].hard)
			return json_fail(r, &here, "soft is larger than hard");
		seen |= 1u << p->rlimits[i].resource;
	}
	for (size_t i = 0; i < p->env.n; i++) {
		struct json_at list = { at, "env", 0 }, here = { &list, NULL, i };

		if (!strchr(p->env.v[i], '=') || p->env.v[i][0] == '=')
			return json_fail(r, &here, "'%.60s': expected NAME=VALUE", p->env.v[i]);
	}
	return 0;
}

static int read_process(struct json_reader *r, const struct json_at *at, const struct json_value *v,
			void *dest)
{
	struct oci_process *p = arena_alloc(r->arena, sizeof(*p));

	if (!p)
		return json_fail(r, at, "too large");
	*(struct oci_process **)dest = p;
	int err = json_read_members(r, at, process_members, v, p);

	return err ? err : check_process(r, at, p);
}

static const struct json_member mapping_members[] = {
	JSON_U32("containerID", struct oci_id_mapping, container_id, .required = true),
	JSON_U32("hostID", struct oci_id_mapping, host_id, .required = true),
	{ .kind = JSON_U32_,
	  .required = true,
	  .name = "size",
	  .min = 1,
	  .max = UINT32_MAX,
	  .offset = offsetof(struct oci_id_mapping, size) },
	JSON_END,
};

int oci_read_id_mappings(struct json_reader *r, const struct json_at *at,
			 const struct json_value *v, void *dest)
{
	static const struct json_member list[] = {
		JSON_ARRAY("", struct oci_id_mappings, v, n, mapping_members),
		JSON_END,
	};
	struct oci_id_mappings *m = dest;

	if (v->type != JSON_TYPE_ARRAY)
		return json_fail(r, at, "expected an array");
	size_t n = v->n;

	/* The kernel takes no more (user_namespaces(7)). */
	if (n > 340)
		return json_fail(r, at, "expected at most 340 mappings");
	m->v = arena_calloc(r->arena, n + 1, sizeof(*m->v));
	if (!m->v)
		return json_fail(r, at, "too large");
	for (size_t i = 0; i < n; i++) {
		struct json_at here = { at, NULL, i };
		int err = json_read_members(r, &here, list[0].members, &v->items[i], &m->v[i]);

		if (err)
			return err;
		if (m->v[i].container_id > UINT32_MAX - m->v[i].size ||
		    m->v[i].host_id > UINT32_MAX - m->v[i].size)
			return json_fail(r, &here, "the range ends beyond the largest id");
		m->n = i + 1;
	}
	return 0;
}

static const struct json_member mount_members[] = {
	JSON_STRING("destination", struct oci_mount, destination, .required = true),
	JSON_STRING("source", struct oci_mount, source),
	JSON_STRING("type", struct oci_mount, type),
	JSON_STRINGS("options", struct oci_mount, options),
	JSON_CALL("uidMappings", struct oci_mount, uid_mappings, oci_read_id_mappings),
	JSON_CALL("gidMappings", struct oci_mount, gid_mappings, oci_read_id_mappings),
	JSON_END,
};

static const struct json_member hook_members[] = {
	JSON_PATH("path", struct oci_hook, path, .required = true),
	JSON_STRINGS("args", struct oci_hook, args),
	JSON_STRINGS("env", struct oci_hook, env),
	JSON_I32("timeout", struct oci_hook, timeout, 1, INT32_MAX),
	JSON_END,
};

#define HOOK(name, stage) \
	JSON_ARRAY(name, struct oci_spec, hooks[stage].v, hooks[stage].n, hook_members)

static const struct json_member hooks_members[] = {
	HOOK("prestart", OCI_HOOK_PRESTART),
	HOOK("createRuntime", OCI_HOOK_CREATE_RUNTIME),
	HOOK("createContainer", OCI_HOOK_CREATE_CONTAINER),
	HOOK("startContainer", OCI_HOOK_START_CONTAINER),
	HOOK("poststart", OCI_HOOK_POSTSTART),
	HOOK("poststop", OCI_HOOK_POSTSTOP),
	JSON_END,
};

static const struct json_member root_members[] = {
	JSON_STRING("path", struct oci_spec, root_path, .required = true),
	JSON_BOOL("readonly", struct oci_spec, root_readonly),
	JSON_END,
};

static const struct json_member vm_hypervisor_members[] = {
	JSON_PATH("path", struct oci_vm, hypervisor_path, .required = true),
	JSON_STRINGS("parameters", struct oci_vm, hypervisor_parameters),
	JSON_END,
};

static const struct json_member vm_kernel_members[] = {
	JSON_PATH("path", struct oci_vm, kernel_path, .required = true),
	JSON_PATH("initrd", struct oci_vm, kernel_initrd),
	JSON_STRINGS("parameters", struct oci_vm, kernel_parameters),
	JSON_END,
};

static const struct json_member vm_image_members[] = {
	JSON_PATH("path", struct oci_vm, image_path, .required = true),
	JSON_STRING("format", struct oci_vm, image_format, .required = true),
	JSON_END,
};

static const struct json_member vm_hw_members[] = {
	JSON_NUMBER("vcpus", struct oci_vm, vcpus, 1, 1024),
	JSON_NUMBER("memory", struct oci_vm, memory, 1, INT64_MAX),
	JSON_END,
};

static const struct json_member vm_members[] = {
	JSON_FLAT("hypervisor", vm_hypervisor_members),
	JSON_FLAT("kernel", vm_kernel_members),
	JSON_FLAT("image", vm_image_members),
	JSON_FLAT("hwConfig", vm_hw_members),
	JSON_END,
};

static int read_version(struct json_reader *r, const struct json_at *at, const struct json_value *v,
			void *dest)
{
	const char **version = dest;
	int err = json_read_string(r, at, v, version);

	if (!err && !str_after(*version, "1."))
		return json_fail(r, at, "'%.40s' is not supported: expected 1.x", *version);
	return err;
}

static const struct json_member spec_members[] = {
	JSON_CALL("ociVersion", struct oci_spec, oci_version, read_version, .required = true),
	JSON_FLAT("root", root_members),
	JSON_STRING("hostname", struct oci_spec, hostname),
	JSON_STRING("domainname", struct oci_spec, domainname),
	JSON_ARRAY("mounts", struct oci_spec, mounts, mounts_n, mount_members),
	JSON_CALL("process", struct oci_spec, process, read_process),
	JSON_FLAT("hooks", hooks_members),
	JSON_MAP("annotations", struct oci_spec, annotations),
	JSON_CALL("linux", struct oci_spec, linux_, oci_read_linux),
	JSON_NEW("vm", struct oci_spec, vm, vm_members),
	JSON_END,
};

enum part { PART_SPEC, PART_PROCESS, PART_RESOURCES, PART_SECCOMP };

static int parse(const char *json, size_t n, const char *name, enum part part,
		 struct oci_spec **out, struct err *e)
{
	struct spec_memory *m = calloc(1, sizeof(*m));

	if (!m)
		return err_sys(e, -ENOMEM, "%s", name);
	m->spec.memory = m;
	arena_init(&m->arena, SPEC_ARENA_MAX);
	struct json_reader r = { &m->arena, name, e };
	int err = json_tree_parse(json, n, SPEC_MAX, name, &m->arena, &m->doc, e);

	if (!err && part != PART_SPEC && part != PART_PROCESS) {
		m->spec.linux_ = arena_alloc(&m->arena, sizeof(*m->spec.linux_));
		if (!m->spec.linux_)
			err = err_sys(e, -ENOMEM, "%s", name);
	}
	if (err)
		goto fail;
	if (part == PART_PROCESS)
		err = read_process(&r, NULL, &m->doc, &m->spec.process);
	else if (part == PART_RESOURCES)
		err = oci_read_resources(&r, NULL, &m->doc, &m->spec.linux_->resources);
	else if (part == PART_SECCOMP)
		err = oci_read_seccomp(&r, NULL, &m->doc, &m->spec.linux_->seccomp);
	else
		err = json_read_members(&r, NULL, spec_members, &m->doc, &m->spec);
	if (!err && part == PART_SPEC && !m->spec.root_path && !m->spec.vm)
		err = err_set(e, -EINVAL, "%s: root: missing", name);
	if (err)
		goto fail;
	*out = &m->spec;
	return 0;
fail:
	oci_spec_free(&m->spec);
	return err;
}

int oci_spec_parse(const char *json, size_t n, const char *name, struct oci_spec **out,
		   struct err *e)
{
	return parse(json, n, name, PART_SPEC, out, e);
}

int oci_process_parse(const char *json, size_t n, const char *name, struct oci_spec **out,
		      struct err *e)
{
	return parse(json, n, name, PART_PROCESS, out, e);
}

int oci_resources_parse(const char *json, size_t n, const char *name, struct oci_spec **out,
			struct err *e)
{
	return parse(json, n, name, PART_RESOURCES, out, e);
}

int oci_seccomp_parse(const char *json, size_t n, const char *name, struct oci_spec **out,
		      struct err *e)
{
	return parse(json, n, name, PART_SECCOMP, out, e);
}

void oci_spec_free(struct oci_spec *s)
{
	if (!s)
		return;
	struct spec_memory *m = s->memory;

	arena_fini(&m->arena);
	free(m);
}

const char *oci_annotation(const struct oci_spec *s, const char *key)
{
	for (size_t i = 0; i < s->annotations.n; i++)
		if (streq(s->annotations.v[i].key, key))
			return s->annotations.v[i].value;
	return NULL;
}
