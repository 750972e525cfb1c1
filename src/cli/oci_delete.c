/*
 * warren oci delete: removes what is left of a container that has ended. --force ends it first, clears what a
 * killed creator left, and is content when there is nothing.
 *
 * #syscalls: none of its own
 */
#include <errno.h>

#include "base/cleanup.h"
#include "cli/oci.h"

struct settings {
	bool force;
};

static const struct opt opts[] = {
	OPT_BOOL('f', "force", struct settings, force, "End it first when it is still running"),
	OPT_END,
};

static int delete (struct instance *in, const struct wall_ops *wall, bool force, struct err *e)
{
	cleanup_free char *root = NULL;
	struct oci_spec *spec = NULL;
	struct err why = ERR_INIT;
	/* A created container may be deleted by --force only (runc's rule, containerd counts on it). */
	int r = oci_root(&root, e);

	if (r)
		return r;
	if (instance_load_config(in, &spec, &why) && !force)
		*e = why;
	r = wall->cleanup(in, spec, force, e);
	oci_spec_free(spec);
	return r ? r : instance_remove(in, root, e);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(instance_fini) struct instance in;
	const struct settings *s = settings;
	const struct wall_ops *wall;
	int r = oci_open(&in, argv[0], true, &wall, e);

	(void)argc;
	if (r == -ENOENT && s->force)
		return 0;
	if (!r)
		r = delete (&in, wall, s->force, e);
	return r ? err_wrap(e, "delete '%s'", argv[0]) : 0;
}

extern const struct command oci_cmd_delete;
const struct command oci_cmd_delete = {
	.name = "delete",
	.args = "ID",
	.summary = "Remove a container that has ended",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
