/*
 * warren info: the host, the walls that it carries, and what runs.
 *
 * Trust: prints what run/ found. Threads: none. #syscalls: write
 */
#include <json-c/json.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "generated/version.h"
#include "image/manage.h"
#include "run/info.h"
#include "wire/template.h"

struct settings {
	const char *format;
};

static const struct opt opts[] = {
	OPT_STRING('f', "format", "FORMAT", struct settings, format,
		   "\"json\", or a Go template over the JSON's members"),
	OPT_END,
};

static void add_text(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static void add_number(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)value));
}

static int count_image(void *arg, struct json_object *o)
{
	(void)o;
	++*(uint64_t *)arg;
	return 0;
}

/* docker's names where docker has one. */
static struct json_object *to_json(const struct info *i)
{
	static const char *const list[] = { "list", NULL };
	struct json_object *o = json_object_new_object(), *walls = json_object_new_array();
	uint64_t images = 0;
	char memory[32];

	image_manage(list, count_image, &images, NULL);
	add_text(o, "ServerVersion", WARREN_VERSION);
	add_number(o, "Containers", i->instances);
	add_number(o, "ContainersRunning", i->running);
	add_number(o, "ContainersPaused", i->paused);
	add_number(o, "ContainersStopped", i->stopped);
	add_number(o, "Images", images);
	add_text(o, "Name", i->name);
	add_text(o, "OperatingSystem", i->system);
	add_text(o, "OSType", "linux");
	add_text(o, "KernelVersion", i->kernel);
	add_text(o, "Architecture", i->architecture);
	add_number(o, "NCPU", (uint64_t)i->cpus);
	add_number(o, "MemTotal", i->memory);
	snprintf(memory, sizeof(memory), "%.4g GiB", (double)i->memory / (1u << 30));
	add_text(o, "MemTotalText", memory);
	add_text(o, "CgroupVersion", i->cgroups);
	add_text(o, "DataDir", i->data_dir);
	add_text(o, "RunDir", i->run_dir);
	for (int w = 0; w < DOCTOR_WALLS; w++) {
		struct json_object *one = json_object_new_object();

		add_text(one, "Name", i->walls[w].wall);
		json_object_object_add(one, "Works", json_object_new_boolean(i->walls[w].works));
		add_text(one, "Reason", i->walls[w].text);
		json_object_array_add(walls, one);
	}
	json_object_object_add(o, "Walls", walls);
	return o;
}

static const char plain[] =
	"Version: {{.ServerVersion}}\n"
	"Instances: {{.Containers}} ({{.ContainersRunning}} running, {{.ContainersPaused}} paused, "
	"{{.ContainersStopped}} stopped)\n"
	"Images: {{.Images}}\n"
	"Walls:{{range .Walls}}\n {{.Name}}: {{if .Works}}works{{else}}cannot work: "
	"{{.Reason}}{{end}}{{end}}\n"
	"Host: {{.Name}}, {{.OperatingSystem}}, Linux {{.KernelVersion}} {{.Architecture}}\n"
	"CPUs: {{.NCPU}}\n"
	"Memory: {{.MemTotalText}}\n"
	"Control groups: {{.CgroupVersion}}\n"
	"Data: {{.DataDir}}\n"
	"Instances' directory: {{.RunDir}}";

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *s = settings;
	cleanup_with(info_fini) struct info i = { 0 };
	cleanup_with(buf_fini) struct buf out = BUF_INIT(1u << 20);

	(void)argc, (void)argv;
	int r = info_collect(&i, e);

	if (r)
		return r;
	struct json_object *o = to_json(&i);

	if (s->format && streq(s->format, "json"))
		r = buf_adds(&out,
			     json_object_to_json_string_ext(
				     o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		r = template_render(s->format ? s->format : plain, o, &out, e);
	json_object_put(o);
	if (!r)
		puts(buf_str(&out));
	return r;
}

extern const struct command cmd_info;
const struct command cmd_info = {
	.name = "info",
	.summary = "Show the host, its walls and what runs on it",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
};
