/*
 * warren system df, system prune: what Warren holds on disk, and letting go of what nobody uses.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: openat getdents64 newfstatat
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "cli/table.h"
#include "os/paths.h"
#include "run/disk.h"
#include "run/guest_root.h"
#include "run/instance.h"
#include "run/prune.h"
#include "run/registry.h"
#include "run/volume.h"

static void put_json(struct json_object **o)
{
	json_object_put(*o);
}

#define cleanup_json __attribute__((cleanup(put_json)))

static uint64_t number(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_uint64(v) : 0;
}

static void add_row(struct json_object *rows, const char *type, uint64_t total, uint64_t active,
		    uint64_t size, uint64_t unused)
{
	struct json_object *o = json_object_new_object();
	char text[64], bytes[32];

	json_object_object_add(o, "Type", json_object_new_string(type));
	snprintf(text, sizeof(text), "%llu", (unsigned long long)total);
	json_object_object_add(o, "TotalCount", json_object_new_string(text));
	snprintf(text, sizeof(text), "%llu", (unsigned long long)active);
	json_object_object_add(o, "Active", json_object_new_string(text));
	images_size(size, text, sizeof(text));
	json_object_object_add(o, "Size", json_object_new_string(text));
	images_size(unused, bytes, sizeof(bytes));
	snprintf(text, sizeof(text), "%s (%d%%)", bytes, size ? (int)(unused * 100 / size) : 0);
	json_object_object_add(o, "Reclaimable", json_object_new_string(text));
	json_object_array_add(rows, o);
}

/* Calls `fn` for each instance; its errors are not ours. */
static int each_instance(void (*fn)(struct subject *s, const char *root, void *arg), void *arg,
			 struct err *e)
{
	cleanup_free char *root = NULL;
	struct strlist ids = { 0 };
	int r = registry_root(&root, e);

	if (!r)
		r = instance_list(root, &ids, e);
	for (size_t i = 0; !r && i < ids.n; i++) {
		struct subject s = SUBJECT_INIT;

		if (subject_open_id(&s, root, ids.v[i], false, NULL) == 0) {
			fn(&s, root, arg);
			subject_fini(&s);
		}
	}
	strlist_fini(&ids);
	return r;
}

struct counting {
	uint64_t total, active, bytes, idle_bytes;
	struct strlist images; /* ids in use */
};

static void count_one(struct subject *s, const char *root, void *arg)
{
	struct counting *c = arg;
	uint64_t bytes = s->rec.disk ? disk_bytes(s->rec.disk) : 0;

	(void)root;
	c->total++;
	c->bytes += bytes;
	if (subject_alive(s))
		c->active++;
	else
		c->idle_bytes += bytes;
	if (s->rec.image_id && !strlist_has(&c->images, s->rec.image_id))
		strlist_add(&c->images, s->rec.image_id);
}

struct volume_count {
	uint64_t total, used, bytes, idle_bytes;
};

static int count_volumes(struct volume_count *c, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist names = { .n = 0 };
	int r = volume_list(&names, e);

	for (size_t i = 0; !r && i < names.n; i++) {
		cleanup_with(volume_fini) struct volume v = { .name = NULL };

		if (volume_load(names.v[i], &v, NULL))
			continue;
		uint64_t bytes = disk_bytes(v.mountpoint);

		c->total++;
		c->used += v.used;
		c->bytes += bytes;
		c->idle_bytes += v.used ? 0 : bytes;
	}
	return r;
}

static void keep(void *arg, struct json_object *o)
{
	struct json_object **out = arg;

	json_object_put(*out);
	*out = json_object_get(o);
}

struct df_settings {
	const char *format;
};

static const struct opt df_opts[] = {
	OPT_STRING(0, "format", "FORMAT", struct df_settings, format, "table, json or a template"),
	OPT_END,
};

static int run_df(void *settings, int argc, char **argv, struct err *e)
{
	static const struct column columns[] = { { "Type", "TYPE" },
						 { "TotalCount", "TOTAL" },
						 { "Active", "ACTIVE" },
						 { "Size", "SIZE" },
						 { "Reclaimable", "RECLAIMABLE" } };
	const struct df_settings *s = settings;
	cleanup_json struct json_object *rows = json_object_new_array(), *usage = NULL;
	struct counting c = { 0 };
	int r = images_ask((const char *[]){ "usage", NULL }, true, keep, &usage, e);

	(void)argc, (void)argv;
	if (!r)
		r = each_instance(count_one, &c, e);
	if (!r) {
		uint64_t size = number(usage, "layerBytes") + number(usage, "blobBytes");
		struct volume_count v = { 0 };

		add_row(rows, "Images", number(usage, "images"), c.images.n, size,
			c.images.n ? number(usage, "unusedBytes") : size);
		add_row(rows, "Containers", c.total, c.active, c.bytes, c.idle_bytes);
		r = count_volumes(&v, e);
		add_row(rows, "Local Volumes", v.total, v.used, v.bytes, v.idle_bytes);
	}
	if (!r) {
		r = table_print(stdout, s->format, columns, 5, 5, rows, e);
	}
	strlist_fini(&c.images);
	return r;
}

