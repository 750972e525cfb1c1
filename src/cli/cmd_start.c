/*
 * warren start: start instances that were created or have ended; -a and -i attach to one.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/attach.c
 */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/each.h"
#include "run/attach.h"
#include "run/lifecycle.h"

struct settings {
	bool attach, interactive;
	const char *detach_keys;
};

static const struct opt opts[] = {
	OPT_BOOL('a', "attach", struct settings, attach, "Stay attached to its output"),
	OPT_BOOL('i', "interactive", struct settings, interactive, "Attach to its input too"),
	OPT_STRING(0, "detach-keys", "KEYS", struct settings, detach_keys,
		   "Keys that leave an attached terminal (ctrl-p,ctrl-q)"),
	OPT_END,
};

static int start(struct subject *s, const char *root, void *arg, struct err *e)
{
	int status;

	(void)arg;
	int r = lifecycle_start(s, root, NULL, &status, e);

	return r == -EALREADY ? 0 : r;
}

static int start_attached(const struct settings *set, const char *word, struct err *e)
{
	cleanup_free char *root = NULL;
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	struct attach a = { .start = true,
			    .streams = CONTROL_STREAM_STDOUT | CONTROL_STREAM_STDERR,
			    .sig_proxy = true,
			    .subject = &s };
	int status = EXIT_WARREN;
	int r = registry_root(&root, e);

	if (!r)
		r = subject_open(&s, root, word, false, e);
	if (!r)
		r = detach_keys_parse(&a.keys,
				      set->detach_keys ? set->detach_keys : "ctrl-p,ctrl-q", e);
	if (r)
		return r;
	a.tty = s.rec.tty;
	if (set->interactive && s.rec.open_stdin)
		a.streams |= CONTROL_STREAM_STDIN;
	a.link = lifecycle_keep(&s, root, NULL, e);
	if (a.link < 0)
		return a.link;
	r = attach_run(&a, &status, e);
	close(a.link);
	if (r == ATTACH_NOT_RUN)
		cli_complain(e);
	if (r == ATTACH_LOST)
		return err_set(e, -ECONNRESET, "the keeper of '%s' was killed", word);
	return r < 0 ? r : r == ATTACH_DETACHED ? 0 : status;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;

	if (!set->attach && !set->interactive)
		return each_subject(argv, argc, true, start, NULL, e);
	if (argc != 1)
		return err_set(e, -EINVAL, "start: only one instance can be attached to");
	return start_attached(set, argv[0], e);
}

extern const struct command cmd_start;
const struct command cmd_start = {
	.name = "start",
	.summary = "Start instances",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	ARGS_INSTANCES,
};
