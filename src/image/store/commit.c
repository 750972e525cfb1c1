/*
 * From instances back to images: commit packs an overlay's upper directory as one more layer on the image's own, export
 * packs the whole tree that the layers show, mounted for the purpose in a mount namespace that ends with
 * this process.
 *
 * Trust: the upper directory was written by the instance: warren-pack reads it, confined; the new layer goes through
 * warren-unpack like any other. Threads: one. #syscalls: openat unshare mount mkdirat lseek fcntl
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/store/commit.h"
#include "image/store/db.h"
#include "os/paths.h"
#include "os/spawn.h"
#include "wire/containerfile.h"
#include "wire/json.h"

#define LAYERS_MAX 512

static void put_json(struct json_object **o)
{
	json_object_put(*o);
}

#define cleanup_json __attribute__((cleanup(put_json)))

int store_pack(const char *mode, int dir, int out, const char *what, struct err *e)
{
	char path[PATH_MAX], number[16];
	const char *argv[] = { "warren-pack", mode, number, NULL };
	int complaint;
	pid_t pid;
	int r = paths_helper("warren-pack", path, sizeof(path), e);

	if (r)
		return r;
	snprintf(number, sizeof(number), "%d", dir);
	fcntl(dir, F_SETFD, 0);
	r = spawn_with_stderr(&pid, path, argv, (const int[3]){ -1, out, -1 }, &complaint, e);
	fcntl(dir, F_SETFD, FD_CLOEXEC);
	return r ? r : spawn_finish(pid, complaint, what, e);
}

/* The image's layers as the database has them, lowest first. Their number or -errno. */
static int layers_of(struct store *s, const char *id, struct layer *out, struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	int n = 0;
	int r = db_query(s, &q, e,
			 "SELECT diff_id, blob FROM image_layers JOIN layers ON number = layer "
			 "WHERE image = ? ORDER BY position",
			 "s", id);

	while (!r && (r = db_step(s, q, e)) == 1) {
		if (n == LAYERS_MAX)
			return err_set(e, -E2BIG, "image has %d layers already", LAYERS_MAX);
		r = layer_find(s, db_text(q, 0), db_text(q, 1), &out[n], e);
		if (r != 1)
			return r < 0 ? r
				     : err_set(e, -EIO, "layer %s is incomplete", db_text(q, 0));
		n++;
		r = 0;
	}
	return r ? r : n;
}

static struct json_object *object_in(struct json_object *o, const char *key, enum json_type type)
{
	struct json_object *v = NULL;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, type)) {
		v = type == json_type_array ? json_object_new_array() : json_object_new_object();
		json_object_object_add(o, key, v);
	}
	return v;
}

/* "NAME=value" in place of an earlier one of this name. */
static void set_pair(struct json_object *list, const char *pair)
{
	size_t n = strcspn(pair, "=") + 1;

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *old = json_object_get_string(json_object_array_get_idx(list, i));

		if (old && strncmp(old, pair, n) == 0) {
			json_object_array_put_idx(list, i, json_object_new_string(pair));
			return;
		}
	}
	json_object_array_add(list, json_object_new_string(pair));
}

