/*
 * warren run: create, start, and stay attached unless -d.
 *
 * Exit status: the command's own; 128+n after a signal; 124 on --timeout; 125, 126, 127 when it could not
 * be run.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/attach.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/opt_run.h"
#include "run/attach.h"
#include "run/events.h"
#include "run/lifecycle.h"

static int wanted_streams(const struct run_settings *set, uint16_t *streams, struct err *e)
{
	static const struct {
		const char *name;
		uint16_t bit;
	} known[] = { { "stdin", CONTROL_STREAM_STDIN },
		      { "stdout", CONTROL_STREAM_STDOUT },
		      { "stderr", CONTROL_STREAM_STDERR } };

	*streams = CONTROL_STREAM_STDOUT | CONTROL_STREAM_STDERR;
	if (set->bundle.interactive)
		*streams |= CONTROL_STREAM_STDIN;
	if (set->attach.n)
		*streams = 0;
	for (size_t i = 0; i < set->attach.n; i++) {
		uint16_t bit = 0;

		for (size_t k = 0; k < 3; k++)
			if (strcasecmp(set->attach.v[i], known[k].name) == 0)
				bit = known[k].bit;
		if (!bit)
			return err_set(e, -EINVAL, "--attach '%s' is none of stdin, stdout, stderr",
				       set->attach.v[i]);
		*streams |= bit;
	}
	return 0;
}

static int check(const struct run_settings *set, struct err *e)
{
	if (set->detach && set->attach.n)
		return err_set(e, -EINVAL, "--detach and --attach exclude each other");
	if (!set->detach && set->bundle.tty && set->bundle.interactive && !isatty(STDIN_FILENO))
		return err_set(e, -ENOTTY, "the input device is not a TTY");
	return 0;
}

static int detached(struct subject *s, const char *root, struct keeper_seed *seed, struct err *e)
{
	int status;
	int r = lifecycle_start(s, root, seed, &status, e);

	if (r) {
		cli_complain(e);
		return status;
	}
	printf("%s\n", s->in.id);
	return 0;
}

static int attached(const struct run_settings *set, struct subject *s, const char *root,
		    struct keeper_seed *seed, uint16_t streams, struct err *e)
{
	struct attach a = {
		.start = true,
		.streams = streams,
		.tty = set->bundle.tty,
		.sig_proxy = !set->sig_proxy || streq(set->sig_proxy, "true"),
		.subject = s,
	};
	int status = 125;
	int r = detach_keys_parse(&a.keys, set->detach_keys ? set->detach_keys : "ctrl-p,ctrl-q",
				  e);

	if (r)
		return r;
	a.link = lifecycle_keep(s, root, seed, e);
	if (a.link < 0)
		return a.link;
	r = attach_run(&a, &status, e);
	close(a.link);
	switch (r) {
	case ATTACH_EXITED:
		return status;
	case ATTACH_DETACHED:
		return 0;
	case ATTACH_NOT_RUN:
		cli_complain(e);
		return status;
	case ATTACH_LOST:
		return err_set(e, -ECONNRESET,
			       "the keeper of '%s' was killed; 'warren ps -a' says "
			       "whether it still runs",
			       s->rec.name);
	default:
		return r;
	}
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	struct run_settings *set = settings;
	cleanup_with(keeper_seed_fini) struct keeper_seed seed = KEEPER_SEED_INIT;
	struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	uint16_t streams;
	int r = check(set, e);

	if (!r)
		r = wanted_streams(set, &streams, e);
	if (!r)
		r = registry_root(&root, e);
	/* The keeper gets ready while we make what it is to keep. */
	if (!r)
		r = registry_new_id(seed.id, e);
	if (!r)
		r = keeper_spawn(root, &seed, e);
	set->id = seed.id;
	if (!r)
		r = run_create(set, argc, argv, root, &s, e);
	if (r)
		return r;
	r = set->detach ? detached(&s, root, &seed, e) : attached(set, &s, root, &seed, streams, e);
	subject_fini(&s);
	return r;
}

extern const struct command cmd_run;
const struct command cmd_run = {
	.name = "run",
	.args = "IMAGE [COMMAND [ARG...]]",
	.summary = "Run a command in a new instance",
	.opts = run_opts,
	.settings_size = sizeof(struct run_settings),
	.run = run,
	.stop_at_arg = true,
	.max_args = -1,
	.complete_args = COMPLETE_IMAGE,
};
