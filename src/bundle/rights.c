/*
 * What an instance may do: capabilities, security options, hidden and read-only paths of /proc and /sys,
 * kernel parameters. Defaults are docker's, because images are written against them.
 *
 * Trust: the options are the user's; a profile file is parsed by wire/. Threads: none.
 * #syscalls: none
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bundle/make_int.h"
#include "bundle/seccomp.h"
#include "wire/caps.h"

#define MASKED                                                                                 \
	"/proc/acpi,/proc/asound,/proc/interrupts,/proc/kcore,/proc/keys,/proc/latency_stats," \
	"/proc/timer_list,/proc/timer_stats,/proc/sched_debug,/proc/scsi,/sys/firmware,"       \
	"/sys/devices/virtual/powercap"
#define READONLY "/proc/bus,/proc/fs,/proc/irq,/proc/sys,/proc/sysrq-trigger"

static uint64_t all_caps(void)
{
	return (1ull << cap_count()) - 1;
}

static int cap_bits(struct make *m, const char *option, const char *wish, uint64_t *out)
{
	int cap = cap_from_name(wish);

	if (strcasecmp(wish, "ALL") == 0)
		*out = all_caps();
	else if (cap >= 0)
		*out = 1ull << cap;
	else
		return err_set(m->e, -EINVAL, "%s '%s': no such capability", option, wish);
	return 0;
}

static uint64_t docker_default(void)
{
	static const unsigned int bits[] = { 0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31 };
	uint64_t set = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		set |= 1ull << bits[i];
	return set;
}

/* Default, then what is dropped, then what is added; ALL in one list leaves the other the last word. */
static int collect_caps(struct make *m, uint64_t *out)
{
	uint64_t add = 0, drop = 0, bits;
	int r;

	for (size_t i = 0; i < m->o->cap_add.n; i++, add |= bits)
		if ((r = cap_bits(m, "--cap-add", m->o->cap_add.v[i], &bits)))
			return r;
	for (size_t i = 0; i < m->o->cap_drop.n; i++, drop |= bits)
		if ((r = cap_bits(m, "--cap-drop", m->o->cap_drop.v[i], &bits)))
			return r;
	if (m->o->privileged)
		*out = all_caps() & ~drop;
	else if (drop == all_caps())
		*out = add;
	else if (add == all_caps())
		*out = all_caps() & ~drop;
	else
		*out = (docker_default() & ~drop) | add;
	return 0;
}

static void cap_list(struct make *m, struct json_object *in, const char *key, uint64_t set)
{
	struct json_object *list = make_list(m, in, key);

	for (int i = 0; i < cap_count(); i++)
		if (set & 1ull << i)
			make_item(m, list, cap_name(i));
}

static void make_caps(struct make *m, uint64_t set)
{
	struct json_object *caps = make_object(m, m->process, "capabilities");

	/* A process that is not root would lose these two by execve anyway. */
	cap_list(m, caps, "bounding", set);
	cap_list(m, caps, "effective", m->uid ? 0 : set);
	cap_list(m, caps, "permitted", m->uid ? 0 : set);
}

struct security {
	bool no_new_privileges, paths_unconfined;
	const char *seccomp; /* NULL: the default; "unconfined"; a file */
	const char *label[4];
};

static const struct {
	const char *word, *usual;
} label_parts[] = { { "user:", "system_u" },
		    { "role:", "system_r" },
		    { "type:", "container_t" },
		    { "level:", "s0" } };

static int label_option(struct make *m, const char *value, const char *wish, struct security *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(label_parts); i++) {
		const char *rest = str_after(value, label_parts[i].word);

		if (rest && *rest) {
			s->label[i] = rest;
			return 0;
		}
	}
	return err_set(
		m->e, -EINVAL,
		"--security-opt '%s': expected label=disable, label=user:USER, label=role:ROLE, "
		"label=type:TYPE or label=level:LEVEL",
		wish);
}

/* SELinux's name for what the command may do; parts that nobody gave are those of containers. */
static void make_label(struct make *m, const struct security *s)
{
	const char *part[ARRAY_SIZE(label_parts)];
	char label[512];
	bool given = false;

	for (size_t i = 0; i < ARRAY_SIZE(label_parts); i++) {
		part[i] = s->label[i] ? s->label[i] : label_parts[i].usual;
		given |= s->label[i] != NULL;
	}
	snprintf(label, sizeof(label), "%s:%s:%s:%s", part[0], part[1], part[2], part[3]);
	if (given)
		make_string(m, m->process, "selinuxLabel", label);
}

