/*
 * warren oci create: everything but the command (runtime.md, "Create").
 *
 * #syscalls: none of its own
 */
#include "cli/oci.h"

static int run(void *settings, int argc, char **argv, struct err *e)
{
	struct oci_created c;
	int r = oci_create(&c, settings, argv[0], true, e);

	(void)argc;
	if (r)
		err_wrap(e, "create '%s'", argv[0]);
	oci_created_fini(&c);
	return r;
}

extern const struct command oci_cmd_create;
const struct command oci_cmd_create = {
	.name = "create",
	.args = "ID",
	.summary = "Create a container from a bundle, up to its command",
	.opts = oci_create_opts,
	.settings_size = sizeof(struct oci_create_options),
	.run = run,
	.min_args = 1,
	.max_args = 1,
};
