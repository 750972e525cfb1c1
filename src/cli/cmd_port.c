/*
 * warren port: the ports that an instance publishes.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/registry.c
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "run/registry.h"

/* "[ip:]host:container[/proto]" */
static bool split(const char *publish, char *inside, size_t inside_n, char *outside,
		  size_t outside_n)
{
	const char *colon = strrchr(publish, ':');

	if (!colon)
		return false;
	bool proto = strchr(colon, '/');
	bool address = memchr(publish, ':', (size_t)(colon - publish));

	return (size_t)snprintf(inside, inside_n, "%s%s", colon + 1, proto ? "" : "/tcp") <
		       inside_n &&
	       (size_t)snprintf(outside, outside_n, "%s%.*s",
				address ? "" : "0.0.0.0:", (int)(colon - publish),
				publish) < outside_n;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e), shown = 0;

	(void)settings;
	if (!r)
		r = subject_open(&s, root, argv[0], false, e);
	for (size_t i = 0; !r && i < s.rec.ports.n; i++) {
		char inside[64], outside[128];

		if (!split(s.rec.ports.v[i], inside, sizeof(inside), outside, sizeof(outside)))
			continue;
		if (argc < 2) {
			printf("%s -> %s\n", inside, outside);
		} else if (streq(inside, argv[1]) ||
			   (!strchr(argv[1], '/') && str_after(inside, argv[1]) &&
			    streq(str_after(inside, argv[1]), "/tcp"))) {
			printf("%s\n", outside);
			shown++;
		}
	}
	if (!r && argc > 1 && !shown)
		r = err_set(e, -ENOENT, "no public port '%s' published for %s", argv[1], argv[0]);
	return r;
}

extern const struct command cmd_port;
const struct command cmd_port = {
	.name = "port",
	.args = "INSTANCE [PORT[/PROTOCOL]]",
	.summary = "Show the ports that an instance publishes",
	.run = run,
	.min_args = 1,
	.max_args = 2,
	.complete_args = COMPLETE_INSTANCE,
};
