/*
 * warren version
 *
 * #syscalls: write
 */
#include <json-c/json.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "generated/version.h"

struct settings {
	bool quiet;
	const char *format;
};

static const struct opt opts[] = {
	OPT_STRING('f', "format", "FORMAT", struct settings, format,
		   "json or a template like '{{.Version}}'"),
	OPT_BOOL('q', "quiet", struct settings, quiet, "Only the number"),
	OPT_END,
};

void cli_print_version(void)
{
	printf("warren version %s\nspec: 1.3.0\n", WARREN_VERSION);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	struct settings *s = settings;

	(void)argc, (void)argv;
	if (s->format) {
		struct json_object *list = json_object_new_array(), *o = json_object_new_object();

		json_object_object_add(o, "Version", json_object_new_string(WARREN_VERSION));
		json_object_object_add(o, "Spec", json_object_new_string("1.3.0"));
		json_object_object_add(o, "Os", json_object_new_string("linux"));
		json_object_object_add(o, "Arch", json_object_new_string("amd64"));
		/* As docker nests it. */
		json_object_object_add(o, "Client", json_object_new_object());
		json_object_object_add(o, "Server", json_object_new_object());
		for (int i = 0; i < 2; i++) {
			struct json_object *in;

			json_object_object_get_ex(o, i ? "Server" : "Client", &in);
			json_object_object_add(in, "Version",
					       json_object_new_string(WARREN_VERSION));
		}
		json_object_array_add(list, o);
		int r = table_print(stdout, s->format, NULL, 0, 0, list, e);

		json_object_put(list);
		return r;
	}
	if (s->quiet)
		printf("%s\n", WARREN_VERSION);
	else
		cli_print_version();
	return 0;
}

extern const struct command cmd_version;
const struct command cmd_version = {
	.name = "version",
	.summary = "Show the version of Warren and of the runtime specification",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
};
