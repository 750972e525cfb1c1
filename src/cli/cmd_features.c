/*
 * warren features: the document of `warren oci features`, for people.
 *
 * Trust: our own text. Threads: none. #syscalls: write
 */
#include "cli/oci.h"

extern const struct command oci_cmd_features;

static int run(void *settings, int argc, char **argv, struct err *e)
{
	return oci_cmd_features.run(settings, argc, argv, e);
}

extern const struct command cmd_features;
const struct command cmd_features = {
	.name = "features",
	.summary = "Print what Warren can do as an OCI runtime, as JSON",
	.run = run,
};