static const struct command cmd_df = {
	.name = "df",
	.summary = "Show what images, instances and volumes take on disk",
	.opts = df_opts,
	.settings_size = sizeof(struct df_settings),
	.run = run_df,
};

struct prune_settings {
	bool all, force, volumes;
};

static const struct opt prune_opts[] = {
	OPT_BOOL('a', "all", struct prune_settings, all,
		 "All images that no instance uses, not only those without a name"),
	OPT_BOOL('f', "force", struct prune_settings, force, "Accepted; nothing is asked"),
	OPT_BOOL(0, "volumes", struct prune_settings, volumes, "Anonymous volumes too"),
	OPT_END,
};

static void print_removed(void *arg, const char *id)
{
	(void)arg;
	printf("Deleted: %s\n", id);
}

/* Whether a claim on an image says that the instance lives, below whatever directory of instances. */
static bool claimed(const char *data, const char *id)
{
	char path[PATH_MAX + 16], one[2 * PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/uses", data);
	cleanup_closedir DIR *d = opendir(path);

	for (struct dirent *x; d && (x = readdir(d));) {
		snprintf(one, sizeof(one), "%s/%s/%s", path, x->d_name, id);
		if (x->d_name[0] != '.' && stat(one, &st) == 0)
			return true;
	}
	return false;
}

/* Not one that is being made just now, or that another directory of instances knows. What has no claim
 * (--rootfs) is certain to be left over only when it is older than the last boot. */
static bool is_leftover(const char *data, const char *id, const char *path)
{
	struct timespec now, up;
	char upper[PATH_MAX + 320];
	struct stat st;

	if (lstat(path, &st) < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0 ||
	    clock_gettime(CLOCK_BOOTTIME, &up) < 0 || claimed(data, id))
		return false;
	if (st.st_ctime < now.tv_sec - up.tv_sec)
		return true;
	snprintf(upper, sizeof(upper), "%s/upper", path);
	return st.st_ctime < now.tv_sec - 60 && access(upper, F_OK) == 0;
}

/* Directories of instances that are no more: the host went down, or a process was killed at the wrong
 * moment. */
static int remove_leftovers(struct err *e)
{
	char data[PATH_MAX], path[PATH_MAX + 16], one[PATH_MAX + 300];
	cleanup_free char *root = NULL;
	struct strlist ids = { 0 };
	int r = paths_data(data, sizeof(data), e);

	if (!r)
		r = registry_root(&root, e);
	if (!r)
		r = instance_list(root, &ids, e);
	if (r)
		return r;
	snprintf(path, sizeof(path), "%s/instances", data);
	cleanup_closedir DIR *d = opendir(path);

	for (struct dirent *x; d && (x = readdir(d));) {
		struct err why = ERR_INIT;

		if (x->d_name[0] == '.' || strlen(x->d_name) != 64 || strlist_has(&ids, x->d_name))
			continue;
		snprintf(one, sizeof(one), "%s/%s", path, x->d_name);
		if (!is_leftover(data, x->d_name, one))
			continue;
		if (disk_remove(one, &why) == 0)
			printf("Deleted: files of %.12s, which is no more\n", x->d_name);
		else
			fprintf(stderr, "Warning: %s\n", why.msg);
	}
	strlist_fini(&ids);
	return 0;
}

static int run_prune(void *settings, int argc, char **argv, struct err *e)
{
	const struct prune_settings *s = settings;
	struct counting before = { 0 };
	cleanup_free char *root = NULL;
	struct err why = ERR_INIT;
	uint64_t freed = 0;
	char text[32];
	int r = each_instance(count_one, &before, e);

	(void)argc, (void)argv;
	if (!r)
		r = registry_root(&root, e);
	if (!r && prune_instances(root, print_removed, NULL, &why))
		fprintf(stderr, "Warning: %s\n", why.msg);
	if (!r)
		r = remove_leftovers(e);
	if (!r)
		r = images_prune(s->all, &freed, e);
	freed += guest_roots_collect();
	if (!r && s->volumes)
		r = volumes_prune(false, &(struct strlist){ .n = 0 }, &freed, e);
	if (!r) {
		images_size(freed + before.idle_bytes, text, sizeof(text));
		printf("Total reclaimed space: %s\n", text);
	}
	strlist_fini(&before.images);
	return r;
}

static const struct command cmd_prune = {
	.name = "prune",
	.summary = "Remove ended instances, their leftovers and images without a name",
	.opts = prune_opts,
	.settings_size = sizeof(struct prune_settings),
	.run = run_prune,
};

static const struct command *const subs[] = { &cmd_df, &cmd_prune, NULL };

extern const struct command cmd_system;
const struct command cmd_system = {
	.name = "system",
	.summary = "Disk use, and removing what is unused",
	.subs = subs,
};