static int security_option(struct make *m, const char *wish, struct security *s)
{
	size_t n = strcspn(wish, "=:");
	const char *value = wish[n] ? wish + n + 1 : "";

	if (strncmp(wish, "no-new-privileges", n) == 0 && n == 17) {
		if (str_to_bool(*value ? value : "true", &s->no_new_privileges))
			return err_set(m->e, -EINVAL, "--security-opt '%s': not true or false",
				       wish);
	} else if (strncmp(wish, "seccomp", n) == 0 && n == 7 && *value) {
		s->seccomp = streq(value, "builtin") ? NULL : value;
	} else if (strncmp(wish, "apparmor", n) == 0 && n == 8 && *value) {
		if (!streq(value, "unconfined"))
			make_string(m, m->process, "apparmorProfile", value);
	} else if (strncmp(wish, "label", n) == 0 && n == 5 && *value) {
		return streq(value, "disable") ? 0 : label_option(m, value, wish, s);
	} else if (strncmp(wish, "systempaths", n) == 0 && n == 11 && streq(value, "unconfined")) {
		s->paths_unconfined = true;
	} else {
		return err_set(m->e, -EINVAL,
			       "--security-opt '%s': expected no-new-privileges, "
			       "seccomp=unconfined|FILE, apparmor=PROFILE, label=... or "
			       "systempaths=unconfined",
			       wish);
	}
	return 0;
}

static int make_seccomp(struct make *m, const struct security *s, uint64_t caps)
{
	struct json_object *profile = NULL;
	int r = 0;

	if (s->seccomp ? streq(s->seccomp, "unconfined") : m->o->privileged)
		return 0;
	if (s->seccomp)
		r = bundle_seccomp_file(s->seccomp, caps, &profile, m->e);
	else
		r = bundle_seccomp_default(caps, &profile, m->e);
	if (r)
		return err_wrap(m->e, "seccomp profile");
	if (profile)
		make_set(m, m->linux_, "seccomp", profile);
	return 0;
}

/* Kernel parameters that belong to a namespace of the instance. */
static int make_sysctls(struct make *m)
{
	static const char *const ipc[] = { "kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue." };

	if (!m->o->sysctls.n)
		return 0;
	struct json_object *map = make_object(m, m->linux_, "sysctl");

	for (size_t i = 0; i < m->o->sysctls.n; i++) {
		const char *wish = m->o->sysctls.v[i], *eq = strchr(wish, '=');
		char key[128];
		bool ours = false;

		if (!eq || eq == wish || (size_t)(eq - wish) >= sizeof(key))
			return err_set(m->e, -EINVAL, "--sysctl '%s': expected NAME=VALUE", wish);
		memcpy(key, wish, (size_t)(eq - wish));
		key[eq - wish] = '\0';
		for (size_t k = 0; k < ARRAY_SIZE(ipc); k++)
			ours |= str_after(key, ipc[k]) && !m->host_ipc;
		ours |= str_after(key, "net.") && !m->host_net;
		ours |= streq(key, "kernel.domainname") && !m->host_uts;
		if (!ours)
			return err_set(m->e, -EPERM,
				       "--sysctl '%s': '%s' belongs to no namespace of the "
				       "instance: it would change the host",
				       wish, key);
		make_string(m, map, key, eq + 1);
	}
	return 0;
}

int make_rights(struct make *m)
{
	struct security s = { .seccomp = NULL };
	uint64_t caps;
	int r = collect_caps(m, &caps);

	for (size_t i = 0; !r && i < m->o->security_opt.n; i++)
		r = security_option(m, m->o->security_opt.v[i], &s);
	if (r)
		return r;
	make_caps(m, caps);
	make_bool(m, m->process, "noNewPrivileges", s.no_new_privileges);
	if (!m->o->privileged && !s.paths_unconfined) {
		make_words(m, m->linux_, "maskedPaths", MASKED);
		make_words(m, m->linux_, "readonlyPaths", READONLY);
	}
	make_label(m, &s);
	r = make_seccomp(m, &s, caps);
	return r ? r : make_sysctls(m);
}
