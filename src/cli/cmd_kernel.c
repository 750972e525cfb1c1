/*
 * warren kernel: the guest kernels that pv and vm instances boot.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: write
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "run/kernel.h"

struct import_settings {
	const char *name, *modules;
	bool standard, quiet;
};

static const struct opt import_opts[] = {
	OPT_STRING(0, "name", "NAME", struct import_settings, name,
		   "Keep it under this name (default: the kernel's release)"),
	OPT_STRING(0, "modules", "DIR", struct import_settings, modules,
		   "Where the modules of a bare vmlinux or bzImage are (default: "
		   "/lib/modules/RELEASE)",
		   .complete = COMPLETE_DIR),
	OPT_BOOL(0, "default", struct import_settings, standard, "Make it the default kernel"),
	OPT_BOOL('q', "quiet", struct import_settings, quiet, "Print only the name"),
	OPT_END,
};

static void progress(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "%s\n", line);
}

static int run_import(void *settings, int argc, char **argv, struct err *e)
{
	const struct import_settings *s = settings;
	struct kernel_import im = {
		.source = argc ? argv[0] : NULL,
		.name = s->name,
		.modules = s->modules,
		.progress = s->quiet ? NULL : progress,
	};
	cleanup_free char *name = NULL;
	int r = kernel_import(&im, &name, e);

	if (r == 0 && s->standard)
		r = kernel_set_default(name, e);
	if (r == 0)
		printf("%s\n", name);
	return r;
}

static const struct command cmd_import = {
	.name = "import",
	.args = "[PACKAGE.deb|VMLINUX|BZIMAGE]",
	.summary = "Take a kernel for guests from a distribution package",
	.text = "Takes the kernel and the modules that guests need from a Debian linux-image "
		"package, a "
		"bzImage or an uncompressed vmlinux. Without an argument the distribution's "
		"package "
		"linux-image-cloud-amd64 is downloaded with apt-get. The first kernel becomes the "
		"default.",
	.opts = import_opts,
	.settings_size = sizeof(struct import_settings),
	.run = run_import,
	.max_args = 1,
	.complete_args = COMPLETE_FILE,
};

struct list_settings {
	bool quiet;
	const char *format;
};

static const struct opt list_opts[] = {
	OPT_STRING(0, "format", "FORMAT", struct list_settings, format,
		   "table, json or a template"),
	OPT_BOOL('q', "quiet", struct list_settings, quiet, "Only names"),
	OPT_END,
};

static int add_kernel(struct json_object *rows, const char *name, bool standard, struct err *e)
{
	struct json_object *o;
	struct kernelinfo k;
	char modules[16];
	int r = kernel_info(name, &k, e);

	if (r)
		return r;
	snprintf(modules, sizeof(modules), "%zu", k.pv.n);
	const char *const cells[][2] = { { "Name", name },
					 { "Default", standard ? "*" : "" },
					 { "PV", k.xen_pv ? "yes" : "no" },
					 { "Modules", modules },
					 { "Source", k.source } };

	o = json_object_new_object();
	for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
		json_object_object_add(o, cells[i][0],
				       json_object_new_string(cells[i][1] ? cells[i][1] : ""));
	json_object_array_add(rows, o);
	kernelinfo_fini(&k);
	return 0;
}

static int run_list(void *settings, int argc, char **argv, struct err *e)
{
	static const struct column columns[] = { { "Name", "NAME" },
						 { "Default", "DEFAULT" },
						 { "PV", "PV" },
						 { "Modules", "MODULES" },
						 { "Source", "SOURCE" } };
	const struct list_settings *s = settings;
	cleanup_with(strlist_fini) struct strlist names = { 0 };
	cleanup_free char *standard = NULL;
	struct json_object *rows = json_object_new_array();
	int r = kernel_list(&names, &standard, e);

	(void)argc, (void)argv;
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = add_kernel(rows, names.v[i], standard && streq(standard, names.v[i]), e);
	if (!r && s->quiet)
		table_print_member(stdout, "Name", rows);
	else if (!r)
		r = table_print(stdout, s->format, columns, 5, 5, rows, e);
	json_object_put(rows);
	return r;
}

static const struct command cmd_ls = {
	.name = "ls",
	.summary = "List the kernels for guests",
	.opts = list_opts,
	.settings_size = sizeof(struct list_settings),
	.run = run_list,
};

static const struct opt no_opts[] = {
	OPT_END,
};

static int run_default(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings, (void)argc;
	return kernel_set_default(argv[0], e);
}

static const struct command cmd_default = {
	.name = "default",
	.args = "NAME",
	.summary = "Choose the kernel that guests boot unless told otherwise",
	.opts = no_opts,
	.run = run_default,
	.min_args = 1,
	.max_args = 1,
};

static int run_rm(void *settings, int argc, char **argv, struct err *e)
{
	int r = 0;

	(void)settings;
	for (int i = 0; i < argc && r == 0; i++) {
		r = kernel_remove(argv[i], e);
		if (r == 0)
			printf("%s\n", argv[i]);
	}
	return r;
}

static const struct command cmd_rm = {
	.name = "rm",
	.args = "NAME [NAME...]",
	.summary = "Remove kernels",
	.opts = no_opts,
	.run = run_rm,
	.min_args = 1,
	.max_args = -1,
};

static const struct command *const subs[] = { &cmd_default, &cmd_import, &cmd_ls, &cmd_rm, NULL };

extern const struct command cmd_kernel;
const struct command cmd_kernel = {
	.name = "kernel",
	.summary = "Manage the kernels that guests boot",
	.subs = subs,
};
