/*
 * warren doctor: what this host can do, check by check, and which walls it can carry.
 *
 * Trust: prints what run/ found. Threads: none. #syscalls: write
 */
#include <json-c/json.h>
#include <stdio.h>

#include "base/util.h"
#include "cli/cli.h"
#include "run/doctor.h"

struct settings {
	bool json;
};

static const struct opt opts[] = {
	OPT_BOOL(0, "json", struct settings, json, "One JSON object instead of lines"),
	OPT_END,
};

static void print_line(const struct doctor_finding *f, void *arg)
{
	(void)arg;
	printf("%s  %-9s  %s%s%s\n", doctor_result_name(f->result), f->id, f->text,
	       f->mend[0] ? " -> " : "", f->mend);
}

static void add_object(const struct doctor_finding *f, void *arg)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "id", json_object_new_string(f->id));
	json_object_object_add(o, "result", json_object_new_string(doctor_result_name(f->result)));
	json_object_object_add(o, "text", json_object_new_string(f->text));
	json_object_object_add(o, "mend", json_object_new_string(f->mend));
	json_object_array_add(arg, o);
}

static void print_json(struct json_object *checks, const struct doctor_verdict *verdicts)
{
	struct json_object *all = json_object_new_object(), *walls = json_object_new_array();

	for (int i = 0; i < DOCTOR_WALLS; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "wall", json_object_new_string(verdicts[i].wall));
		json_object_object_add(o, "works", json_object_new_boolean(verdicts[i].works));
		json_object_object_add(o, "text", json_object_new_string(verdicts[i].text));
		json_object_array_add(walls, o);
	}
	json_object_object_add(all, "checks", checks);
	json_object_object_add(all, "walls", walls);
	puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY |
							 JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *s = settings;
	struct doctor_verdict verdicts[DOCTOR_WALLS];

	(void)argc, (void)argv, (void)e;
	if (s->json) {
		struct json_object *checks = json_object_new_array();

		doctor_run(add_object, checks, verdicts);
		print_json(checks, verdicts);
		return 0;
	}
	doctor_run(print_line, NULL, verdicts);
	putchar('\n');
	for (int i = 0; i < DOCTOR_WALLS; i++)
		printf("%-9s  %s%s%s\n", verdicts[i].wall,
		       verdicts[i].works ? "works" : "cannot work", verdicts[i].text[0] ? ": " : "",
		       verdicts[i].text);
	return 0;
}

extern const struct command cmd_doctor;
const struct command cmd_doctor = {
	.name = "doctor",
	.summary = "Check what this host can do, and how to mend what it cannot",
	.text = "One line a check: PASS, WARN or FAIL, its name, what was found, and what would "
		"mend it. The last lines say for each wall whether this user can run instances "
		"behind it. Nothing on the host is changed.",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
};
