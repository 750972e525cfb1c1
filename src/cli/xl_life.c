/*
 * warren xl console, destroy, pause, reboot, rename, shutdown, unpause: one domain's life.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: none of its own
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/xl.h"
#include "run/guest.h"
#include "run/lifecycle.h"

/* ---- console ---- */

static int attend(struct subject *s, const char *root, void *arg, struct err *e)
{
	(void)root, (void)arg;
	return console_attend(s, s->rec.name, e);
}

static int run_console(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings;
	return xl_each(argv, argc, false, attend, NULL, e);
}

extern const struct command xl_cmd_console;
const struct command xl_cmd_console = {
	.name = "console",
	.args = "DOMAIN",
	.summary = "Connect the terminal to a domain's console; ^] leaves it",
	.run = run_console,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};

/* ---- destroy ---- */

static int destroy(struct subject *s, const char *root, void *arg, struct err *e)
{
	int status;

	(void)arg;
	if (!subject_alive(s)) /* what was preserved */
		return lifecycle_remove(s, root, false, false, e);
	int r = lifecycle_kill(s, root, SIGKILL, e);

	return r ? r : lifecycle_wait(s, root, false, &status, e);
}

static int run_destroy(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings;
	return xl_each(argv, argc, false, destroy, NULL, e);
}

extern const struct command xl_cmd_destroy;
const struct command xl_cmd_destroy = {
	.name = "destroy",
	.args = "DOMAIN...",
	.summary = "End domains at once",
	.run = run_destroy,
	.min_args = 1,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};

/* ---- shutdown, reboot ---- */

struct down_settings {
	bool all, wait, fallback;
	bool reboot; /* set by the command */
};

static const struct opt down_opts[] = {
	OPT_BOOL('a', "all", struct down_settings, all, "Every domain that runs"),
	OPT_BOOL('w', "wait", struct down_settings, wait, "Return when it has ended"),
	OPT_BOOL('F', "fallback", struct down_settings, fallback,
		 "Accepted; a domain knows no other way"),
	OPT_END,
};

static int down(struct subject *s, const char *root, void *arg, struct err *e)
{
	const struct down_settings *set = arg;
	int status;

	if (!subject_alive(s))
		return err_set(e, -ESRCH, "'%s' is not running", s->rec.name);
	if (subject_status(s) == SUBJECT_PAUSED)
		return err_set(e, -EBUSY, "'%s' is paused; unpause it first", s->rec.name);
	int r = guest_shutdown(&s->in, set->reboot, e);

	/* One that runs an image has an agent, and a command to be told. */
	if (r == -EOPNOTSUPP && !set->reboot) {
		err_clear(e);
		r = lifecycle_kill(s, root, SIGTERM, e);
	}
	return r || !set->wait ? r : lifecycle_wait(s, root, false, &status, e);
}

static int run_shutdown(void *settings, int argc, char **argv, struct err *e)
{
	struct down_settings *set = settings;

	return xl_each(argv, argc, set->all, down, set, e);
}

extern const struct command xl_cmd_shutdown;
const struct command xl_cmd_shutdown = {
	.name = "shutdown",
	.args = "DOMAIN...",
	.summary = "Ask domains to power off",
	.opts = down_opts,
	.settings_size = sizeof(struct down_settings),
	.run = run_shutdown,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};

static const struct opt reboot_opts[] = {
	OPT_BOOL('a', "all", struct down_settings, all, "Every domain that runs"),
	OPT_BOOL('F', "fallback", struct down_settings, fallback,
		 "Accepted; a domain knows no other way"),
	OPT_END,
};

static int run_reboot(void *settings, int argc, char **argv, struct err *e)
{
	struct down_settings *set = settings;

	set->reboot = true;
	return xl_each(argv, argc, set->all, down, set, e);
}

extern const struct command xl_cmd_reboot;
const struct command xl_cmd_reboot = {
	.name = "reboot",
	.args = "DOMAIN...",
	.summary = "Ask domains to reboot",
	.opts = reboot_opts,
	.settings_size = sizeof(struct down_settings),
	.run = run_reboot,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};

/* ---- pause, unpause, rename ---- */

static int pause_one(struct subject *s, const char *root, void *arg, struct err *e)
{
	return lifecycle_pause(s, root, arg != NULL, e);
}

static int run_pause(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings;
	return xl_each(argv, argc, false, pause_one, argv, e);
}

extern const struct command xl_cmd_pause;
const struct command xl_cmd_pause = {
	.name = "pause",
	.args = "DOMAIN...",
	.summary = "Hold domains",
	.run = run_pause,
	.min_args = 1,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};

static int run_unpause(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings;
	return xl_each(argv, argc, false, pause_one, NULL, e);
}

extern const struct command xl_cmd_unpause;
const struct command xl_cmd_unpause = {
	.name = "unpause",
	.args = "DOMAIN...",
	.summary = "Let paused domains go on",
	.run = run_unpause,
	.min_args = 1,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};

static int rename_one(struct subject *s, const char *root, void *arg, struct err *e)
{
	return lifecycle_rename(s, root, arg, e);
}

static int run_rename(void *settings, int argc, char **argv, struct err *e)
{
	(void)settings, (void)argc;
	return xl_each(argv, 1, false, rename_one, argv[1], e);
}

extern const struct command xl_cmd_rename;
const struct command xl_cmd_rename = {
	.name = "rename",
	.args = "DOMAIN NAME",
	.summary = "Rename a domain",
	.run = run_rename,
	.min_args = 2,
	.max_args = 2,
	.complete_args = COMPLETE_INSTANCE,
};
