/*
 * warren xl create: a domain from an xl.cfg file. Settings on the command line count as lines behind the file's.
 *
 * Trust: the file is the user's. Threads: none. #syscalls: openat read
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/xl.h"
#include "os/file.h"
#include "run/lifecycle.h"

#define CONFIG_MAX (1u << 20)

struct settings {
	bool console, paused, quiet, dry;
	const char *file;
};

static const struct opt opts[] = {
	OPT_BOOL('c', "console", struct settings, console, "Connect to its console"),
	OPT_STRING('f', "defconfig", "FILE", struct settings, file, "The configuration",
		   .complete = COMPLETE_FILE),
	OPT_BOOL('n', "dryrun", struct settings, dry, "Only read the configuration"),
	OPT_BOOL('p', "paused", struct settings, paused, "Leave it paused"),
	OPT_BOOL('q', "quiet", struct settings, quiet, "Say nothing but errors"),
	OPT_END,
};

/* "-" is standard input. */
static int read_config(const char *file, struct buf *text, struct err *e)
{
	int r = streq(file, "-") ? read_all(STDIN_FILENO, text) : file_read(AT_FDCWD, file, text);

	return r ? err_sys(e, r, "'%s'", file) : 0;
}

static int parse(const char *file, char *const *more, int n, struct xl_domain *d, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(CONFIG_MAX);
	int r = read_config(file, &text, e);

	if (text.len && text.data[text.len - 1] != '\n')
		buf_addc(&text, '\n');
	for (int i = 0; i < n; i++)
		buf_addf(&text, "%s\n", more[i]);
	if (!r && text.error)
		r = err_sys(e, text.error, "'%s'", file);
	return r ? r : xl_domain_parse(text.data, text.len, file, d, e);
}

static int start(const struct settings *set, struct subject *s, const char *root, struct err *e)
{
	struct err ignored = ERR_INIT;
	int status;
	int r = lifecycle_start(s, root, NULL, &status, e);

	if (r)
		return r;
	r = subject_reopen(s, root, false, e);
	if (!r && set->paused)
		r = lifecycle_pause(s, root, true, e);
	if (r)
		lifecycle_kill(s, root, 9, &ignored);
	return r || !set->console ? r : console_attend(s, s->rec.name, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;
	static struct xl_domain d; /* large */
	struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	const char *file = set->file ? set->file : argc ? argv[0] : NULL;
	int first = set->file ? 0 : 1;

	if (!file)
		return err_set(e, -EINVAL, "xl create: which configuration file?");
	if (!set->quiet)
		fprintf(stderr, "Parsing config from %s\n", file);
	int r = parse(file, argv + first, argc - first, &d, e);

	if (r)
		return r;
	for (const char *const *remark = d.remarks; *remark && !set->quiet; remark++)
		fprintf(stderr, "warning: %s\n", *remark);
	if (!set->dry) {
		r = registry_root(&root, e);
		if (!r)
			r = domain_create(&d, root, &s, e);
		if (!r)
			r = start(set, &s, root, e);
		subject_fini(&s);
	}
	xl_domain_fini(&d);
	return r;
}

extern const struct command xl_cmd_create;
const struct command xl_cmd_create = {
	.name = "create",
	.args = "FILE [KEY=VALUE...]",
	.summary = "Make a domain from a configuration file and start it",
	.text = "Known keys: name, type=\"pv\", memory, vcpus, kernel (a vmlinux or bzImage), "
		"ramdisk, "
		"cmdline or root and extra, disk, vif=[], on_poweroff, on_reboot, on_crash "
		"(destroy, "
		"restart or preserve), uuid.",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.max_args = -1,
};
