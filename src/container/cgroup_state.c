/*
 * A container's cgroups as one JSON object in the instance's state, so that any later program finds them:
 *
 *	{"manager":"cgroupfs","rootless":false,
 *	 "dirs":[{"path":"/sys/fs/cgroup/pids/warren/web1","version":1,"controllers":"pids","made":true,"parents":0}]}
 *
 * Paths are kept instead of being worked out again, because the answer could change: another mount, another cgroup
 * of the caller.
 *
 * Trust: the state file is Warren's own, but it is read with the same checks as any document, and a path that is not
 * on a cgroup file system is refused before anything is killed or removed there.
 * Threads: any. #syscalls: statfs
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "container/cgroup_int.h"
#include "wire/json.h"

enum { STATE_MAX = 1 << 20 };

struct saved_dir {
	const char *path, *controllers;
	uint32_t version, parents;
	bool made;
};

struct saved {
	int manager;
	bool rootless;
	const char *unit;
	struct saved_dir *dirs;
	size_t dirs_n;
};

static const struct json_word manager_words[] = {
	{ "cgroupfs", CGROUP_MANAGER_CGROUPFS },
	{ "systemd", CGROUP_MANAGER_SYSTEMD },
	{ NULL, 0 },
};

static const struct json_member dir_members[] = {
	JSON_PATH("path", struct saved_dir, path, .required = true),
	JSON_STRING("controllers", struct saved_dir, controllers),
	JSON_U32("version", struct saved_dir, version, .required = true),
	JSON_U32("parents", struct saved_dir, parents),
	JSON_BOOL("made", struct saved_dir, made),
	JSON_END,
};

static const struct json_member saved_members[] = {
	JSON_ENUM("manager", struct saved, manager, manager_words),
	JSON_BOOL("rootless", struct saved, rootless),
	JSON_STRING("unit", struct saved, unit),
	JSON_ARRAY("dirs", struct saved, dirs, dirs_n, dir_members),
	JSON_END,
};

int cgroup_save(const struct cgroup *cg, struct buf *out)
{
	buf_addf(out, "{\"manager\":\"%s\",\"rootless\":%s", manager_words[cg->manager].word,
		 cg->rootless ? "true" : "false");
	if (cg->unit) {
		json_put_key(out, "unit");
		json_put_string(out, cg->unit);
	}
	buf_adds(out, ",\"dirs\":[");
	for (int i = 0; i < cg->n; i++) {
		const struct cgroup_dir *d = &cg->dirs[i];
		const char *comma = "";

		buf_adds(out, i ? ",{\"path\":" : "{\"path\":");
		json_put_string(out, d->path);
		buf_addf(out, ",\"version\":%d,\"made\":%s,\"parents\":%d,\"controllers\":\"",
			 d->v2 ? 2 : 1, d->made ? "true" : "false", d->parents);
		for (uint32_t bit = 1; bit <= CGROUP_LAST; bit <<= 1)
			if (d->controllers & bit) {
				buf_addf(out, "%s%s", comma, cgroup_controller_name(bit));
				comma = ",";
			}
		buf_adds(out, "\"}");
	}
	return buf_adds(out, "]}");
}

static int load_dir(struct cgroup *cg, const struct saved_dir *s, struct err *e)
{
	struct cgroup_dir *d = &cg->dirs[cg->n];

	if (cg->n == CGROUP_DIRS_MAX || s->version < 1 || s->version > 2 || s->parents > 64 ||
	    strstr(s->path, "/../"))
		return err_set(e, -EINVAL, "cgroup state: '%s' is not a directory that Warren made",
			       s->path);
	d->path = strdup(s->path);
	if (!d->path)
		return err_sys(e, -ENOMEM, "cgroup state");
	d->v2 = s->version == 2;
	d->made = s->made;
	d->parents = (int)s->parents;
	d->controllers = s->controllers ? cgroup_controllers(s->controllers) : 0;
	cg->n++;
	return 0;
}

int cgroup_load(struct cgroup *cg, const char *json, size_t n, struct err *e)
{
	struct arena arena = ARENA_INIT(4 * STATE_MAX);
	struct json_reader reader = { .arena = &arena, .name = "cgroup state", .e = e };
	struct json_value doc;
	struct saved s = { 0 };

	cgroup_init(cg);
	int r = json_tree_parse(json, n, STATE_MAX, reader.name, &arena, &doc, e);

	if (!r)
		r = json_read_members(&reader, NULL, saved_members, &doc, &s);
	if (!r) {
		cg->manager = (enum cgroup_manager)s.manager;
		cg->rootless = s.rootless;
		cg->unit = s.unit ? strdup(s.unit) : NULL;
		if (s.unit && !cg->unit)
			r = err_sys(e, -ENOMEM, "cgroup state");
	}
	for (size_t i = 0; !r && i < s.dirs_n; i++)
		r = load_dir(cg, &s.dirs[i], e);
	if (r)
		cgroup_fini(cg);
	arena_fini(&arena);
	return r;
}

bool cgroup_on_cgroupfs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 &&
	       (fs.f_type == CGROUP_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC);
}
