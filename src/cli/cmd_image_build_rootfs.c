/*
 * warren image build-rootfs: an image from the distribution's own tools.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: openat unlink
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/images.h"
#include "image/rootfs_make.h"

struct settings {
	const char *suite, *variant, *include;
	bool quiet;
};

static const struct opt opts[] = {
	OPT_STRING(0, "suite", "NAME", struct settings, suite,
		   "debian: which release (default: the host's own)"),
	OPT_STRING(0, "variant", "NAME", struct settings, variant,
		   "debian: mmdebstrap's variant (minbase)"),
	OPT_STRING(0, "include", "PACKAGE[,...]", struct settings, include,
		   "debian: further packages"),
	OPT_BOOL('q', "quiet", struct settings, quiet, "No progress"),
	OPT_END,
};

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *s = settings;
	const struct rootfs_make m = { argv[0], s->suite, s->variant, s->include };
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX - 16], source[PATH_MAX], name[1100], cmd[64];

	snprintf(path, sizeof(path), "%s/warren-rootfs-XXXXXX.tar",
		 tmp && tmp[0] == '/' ? tmp : "/tmp");
	int fd = mkstemps(path, 4);

	if (fd < 0)
		return err_sys(e, -errno, "'%s'", path);
	close(fd);
	int r = rootfs_make(&m, path, e);

	if (!r) {
		snprintf(source, sizeof(source), "source=rootfs:%s", path);
		snprintf(name, sizeof(name), "name=%s", argc > 1 ? argv[1] : argv[0]);
		snprintf(cmd, sizeof(cmd), "cmd=%s", streq(argv[0], "debian") ? "bash" : "sh");
		r = images_ask((const char *[]){ "import", source, name, cmd, NULL }, s->quiet,
			       images_print_imported, NULL, e);
	}
	unlink(path);
	return r ? err_wrap(e, "build-rootfs %s", argv[0]) : 0;
}

extern const struct command cmd_image_build_rootfs;
const struct command cmd_image_build_rootfs = {
	.name = "build-rootfs",
	.args = "busybox|debian [NAME]",
	.summary = "Make an image from the distribution's own tools",
	.text = "busybox: the static busybox of the package busybox-static, with all its applets. "
		"debian: a system made by mmdebstrap from the host's package sources.",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = 2,
};
