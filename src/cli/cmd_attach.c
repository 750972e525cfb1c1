/*
 * warren attach: connect this terminal to a running instance.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/attach.c
 */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "run/attach.h"
#include "run/events.h"
#include "run/link.h"

struct settings {
	bool no_stdin;
	const char *detach_keys, *sig_proxy;
};

static const struct opt opts[] = {
	OPT_BOOL(0, "no-stdin", struct settings, no_stdin, "Do not attach to its input"),
	OPT_STRING(0, "detach-keys", "KEYS", struct settings, detach_keys,
		   "Keys that leave (ctrl-p,ctrl-q)"),
	OPT_STRING(0, "sig-proxy", "true|false", struct settings, sig_proxy,
		   "Pass signals on (true)", .choices = "true|false"),
	OPT_END,
};

static int connect_to(struct subject *s, struct err *e)
{
	if (!subject_alive(s))
		return err_set(e, -ESRCH, "'%s' is not running", s->rec.name);
	if (wall_status(&s->in) == INSTANCE_PAUSED)
		return err_set(e, -EBUSY, "'%s' is paused; unpause it first", s->rec.name);
	if (subject_orphaned(s))
		return err_set(e, -ECONNREFUSED,
			       "'%s': its keeper was killed, so nobody holds its streams",
			       s->rec.name);
	return link_open(s, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	struct attach a = { .streams = CONTROL_STREAM_STDOUT | CONTROL_STREAM_STDERR,
			    .sig_proxy = !set->sig_proxy || streq(set->sig_proxy, "true"),
			    .subject = &s };
	int status = EXIT_WARREN;
	int r = registry_root(&root, e);

	(void)argc;
	if (!r)
		r = subject_open(&s, root, argv[0], false, e);
	if (!r)
		r = detach_keys_parse(&a.keys,
				      set->detach_keys ? set->detach_keys : "ctrl-p,ctrl-q", e);
	if (r)
		return r;
	a.link = connect_to(&s, e);
	if (a.link < 0)
		return a.link;
	a.tty = s.rec.tty;
	if (s.rec.open_stdin && !set->no_stdin)
		a.streams |= CONTROL_STREAM_STDIN;
	event_emit(root, &s, "attach", NULL);
	r = attach_run(&a, &status, e);
	close(a.link);
	if (r == ATTACH_LOST)
		return err_set(e, -ECONNRESET, "the keeper of '%s' was killed", s.rec.name);
	if (r == ATTACH_DETACHED)
		event_emit(root, &s, "detach", NULL);
	return r < 0 ? r : r == ATTACH_DETACHED ? 0 : status;
}

extern const struct command cmd_attach;
const struct command cmd_attach = {
	.name = "attach",
	.args = "INSTANCE",
	.summary = "Connect the terminal to a running instance",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
