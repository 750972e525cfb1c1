/*
 * warren xl list, domid, domname: the domains, in xl's own columns.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: none of its own
 */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/xl.h"

struct settings {
	bool verbose;
};

static const struct opt opts[] = {
	OPT_BOOL('v', "verbose", struct settings, verbose, "Show ids too"),
	OPT_END,
};

static void row(const struct domain_view *v, const char *id)
{
	printf("%-40s %5d %5llu %5u     %s  %8.1f", v->name, v->id,
	       (unsigned long long)(v->memory >> 20), v->vcpus, v->state, v->seconds);
	printf("%s%s\n", id ? "  " : "", id ? id : "");
}

static int show(struct subject *s, const struct settings *set, struct err *e)
{
	struct domain_view v;
	int r = domain_view(s, &v, e);

	if (!r)
		row(&v, set->verbose ? s->in.id : NULL);
	return r;
}

static int show_all(const char *root, const struct settings *set, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	struct domain_view host;
	int r = instance_list(root, &ids, e);

	domain_view_host(&host);
	if (!r)
		row(&host, set->verbose ? "-" : NULL);
	for (size_t i = 0; !r && i < ids.n; i++) {
		struct subject s = SUBJECT_INIT;
		struct err one = ERR_INIT;

		/* One that has just gone, or is behind another wall, is not among them. */
		if (domain_open(&s, root, ids.v[i], &one) == 0 &&
		    subject_status(&s) != SUBJECT_CREATED)
			show(&s, set, &one);
		subject_fini(&s);
	}
	return r;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e);

	if (!r)
		printf("Name                                        ID   Mem "
		       "VCPUs\tState\tTime(s)\n");
	if (!r && !argc)
		return show_all(root, settings, e);
	for (int i = 0; !r && i < argc; i++) {
		cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;

		r = domain_open(&s, root, argv[i], e);
		if (!r)
			r = show(&s, settings, e);
	}
	return r;
}

extern const struct command xl_cmd_list;
const struct command xl_cmd_list = {
	.name = "list",
	.args = "[DOMAIN...]",
	.summary = "List domains",
	.text = "State: r running, b waiting, p paused, s ended, c crashed, d dying. Domain-0 is "
		"this host. "
		"The number of a domain is the process id of its monitor.",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};

static int print_id(struct subject *s, const char *root, void *arg, struct err *e)
{
	(void)root, (void)arg;
	if (!subject_alive(s))
		return err_set(e, -ESRCH, "'%s' is not running", s->rec.name);
	printf("%d\n", (int)s->in.pid);
	return 0;
}

static int run_domid(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings;
	return xl_each(argv, argc, false, print_id, NULL, e);
}

extern const struct command xl_cmd_domid;
const struct command xl_cmd_domid = {
	.name = "domid",
	.args = "DOMAIN",
	.summary = "Print the number of a domain",
	.run = run_domid,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};

static int print_name(struct subject *s, const char *root, void *arg, struct err *e)
{
	(void)root, (void)arg, (void)e;
	printf("%s\n", s->rec.name);
	return 0;
}

static int run_domname(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings;
	return xl_each(argv, argc, false, print_name, NULL, e);
}

extern const struct command xl_cmd_domname;
const struct command xl_cmd_domname = {
	.name = "domname",
	.args = "NUMBER",
	.summary = "Print the name of a domain",
	.run = run_domname,
	.min_args = 1,
	.max_args = 1,
};
