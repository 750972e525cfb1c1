/*
 * warren oci state: the state of a container as the specification writes it (runtime.md, "State"), with the
 * members that runc adds.
 *
 * #syscalls: write
 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/oci.h"
#include "wire/json.h"

static void put(struct buf *b, const char *key, const char *value)
{
	buf_addf(b, ",\n  \"%s\": ", key);
	json_put_string(b, value ? value : "");
}

static void print_state(struct instance *in, const struct oci_spec *spec, struct buf *b)
{
	enum instance_status s = wall_status(in);
	const char *root = spec && spec->root_path ? spec->root_path : "";

	buf_adds(b, "{\n  \"ociVersion\": \"1.3.0\"");
	put(b, "id", in->id);
	buf_addf(b, ",\n  \"pid\": %d", s == INSTANCE_STOPPED ? 0 : (int)in->pid);
	put(b, "status", instance_status_name(s));
	put(b, "bundle", in->bundle);
	if (*root == '/' || !in->bundle) {
		put(b, "rootfs", root);
	} else {
		cleanup_free char *path = NULL;

		if (asprintf(&path, "%s/%s", in->bundle, root) >= 0)
			put(b, "rootfs", path);
	}
	put(b, "created", in->created);
	buf_adds(b, ",\n  \"annotations\": {");
	for (size_t i = 0; i < in->annotations.n; i++) {
		buf_adds(b, i ? ",\n    " : "\n    ");
		json_put_string(b, in->annotations.v[i].key);
		buf_adds(b, ": ");
		json_put_string(b, in->annotations.v[i].value);
	}
	buf_addf(b, "%s},\n  \"owner\": \"%s\"\n}\n", in->annotations.n ? "\n  " : "",
		 in->owner ? "" : "root");
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(instance_fini) struct instance in;
	cleanup_with(buf_fini) struct buf text = BUF_INIT(8 << 20);
	struct oci_spec *spec = NULL;
	int r = oci_open(&in, argv[0], false, NULL, e);

	(void)settings, (void)argc;
	if (r)
		return r;
	instance_load_config(&in, &spec, NULL);
	print_state(&in, spec, &text);
	oci_spec_free(spec);
	if (text.error)
		return err_sys(e, text.error, "state");
	fputs(text.data, stdout);
	return 0;
}

extern const struct command oci_cmd_state;
const struct command oci_cmd_state = {
	.name = "state",
	.args = "ID",
	.summary = "Print a container's state as JSON",
	.run = run,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
