/*
 * warren oci run: create and start in one process; in the foreground it waits, passes signals on, gives the
 * command's exit status, and deletes the container.
 *
 * #syscalls: none of its own
 */
#include <errno.h>

#include "cli/oci.h"
#include "run/status.h"

struct settings {
	struct oci_create_options create;
	bool detach, keep;
};

static const struct opt opts[] = {
	OPT_GROUP(oci_create_opts, struct settings, create),
	OPT_BOOL('d', "detach", struct settings, detach, "Return as soon as the command runs"),
	OPT_BOOL(0, "keep", struct settings, keep, "Do not delete the container when it has ended"),
	OPT_END,
};

static int run_created(struct oci_created *c, const struct settings *s, struct err *e)
{
	int r = c->wall->start(&c->in, c->spec, &c->process, e);

	if (r) {
		oci_destroy(c);
		return r;
	}
	if (s->detach)
		return 0;
	r = oci_wait(&c->process);
	if (!s->keep)
		oci_destroy(c);
	return r;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *s = settings;
	struct oci_created c;

	(void)argc;
	if (!s->detach)
		oci_block_signals();
	int r = oci_create(&c, &s->create, argv[0], false, e);

	if (!r && s->detach && c.process.master >= 0) {
		oci_destroy(&c);
		r = err_set(e, -EINVAL, "process.terminal with --detach needs --console-socket");
	}
	if (!r)
		r = run_created(&c, s, e);
	oci_created_fini(&c);
	if (r < 0) {
		/* What is missing for a guest is not its program. */
		int status = c.wall && c.wall->guest ? exit_status_for(r, e) : oci_exec_status(r);

		err_wrap(e, "run '%s'", argv[0]);
		cli_complain(e);
		return status;
	}
	return r;
}

extern const struct command oci_cmd_run;
const struct command oci_cmd_run = {
	.name = "run",
	.args = "ID",
	.summary = "Create a container and run its command",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = 1,
};
