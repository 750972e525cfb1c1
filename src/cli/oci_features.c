/*
 * warren oci features: what this runtime can do, as the runtime-spec's features document.
 *
 * Trust: nothing from outside. Threads: none. #syscalls: write
 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/oci.h"
#include "container/features.h"

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(buf_fini) struct buf out = BUF_INIT(1 << 20);
	int err = container_features(&out);

	if (err)
		return err_sys(e, err, "features");
	puts(buf_str(&out));
	return 0;
}

static const struct opt opts[] = { OPT_END };

extern const struct command oci_cmd_features;
const struct command oci_cmd_features = {
	.name = "features",
	.summary = "Show what this runtime supports, as JSON",
	.opts = opts,
	.run = run,
};