/* CMD ["a"] and its like, as docker's --change. */
static int change(struct json_object *config, const char *wish, struct err *e)
{
	static const struct {
		const char *word, *key;
		enum { LIST, TEXT, APPEND, KEY, PAIR } kind;
	} known[] = { { "CMD", "Cmd", LIST },
		      { "ENTRYPOINT", "Entrypoint", LIST },
		      { "USER", "User", TEXT },
		      { "WORKDIR", "WorkingDir", TEXT },
		      { "STOPSIGNAL", "StopSignal", TEXT },
		      { "ENV", "Env", APPEND },
		      { "EXPOSE", "ExposedPorts", KEY },
		      { "VOLUME", "Volumes", KEY },
		      { "LABEL", "Labels", PAIR } };
	size_t n = strcspn(wish, " \t=");
	const char *value = wish + n + strspn(wish + n, " \t=");
	struct json_object *v = NULL, *list = NULL;

	if (n == strlen("HEALTHCHECK") && strncasecmp(wish, "HEALTHCHECK", n) == 0 &&
	    containerfile_health(value, &v) == 0) {
		json_object_object_add(config, "Healthcheck", v);
		return 0;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strlen(known[i].word) != n || strncasecmp(known[i].word, wish, n) != 0)
			continue;
		if (known[i].kind == APPEND) {
			const char *sep = strpbrk(value, "= ");

			if (!sep || sep == value)
				break;
			if (!json_object_object_get_ex(config, known[i].key, &list) || !list) {
				list = json_object_new_array();
				json_object_object_add(config, known[i].key, list);
			}
			char pair[4096];

			snprintf(pair, sizeof(pair), "%.*s=%s", (int)(sep - value), value, sep + 1);
			set_pair(list, pair);
			return 0;
		}
		if (known[i].kind == KEY) {
			json_object_object_add(object_in(config, known[i].key, json_type_object),
					       value, json_object_new_object());
			return 0;
		}
		if (known[i].kind == PAIR) {
			char key[256];
			const char *sep = strchr(value, '=');

			if (!sep || sep == value || (size_t)(sep - value) >= sizeof(key))
				break;
			snprintf(key, sizeof(key), "%.*s", (int)(sep - value), value);
			json_object_object_add(object_in(config, known[i].key, json_type_object),
					       key, json_object_new_string(sep + 1));
			return 0;
		}
		if (known[i].kind == LIST && *value == '[') {
			v = json_tokener_parse(value);
			if (!json_object_is_type(v, json_type_array)) {
				json_object_put(v);
				break;
			}
		} else if (known[i].kind == LIST) {
			v = json_object_new_array();
			json_object_array_add(v, json_object_new_string("/bin/sh"));
			json_object_array_add(v, json_object_new_string("-c"));
			json_object_array_add(v, json_object_new_string(value));
		} else {
			v = json_object_new_string(value);
		}
		json_object_object_add(config, known[i].key, v);
		return 0;
	}
	return err_set(e, -EINVAL,
		       "--change '%s': expected CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, "
		       "USER, VOLUME, "
		       "WORKDIR or STOPSIGNAL and its value",
		       wish);
}

