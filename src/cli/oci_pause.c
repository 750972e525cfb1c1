/*
 * warren oci pause, warren oci resume: all processes of a container stand still, or go on.
 *
 * Trust: none of its own. Threads: none. #syscalls: none
 */
#include <errno.h>

#include "base/cleanup.h"
#include "cli/oci.h"

static int change(const char *id, bool pause, struct err *e)
{
	cleanup_with(instance_fini) struct instance in = INSTANCE_INIT;
	const char *verb = pause ? "pause" : "resume";
	const struct wall_ops *wall;
	int err = oci_open(&in, id, true, &wall, e);

	if (!err && !wall->pause)
		err = err_set(e, -EOPNOTSUPP, "the %s wall cannot pause", wall->name);
	if (!err) {
		enum instance_status now = wall_status(&in);

		if (pause ? now != INSTANCE_RUNNING && now != INSTANCE_CREATED
			  : now != INSTANCE_PAUSED)
			err = err_set(e, -EINVAL, "it is %s", instance_status_name(now));
	}
	if (!err)
		err = pause ? wall->pause(&in, e) : wall->resume(&in, e);
	if (err)
		err_wrap(e, "%s '%s'", verb, id);
	return err;
}

static int run_pause(void *settings, int argc, char **argv, struct err *e)
{
	return change(argv[0], true, e);
}

static int run_resume(void *settings, int argc, char **argv, struct err *e)
{
	return change(argv[0], false, e);
}

static const struct opt opts[] = { OPT_END };

extern const struct command oci_cmd_pause, oci_cmd_resume;
const struct command oci_cmd_pause = {
	.name = "pause",
	.args = "ID",
	.summary = "Suspend all processes of a container",
	.opts = opts,
	.run = run_pause,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
const struct command oci_cmd_resume = {
	.name = "resume",
	.args = "ID",
	.summary = "Let a paused container go on",
	.opts = opts,
	.run = run_resume,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
