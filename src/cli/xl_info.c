/*
 * warren xl info and dmesg: the host as a hypervisor, and what the hypervisor has to say.
 *
 * Trust: argv is the user's; what a guest printed is not shown here. Threads: none. #syscalls: uname sysinfo
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/xl.h"
#include "generated/version.h"
#include "run/doctor.h"
#include "run/guest.h"

static void say(const char *key, const char *value)
{
	printf("%-23s: %s\n", key, value);
}

static void say_number(const char *key, long long value)
{
	printf("%-23s: %lld\n", key, value);
}

/* The finding about what kind of guests the CPU gives. */
static void keep_finding(const struct doctor_finding *f, void *arg)
{
	if (streq(f->id, "PV-01"))
		*(struct doctor_finding *)arg = *f;
}

static int count_domains(const char *root, long *n, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	int r = instance_list(root, &ids, e);

	*n = 1; /* the host */
	for (size_t i = 0; !r && i < ids.n; i++) {
		struct subject s = SUBJECT_INIT;
		struct err one = ERR_INIT;

		*n += domain_open(&s, root, ids.v[i], &one) == 0 && subject_alive(&s);
		subject_fini(&s);
	}
	return r;
}

static int run_info(void *settings, int argc, char **argv, struct err *e)
{
	struct doctor_verdict verdicts[DOCTOR_WALLS];
	struct doctor_finding cpu = { 0 };
	cleanup_free char *root = NULL;
	struct utsname u;
	struct sysinfo si;
	long domains;
	int r = registry_root(&root, e);

	(void)settings, (void)argc, (void)argv;
	if (!r)
		r = count_domains(root, &domains, e);
	if (r)
		return r;
	if (uname(&u) < 0 || sysinfo(&si) < 0)
		return err_sys(e, -errno, "uname");
	doctor_run(keep_finding, &cpu, verdicts);
	say("host", u.nodename);
	say("release", u.release);
	say("version", u.version);
	say("machine", u.machine);
	say_number("nr_cpus", sysconf(_SC_NPROCESSORS_ONLN));
	say_number("total_memory", (long long)(si.totalram * si.mem_unit >> 20));
	say_number("free_memory", (long long)(si.freeram * si.mem_unit >> 20));
	say_number("nr_domains", domains);
	say("warren_version", WARREN_VERSION);
	say("virt_caps", cpu.result == DOCTOR_FAIL ? "" : "pv");
	say("pv_mode", cpu.text);
	say("xen_caps", cpu.result == DOCTOR_FAIL ? "" : "xen-3.0-x86_64");
	say_number("xen_pagesize", sysconf(_SC_PAGESIZE));
	return 0;
}

extern const struct command xl_cmd_info;
const struct command xl_cmd_info = {
	.name = "info",
	.summary = "Show what domains have here",
	.run = run_info,
};

static int domain_lines(struct subject *s, struct err *e)
{
	cleanup_with(buf_fini) struct buf reason = BUF_INIT(4096), stats = BUF_INIT(1 << 16);
	struct domain_view v;
	int r = domain_view(s, &v, e);

	if (r)
		return r;
	guest_end_reason(&s->in, &reason);
	printf("(WARREN) %s: %llu MB, %u vCPU%s", v.name, (unsigned long long)(v.memory >> 20),
	       v.vcpus, v.vcpus == 1 ? "" : "s");
	if (v.id >= 0)
		printf(", domain %d since %s\n", v.id, s->rec.started ? s->rec.started : "?");
	else
		printf(", ended %s%s%s\n", s->rec.finished ? s->rec.finished : "",
		       reason.len ? ": " : "", reason.len ? buf_str(&reason) : "");
	if (v.id < 0 || v.state[2] == 'p' || guest_machine_stats(&s->in, &stats, NULL) < 0)
		return 0;
	/* Its hypervisor's counts, those that tell of trouble. */
	for (char *save, *line = strtok_r(stats.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (str_after(line, "refused ") || str_after(line, "exits ") ||
		    str_after(line, "setup_ns "))
			printf("(WARREN) %s: %s\n", v.name, line);
	}
	return 0;
}

static int run_dmesg(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	struct doctor_verdict verdicts[DOCTOR_WALLS];
	struct doctor_finding cpu = { 0 };
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e);

	(void)settings, (void)argc, (void)argv;
	if (!r)
		r = instance_list(root, &ids, e);
	if (r)
		return r;
	doctor_run(keep_finding, &cpu, verdicts);
	printf("(WARREN) Warren %s\n(WARREN) %s\n", WARREN_VERSION, cpu.text);
	for (size_t i = 0; i < ids.n; i++) {
		struct subject s = SUBJECT_INIT;
		struct err one = ERR_INIT;

		if (domain_open(&s, root, ids.v[i], &one) == 0 &&
		    subject_status(&s) != SUBJECT_CREATED)
			domain_lines(&s, &one);
		subject_fini(&s);
	}
	return 0;
}

extern const struct command xl_cmd_dmesg;
const struct command xl_cmd_dmesg = {
	.name = "dmesg",
	.summary = "Show the hypervisor's messages",
	.text = "There is no resident hypervisor that could keep a log: this is what the machines "
		"of the "
		"domains say now, and why those that were preserved have ended. A kernel's own "
		"messages are "
		"in 'warren logs'.",
	.run = run_dmesg,
};
