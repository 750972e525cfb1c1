/*
 * What `info` shows, gathered from the kernel, the instances' directory and the doctor.
 *
 * Trust: reads the kernel's own files and our own directories. Threads: none.
 * #syscalls: uname sysinfo openat read close getdents64
 */
#include "run/info.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/paths.h"
#include "run/doctor_int.h"
#include "run/registry.h"

static int count_instances(struct info *i, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	int r = instance_list(i->run_dir, &ids, e);

	for (size_t k = 0; !r && k < ids.n; k++) {
		struct subject s = SUBJECT_INIT;

		if (subject_open_id(&s, i->run_dir, ids.v[k], false, NULL) == 0) {
			enum subject_status st = subject_status(&s);

			i->instances++;
			if (st == SUBJECT_PAUSED)
				i->paused++;
			else if (subject_alive(&s))
				i->running++;
			else
				i->stopped++;
		}
		subject_fini(&s);
	}
	return r;
}

/* PRETTY_NAME="Debian GNU/Linux 12 (bookworm)" */
static void read_system(char *out, size_t size)
{
	cleanup_free char *text = doctor_read("/etc/os-release");
	const char *at = text ? strstr(text, "PRETTY_NAME=") : NULL;

	snprintf(out, size, "%s", "Linux");
	if (!at)
		return;
	at += strlen("PRETTY_NAME=");
	at += *at == '"';
	snprintf(out, size, "%.*s", (int)strcspn(at, "\"\n"), at);
}

static void take_layout(const struct doctor_finding *f, void *arg)
{
	struct info *i = arg;

	/* "hybrid control groups: ..." */
	if (streq(f->id, "CG-01"))
		snprintf(i->cgroups, sizeof(i->cgroups), "%s",
			 strstr(f->text, "hybrid") ? "hybrid"
			 : strstr(f->text, "v1")   ? "v1"
			 : strstr(f->text, "v2")   ? "v2"
						   : "none");
}

int info_collect(struct info *i, struct err *e)
{
	struct utsname u;
	char data[4096];

	*i = (struct info){ 0 };
	int r = registry_root(&i->run_dir, e);

	if (!r)
		r = paths_data(data, sizeof(data), e);
	if (!r && !(i->data_dir = strdup(data)))
		r = -ENOMEM;
	if (!r)
		r = count_instances(i, e);
	if (r)
		return r;
	if (uname(&u) < 0)
		return err_sys(e, -errno, "uname");
	snprintf(i->kernel, sizeof(i->kernel), "%s", u.release);
	snprintf(i->architecture, sizeof(i->architecture), "%s", u.machine);
	snprintf(i->name, sizeof(i->name), "%s", u.nodename);
	read_system(i->system, sizeof(i->system));
	i->cpus = sysconf(_SC_NPROCESSORS_ONLN);
	i->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	doctor_run(take_layout, i, i->walls);
	return 0;
}

void info_fini(struct info *i)
{
	free(i->run_dir);
	free(i->data_dir);
	*i = (struct info){ 0 };
}
