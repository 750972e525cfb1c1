/*
 * Checks of the host's control groups: which hierarchies are mounted, which controllers they have, and
 * whether this user may make groups of its own.
 *
 * Trust: reads the kernel's own files. Threads: none. #syscalls: openat read close access geteuid
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "run/doctor_int.h"

struct hierarchies {
	char v1[256];	   /* controllers of all v1 hierarchies, blank-separated */
	char v2[256];	   /* controllers of the v2 tree */
	char v2_path[256]; /* "" when there is none */
	char closed[256];  /* v1 hierarchies that this user may not write to */
	int v1_count;
};

static void add_word(char *list, size_t size, const char *word)
{
	size_t used = strlen(list);

	if (!doctor_has_word(list, word))
		snprintf(list + used, size - used, "%s%s", used ? " " : "", word);
}

/* The super options of a v1 mount name its controllers, among "rw" and "name=". */
static void add_v1(struct hierarchies *h, const char *path, char *options)
{
	static const char *const known[] = { "cpu",	"cpuacct", "cpuset",   "memory",
					     "pids",	"blkio",   "devices",  "freezer",
					     "hugetlb", "net_cls", "net_prio", "perf_event",
					     "rdma",	"misc" };
	char first[32] = "";

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!doctor_has_word(options, known[i]))
			continue;
		add_word(h->v1, sizeof(h->v1), known[i]);
		if (!first[0])
			snprintf(first, sizeof(first), "%s", known[i]);
	}
	if (!first[0])
		return;
	h->v1_count++;
	if (access(path, W_OK) < 0)
		add_word(h->closed, sizeof(h->closed), first);
}

/* Lines of mountinfo: ID PARENT DEV ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS */
static void look(struct hierarchies *h)
{
	cleanup_fclose FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], point[1024], type[64], options[1024];

	*h = (struct hierarchies){ 0 };
	while (f && fgets(line, sizeof(line), f)) {
		const char *tail = strstr(line, " - ");

		if (!tail || sscanf(line, "%*s %*s %*s %*s %1023s", point) != 1 ||
		    sscanf(tail, " - %63s %*s %1023s", type, options) != 2)
			continue;
		if (streq(type, "cgroup"))
			add_v1(h, point, options);
		if (streq(type, "cgroup2") && !h->v2_path[0]) {
			char file[1100];

			snprintf(h->v2_path, sizeof(h->v2_path), "%.255s", point);
			snprintf(file, sizeof(file), "%s/cgroup.controllers", point);
			cleanup_free char *list = doctor_read(file);

			snprintf(h->v2, sizeof(h->v2), "%s", list ? list : "");
		}
	}
}

void check_cgroup_layout(struct doctor_finding *f)
{
	struct hierarchies h;

	look(&h);
	if (h.v1_count && h.v2[0])
		doctor_pass(f, "hybrid control groups: v1 has %s; v2 has %s", h.v1, h.v2);
	else if (h.v1_count)
		doctor_pass(f, "control groups v1%s: %s",
			    h.v2_path[0] ? " (and a v2 tree without controllers)" : "", h.v1);
	else if (h.v2_path[0])
		doctor_pass(f, "control groups v2 at %s: %s", h.v2_path, h.v2);
	else
		doctor_warn(f, "mount -t cgroup2 none /sys/fs/cgroup",
			    "no control groups are mounted: no limits, no accounting");
}

void check_cgroup_controllers(struct doctor_finding *f)
{
	static const struct {
		const char *v1, *v2;
	} wanted[] = { { "cpu", "cpu" },       { "memory", "memory" }, { "pids", "pids" },
		       { "cpuset", "cpuset" }, { "blkio", "io" },      { "hugetlb", "hugetlb" },
		       { "devices", NULL },    { "freezer", NULL } };
	struct hierarchies h;
	char missing[128] = "";

	look(&h);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		/* The v2 tree freezes without a controller and guards devices with BPF. */
		bool v2 = wanted[i].v2 ? doctor_has_word(h.v2, wanted[i].v2) : h.v2_path[0] != 0;

		if (!v2 && !doctor_has_word(h.v1, wanted[i].v1))
			add_word(missing, sizeof(missing), wanted[i].v1);
	}
	if (missing[0])
		doctor_warn(
			f,
			"enable the controllers (cgroup_enable=... on the kernel's command line, "
			"or mount their hierarchies)",
			"controllers missing: %s; limits that need them are refused", missing);
	else
		doctor_pass(f, "cpu memory pids cpuset io hugetlb devices freezer");
}

/* An ordinary user owns what systemd delegated: the directory of our own group in the v2 tree. */
void check_cgroup_delegation(struct doctor_finding *f)
{
	static const char mend[] =
		"log in through systemd, with Delegate=cpu cpuset io memory pids in user@.service";
	cleanup_free char *own = doctor_read("/proc/self/cgroup");
	struct hierarchies h;

	look(&h);
	if (geteuid() == 0) {
		if (h.closed[0] || (h.v2_path[0] && access(h.v2_path, W_OK) < 0))
			doctor_warn(f, "mount the hierarchies read-write",
				    "read-only for root: %s%s%s", h.closed, h.closed[0] ? " " : "",
				    h.v2_path);
		else
			doctor_pass(f, "root may make control groups in every hierarchy");
		return;
	}
	const char *at = !own ? NULL : strncmp(own, "0::", 3) == 0 ? own : strstr(own, "\n0::");
	char dir[1024], file[1100];

	if (!at || !h.v2_path[0]) {
		doctor_warn(f, mend, "no v2 tree: ordinary users get no limits here");
		return;
	}
	at = strstr(at, "0::") + 3;
	snprintf(dir, sizeof(dir), "%s%.*s", h.v2_path, (int)strcspn(at, "\n"), at);
	snprintf(file, sizeof(file), "%s/cgroup.controllers", dir);
	cleanup_free char *list = doctor_read(file);

	if (access(dir, W_OK) < 0)
		doctor_warn(f, mend, "%s is not ours: no limits for this user's instances", dir);
	else
		doctor_pass(f, "delegated to this user at %s: %s", dir,
			    list && list[0] ? list : "no controllers");
}
