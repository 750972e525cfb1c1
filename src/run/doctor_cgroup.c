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
#include "base/util.h"
#include "container/cgroup.h"
#include "run/doctor_int.h"

struct hierarchies {
	struct cgroup_tree tree[CGROUP_DIRS_MAX];
	int n;
	char v1[256];		      /* controllers of all v1 hierarchies, blank-separated */
	char closed[256];	      /* those of v1 hierarchies that this user may not write to */
	const struct cgroup_tree *v2; /* NULL when there is none */
};

static void add_words(char *list, size_t size, const char *words)
{
	size_t used = strlen(list);

	snprintf(list + used, size - used, "%s%s", used && *words ? " " : "", words);
}

static void look(struct hierarchies *h)
{
	*h = (struct hierarchies){ 0 };
	h->n = cgroup_trees(h->tree);
	for (int i = 0; i < h->n; i++) {
		const struct cgroup_tree *t = &h->tree[i];

		if (t->v2) {
			h->v2 = t;
			continue;
		}
		add_words(h->v1, sizeof(h->v1), t->controllers);
		if (access(t->mount, W_OK) < 0)
			add_words(h->closed, sizeof(h->closed), t->controllers);
	}
}

void check_cgroup_layout(struct doctor_finding *f)
{
	struct hierarchies h;

	look(&h);
	if (h.v1[0] && h.v2 && h.v2->controllers[0])
		doctor_pass(f, "hybrid control groups: v1 has %s; v2 has %s", h.v1,
			    h.v2->controllers);
	else if (h.v1[0])
		doctor_pass(f, "control groups v1%s: %s",
			    h.v2 ? " (and a v2 tree without controllers)" : "", h.v1);
	else if (h.v2)
		doctor_pass(f, "control groups v2 at %s: %s", h.v2->mount, h.v2->controllers);
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
		bool v2 = wanted[i].v2 ? h.v2 && doctor_has_word(h.v2->controllers, wanted[i].v2)
				       : h.v2 != NULL;

		if (!v2 && !doctor_has_word(h.v1, wanted[i].v1))
			add_words(missing, sizeof(missing), wanted[i].v1);
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
	struct hierarchies h;

	look(&h);
	if (geteuid() == 0) {
		if (h.closed[0] || (h.v2 && access(h.v2->mount, W_OK) < 0))
			doctor_warn(f, "mount the hierarchies read-write",
				    "read-only for root: %s%s%s", h.closed, h.closed[0] ? " " : "",
				    h.v2 ? h.v2->mount : "");
		else
			doctor_pass(f, "root may make control groups in every hierarchy");
		return;
	}
	if (!h.v2) {
		doctor_warn(f, mend, "no v2 tree: ordinary users get no limits here");
		return;
	}
	char file[sizeof(h.v2->own) + 24];

	snprintf(file, sizeof(file), "%s/cgroup.controllers", h.v2->own);
	cleanup_free char *list = doctor_read(file);

	if (access(h.v2->own, W_OK) < 0)
		doctor_warn(f, mend, "%s is not ours: no limits for this user's instances",
			    h.v2->own);
	else
		doctor_pass(f, "delegated to this user at %s: %s", h.v2->own,
			    list && list[0] ? list : "no controllers");
}
