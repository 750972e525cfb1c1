/*
 * warren oci start: runs the command of a created container.
 *
 * #syscalls: none of its own
 */
#include <errno.h>

#include "base/cleanup.h"
#include "cli/oci.h"

static int start(struct instance *in, const struct wall_ops *wall, struct err *e)
{
	struct oci_spec *spec = NULL;
	enum instance_status s = instance_probe(in);
	int r;

	if (s != INSTANCE_CREATED)
		return err_set(e, -EINVAL, "it is %s, not created", instance_status_name(s));
	r = instance_load_config(in, &spec, e);
	if (!r)
		r = wall->start(in, spec, NULL, e);
	oci_spec_free(spec);
	return r;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(instance_fini) struct instance in;
	const struct wall_ops *wall;
	int r = oci_open(&in, argv[0], true, &wall, e);

	(void)settings, (void)argc;
	if (!r)
		r = start(&in, wall, e);
	if (r)
		err_wrap(e, "start '%s'", argv[0]);
	return r;
}

extern const struct command oci_cmd_start;
const struct command oci_cmd_start = {
	.name = "start",
	.args = "ID",
	.summary = "Run the command of a created container",
	.run = run,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