/* The image's configuration with one more layer and its history. */
static int new_config(struct store *s, const struct commit_request *c, const char *id,
		      const char *diff_id, struct buf *out, struct err *e)
{
	cleanup_with(buf_fini) struct buf old = BUF_INIT(4u << 20);
	cleanup_json struct json_object *o = NULL;
	struct json_object *line = json_object_new_object();
	char now[32];
	time_t t = time(NULL);
	struct tm tm;
	int r = blob_get(s, id, &old, e);

	if (!r)
		r = json_parse(buf_str(&old), old.len, 4u << 20, id, &o, e);
	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	for (size_t i = 0; !r && i < c->changes_n; i++)
		r = change(object_in(o, "config", json_type_object), c->changes[i], e);
	if (r) {
		json_object_put(line);
		return r;
	}
	json_object_object_add(o, "created", json_object_new_string(now));
	if (c->author)
		json_object_object_add(o, "author", json_object_new_string(c->author));
	if (diff_id)
		json_object_array_add(object_in(object_in(o, "rootfs", json_type_object),
						"diff_ids", json_type_array),
				      json_object_new_string(diff_id));
	else
		json_object_object_add(line, "empty_layer", json_object_new_boolean(true));
	json_object_object_add(line, "created", json_object_new_string(now));
	json_object_object_add(
		line, "created_by",
		json_object_new_string(c->created_by ? c->created_by : "warren commit"));
	if (c->message)
		json_object_object_add(line, "comment", json_object_new_string(c->message));
	json_object_array_add(object_in(o, "history", json_type_array), line);
	return buf_adds(out, json_object_to_json_string_ext(
				     o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static int new_layer(struct store *s, const char *upper, struct layer *out, struct err *e)
{
	struct scratch t = SCRATCH_NONE;
	cleanup_fd int dir = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir < 0 ? err_sys(e, -errno, "'%s'", upper) : store_scratch(s, &t, e);
	cleanup_fd int tar = r ? -1 : openat(t.fd, "tar", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (!r && tar < 0)
		r = err_sys(e, -errno, "%s/%s/tar", s->path, t.name);
	if (!r)
		r = store_pack("layer", dir, tar, "changes", e);
	if (!r && lseek(tar, 0, SEEK_SET) < 0)
		r = -errno;
	const struct layer_source src = { .fd = tar, .name = "changes" };

	if (!r)
		r = layer_add(s, &src, out, e);
	store_scratch_drop(s, &t);
	return r;
}

int image_commit(struct store *s, const struct commit_request *c, struct err *e)
{
	cleanup_with(buf_fini) struct buf config = BUF_INIT(4u << 20);
	cleanup_free struct layer *layers = calloc(LAYERS_MAX + 1, sizeof(*layers));
	char id[DIGEST_SIZE], name[1024], whole[1024];
	const char *names[] = { whole };
	struct reference ref;
	int r = layers ? image_find(s, c->image, id, name, e) : -ENOMEM;

	if (!r && c->name)
		r = reference_parse(c->name, &ref, e);
	if (!r && c->name && reference_format(&ref, whole, sizeof(whole)))
		r = -ENAMETOOLONG;
	int n = r ? r : layers_of(s, id, layers, e);

	if (n < 0)
		return n;
	if (c->upper)
		r = new_layer(s, c->upper, &layers[n], e);
	if (!r)
		r = new_config(s, c, id, c->upper ? layers[n].diff_id : NULL, &config, e);
	return r ? r
		 : image_add_made(s, buf_str(&config), layers, (size_t)n + !!c->upper, names,
				  c->name ? 1 : 0, e);
}

int store_mount_tree(struct store *s, const char *id, const char *upper, const char *at,
		     struct err *e)
{
	cleanup_with(buf_fini) struct buf options = BUF_INIT(64u << 10);
	cleanup_free struct layer *layers = calloc(LAYERS_MAX + 1, sizeof(*layers));
	int n = layers ? layers_of(s, id, layers, e) : -ENOMEM;

	if (n < 0)
		return n;
	/* Without an upper directory an empty one: two layers are the least that overlayfs takes. */
	buf_addf(&options, "%slowerdir=%s", s->rootless ? "userxattr," : "", upper);
	/* By path: the store's descriptor is on a mount of the namespace that is left. Short names, because all options together must fit into a page. */
	for (int i = n; i-- > 0;)
		buf_addf(&options, ":layers/%lld/fs", (long long)layers[i].number);
	if (options.error)
		return options.error;
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    chdir(s->path) < 0 ||
	    mount("overlay", at, "overlay", MS_RDONLY | MS_NODEV | MS_NOSUID, buf_str(&options)) <
		    0)
		return err_sys(e, -errno, "mount the instance's files");
	return 0;
}

int image_export(struct store *s, const char *image, const char *upper, int out, struct err *e)
{
	struct scratch t = SCRATCH_NONE;
	char id[DIGEST_SIZE], name[1024];
	int r = image_find(s, image, id, name, e);

	if (!r)
		r = store_scratch(s, &t, e);
	if (!r)
		r = store_mount_tree(s, id, upper, t.name, e);
	cleanup_fd int dir = r ? -1 : open(t.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (!r && dir < 0)
		r = err_sys(e, -errno, "%s/%s", s->path, t.name);
	if (!r)
		r = store_pack("tree", dir, out, "export", e);
	close_fd(&dir);
	if (!r && umount2(t.name, MNT_DETACH) < 0)
		r = err_sys(e, -errno, "unmount the instance's files");
	store_scratch_drop(s, &t);
	return r;
}
