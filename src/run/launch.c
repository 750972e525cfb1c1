/*
 * From wishes to an instance.
 *
 * The order matters for what a killed process leaves behind: first the instance's directory, whose state
 * says "creating" and which `rm` and `system prune` know how to clear; then the name, the image's claim, the
 * disk; last the state that makes it an instance that can be started.
 *
 * Trust: wishes are the user's, judged by bundle/. Threads: any.
 * #syscalls: mkdir geteuid realpath
 */
#include "run/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "bundle/bundle.h"
#include "image/image.h"
#include "os/file.h"
#include "os/subid.h"
#include "run/detach.h"
#include "run/events.h"
#include "run/guest.h"
#include "run/kernel.h"
#include "run/volume.h"

enum { LOG_FILES_DEFAULT = 1 };

/* What was wished for a guest's machine: the first such annotation that begins with `key`, or NULL. */
static const char *guest_wish(const struct launch *l, const char *key)
{
	for (size_t i = 0; i < l->options->annotations.n; i++) {
		const char *rest = str_after(l->options->annotations.v[i], key);

		if (rest)
			return rest;
	}
	return NULL;
}

static int pick_one(const struct launch *l, const char *name, bool choice,
		    const struct wall_ops **wall, struct err *e)
{
	int r = 0;

	if (choice && (*wall)->ready)
		r = (*wall)->ready(guest_wish(l, GUEST_KERNEL "="), e);
	else
		r = (*wall)->probe ? (*wall)->probe(e) : 0;
	return r ? err_wrap(e, "--isolation %s", name) : 0;
}

/* Wishes that only a guest can fulfil are not forgotten silently. Where the user names a guest's wall and containers
 * as the second choice, those that are about its kernel mean the first. */
static int check_wishes(const struct launch *l, const struct wall_ops *wall, struct err *e)
{
	static const struct {
		const char *key, *option;
	} wishes[] = { { GUEST_DISK ".", "--disk" },	      { GUEST_KERNEL "=", "--kernel" },
		       { GUEST_INITRD "=", "--initrd" },      { GUEST_CPU "=", "--cpu-template" },
		       { GUEST_APPEND "=", "--append" },      { GUEST_VCPUS "=", "--vcpus" },
		       { GUEST_PV_MEMORY "=", "--pv-memory" } };
	bool choice = l->isolation && strchr(l->isolation, ',');

	if (wall->guest) {
		if (!streq(wall->name, "pv") && !choice && guest_wish(l, GUEST_PV_MEMORY "="))
			return err_set(e, -EINVAL, "--pv-memory: only for --isolation pv");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(wishes) && (i == 0 || !choice); i++) {
		if (guest_wish(l, wishes[i].key))
			return err_set(e, -EINVAL,
				       "%s: a %s has no machine of its own. Fix: use --pv or --vm",
				       wishes[i].option, wall->name);
	}
	return 0;
}

/* The first wall of the list that works here; there is no other second choice. */
static int pick_wall(const struct launch *l, const struct wall_ops **wall, struct err *e)
{
	const char *p = l->isolation ? l->isolation : "container";
	bool choice = strchr(p, ',');
	struct err first = ERR_INIT;
	int r;

	do {
		size_t n = strcspn(p, ",");
		char name[32];

		if (n >= sizeof(name))
			return err_set(e, -EINVAL, "--isolation '%s': no such wall", p);
		memcpy(name, p, n);
		name[n] = '\0';
		err_clear(e);
		r = wall_find(name, wall, e);
		if (r)
			return r; /* a word that is no wall is no choice */
		r = pick_one(l, name, choice, wall, e);
		if (!r)
			return check_wishes(l, *wall, e);
		if (!first.code)
			first = *e;
		p += n + (p[n] == ',');
	} while (*p);
	*e = first; /* what was wanted most */
	return first.code;
}

/* A kernel that was named is looked for before there is an instance that could not start. */
static int check_kernel(const struct launch *l, const struct wall_ops *wall, struct err *e)
{
	const char *name = wall->guest && !l->config ? guest_wish(l, GUEST_KERNEL "=") : NULL;
	struct kernel k;
	int r = name ? kernel_open(&k, name, wall->name, e) : 0;

	if (r)
		return err_wrap(e, "--kernel");
	if (name)
		kernel_fini(&k);
	return 0;
}

static int parse_log_opts(const struct launch *l, struct record *rec, struct err *e)
{
	rec->log_max_file = LOG_FILES_DEFAULT;
	for (size_t i = 0; l->log_opts && i < l->log_opts->n; i++) {
		const char *opt = l->log_opts->v[i], *size = str_after(opt, "max-size=");
		const char *files = str_after(opt, "max-file=");
		uint64_t v;
		int r = size ? str_to_size(size, &v) : files ? str_to_u64(files, &v) : -EINVAL;

		if (r || !v || v > INT64_MAX || (files && v > 1000))
			return err_set(e, -EINVAL,
				       "--log-opt '%s': expected max-size=SIZE or max-file=NUMBER",
				       opt);
		if (size)
			rec->log_max_size = (int64_t)v;
		else
			rec->log_max_file = (int64_t)v;
	}
	return 0;
}

static int make_dir_all(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		char was = part[i];

		part[i] = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return -errno;
		part[i] = was;
	}
	return 0;
}

static int write_text(int dir, const char *name, const char *text, struct err *e)
{
	int r = text ? file_replace(dir, name, text, strlen(text), 0644, 0) : 0;

	return r ? err_sys(e, r, "write %s", name) : 0;
}

/* What bundle/ decided, on disk. */
static int write_bundle(struct subject *s, const struct bundle *b, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && i < b->make_dirs.n; i++) {
		r = make_dir_all(b->make_dirs.v[i], 0755);
		if (r)
			return err_sys(e, r, "mkdir '%s'", b->make_dirs.v[i]);
	}
	r = write_text(s->in.dir, "hosts", b->hosts, e);
	if (!r)
		r = write_text(s->in.dir, "hostname", b->hostname, e);
	if (!r)
		r = write_text(s->in.dir, "resolv.conf", b->resolv_conf, e);
	return r ? r : instance_save_config(&s->in, b->config, b->config_n, e);
}

static int copy_list(struct strlist *to, const struct strlist *from)
{
	int r = 0;

	for (size_t i = 0; !r && from && i < from->n; i++)
		r = strlist_add(to, from->v[i]);
	return r;
}

/* One label, in place of an earlier one of its name. */
static int set_label(struct strlist *labels, const char *label)
{
	size_t n = strcspn(label, "=");

	for (size_t i = 0; i < labels->n; i++)
		if (strncmp(labels->v[i], label, n) == 0 &&
		    (labels->v[i][n] == '=' || !labels->v[i][n]))
			return record_set(&labels->v[i], label);
	return strlist_add(labels, label);
}

static int labels_of_file(struct strlist *labels, const char *path, struct err *e)
{
	cleanup_fclose FILE *f = fopen(path, "re");
	cleanup_free char *line = NULL;
	size_t size = 0;
	int r = f ? 0 : err_sys(e, -errno, "--label-file '%s'", path);

	while (!r && getline(&line, &size, f) > 0) {
		line[strcspn(line, "\r\n")] = '\0';
		const char *s = line + strspn(line, " \t");

		if (*s && *s != '#')
			r = set_label(labels, s);
	}
	return r;
}

/* The image's, then those of files, then -l. */
static int collect_labels(struct record *rec, const struct bundle_options *o,
			  const struct image *img, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && img && i < img->config.labels.n; i++) {
		const struct image_pair *p = &img->config.labels.v[i];
		cleanup_free char *label = NULL;

		r = asprintf(&label, "%s=%s", p->key, p->value) < 0
			    ? -ENOMEM
			    : set_label(&rec->labels, label);
	}
	for (size_t i = 0; !r && i < o->label_file.n; i++)
		r = labels_of_file(&rec->labels, o->label_file.v[i], e);
	for (size_t i = 0; !r && i < o->labels.n; i++)
		r = *o->labels.v[i] && *o->labels.v[i] != '='
			    ? set_label(&rec->labels, o->labels.v[i])
			    : err_set(e, -EINVAL, "--label '%s': no name", o->labels.v[i]);
	return r;
}

static int fill_record(const struct launch *l, struct subject *s, const struct image *img,
		       const struct bundle *b, const char *root, struct err *e)
{
	const struct bundle_options *o = l->options;
	struct record *rec = &s->rec;
	char log[PATH_MAX];
	int sig, r;

	r = record_set(&rec->stop_signal, l->stop_signal ? l->stop_signal : b->stop_signal);
	if (!r)
		r = signal_parse(rec->stop_signal, &sig, e);
	if (!r && l->log_driver && !streq(l->log_driver, "json-file") &&
	    !streq(l->log_driver, "none"))
		r = err_set(e, -EINVAL, "--log-driver '%s' is none of json-file, none",
			    l->log_driver);
	if (!r && !(l->log_driver && streq(l->log_driver, "none"))) {
		snprintf(log, sizeof(log), "%s/%s-json.log", rec->disk, s->in.id);
		r = record_set(&rec->log, log);
	}
	if (!r && img) {
		r = record_set(&rec->image, l->image);
		r = r ? r : record_set(&rec->image_id, img->id);
		r = r ? r : record_set(&rec->image_data, img->data);
	}
	(void)root;
	r = r ? r : record_set(&rec->network, o->network ? o->network : "private");
	r = r ? r : record_set(&rec->hostname, o->hostname);
	r = r ? r : record_set(&rec->user, o->user ? o->user : img ? img->config.user : NULL);
	r = r ? r : record_set(&rec->workdir, o->workdir);
	r = r ? r : record_set(&rec->isolation_wish, l->isolation);
	r = r ? r : collect_labels(rec, o, img, e);
	r = r ? r : copy_list(&rec->binds, &o->volumes);
	r = r ? r : copy_list(&rec->ports, l->publish);
	rec->tty = o->tty;
	rec->open_stdin = o->interactive;
	rec->stdin_once = l->stdin_once;
	rec->auto_remove = l->auto_remove;
	rec->privileged = o->privileged;
	rec->read_only = o->read_only;
	rec->memory = (int64_t)o->memory;
	rec->pids_limit = o->pids_limit;
	rec->restart_policy = l->restart_policy;
	rec->restart_max = l->restart_max;
	rec->timeout_ms = (int64_t)(l->timeout_ns / 1000000);
	if (l->stop_timeout != LAUNCH_STOP_TIMEOUT_DEFAULT)
		rec->stop_timeout_ms = l->stop_timeout < 0 ? -1 : l->stop_timeout * 1000;
	static const struct health_wish as_image_says;

	if (!r)
		r = health_settle(l->health ? l->health : &as_image_says,
				  img ? &img->config.health : NULL, rec, e);
	return r ? r : copy_list(&rec->command, &b->command);
}

/* The ids of a rootless instance. */
struct ids {
	struct subid_map map;
	struct bundle_id_range uids[SUBID_RANGES_MAX], gids[SUBID_RANGES_MAX];
};

static void convert(struct bundle_id_range *to, const struct subid_range *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (struct bundle_id_range){ from[i].inside, from[i].outside, from[i].size };
}

static int rootless_ids(struct bundle_request *req, struct ids *ids, struct err *e)
{
	if (!req->rootless)
		return 0;
	int r = subid_load(&ids->map, e);

	convert(ids->uids, ids->map.uids, ids->map.uids_n);
	convert(ids->gids, ids->map.gids, ids->map.gids_n);
	req->uids = ids->uids;
	req->gids = ids->gids;
	req->uids_n = ids->map.uids_n;
	req->gids_n = ids->map.gids_n;
	return r;
}

/* A domain brings its own config.json. */
static int fill_domain(const struct launch *l, struct subject *s, const char *root, struct err *e)
{
	struct bundle b = { .stop_signal = "SIGTERM" };
	int r = make_dir_all(s->rec.disk, 0711);

	if (r)
		return err_sys(e, r, "mkdir '%s'", s->rec.disk);
	r = instance_save_config(&s->in, l->config, strlen(l->config), e);
	if (!r)
		r = fill_record(l, s, NULL, &b, root, e);
	return r ? r : record_set(&s->rec.image, l->kernel);
}

static int fill(const struct launch *l, struct subject *s, struct image *img, const char *root,
		struct err *e)
{
	char dir[PATH_MAX];
	struct bundle_request req = {
		.options = l->options,
		.image = img,
		.rootfs = s->rec.rootfs,
		.id = s->in.id,
		.name = s->rec.name,
		.dir = dir,
		.disk = s->rec.disk,
		.args = l->args,
		.discard = l->auto_remove,
		.rootless = geteuid() != 0,
		.guest = s->wall->guest,
	};
	struct ids ids = { 0 };
	struct bundle b = { 0 };
	int r = make_dir_all(s->rec.disk, 0711);

	if (r)
		return err_sys(e, r, "mkdir '%s'", s->rec.disk);
	snprintf(dir, sizeof(dir), "%s/%s", root, s->in.id);
	r = rootless_ids(&req, &ids, e);
	if (!r)
		r = bundle_make(&req, &b, e);
	if (!r)
		r = write_bundle(s, &b, e);
	for (size_t i = 0; !r && i < b.volumes_n; i++) {
		cleanup_free char *line = volume_line(&b.volumes[i]);

		r = line ? strlist_add(&s->rec.volumes, line) : -ENOMEM;
	}
	if (!r)
		r = volumes_claim(b.volumes, b.volumes_n, s->in.id, dir, img, e);
	if (!r && img)
		r = image_hold(img, s->in.id, dir, e);
	if (!r)
		r = fill_record(l, s, img, &b, root, e);
	bundle_fini(&b);
	return r;
}

/* The name is written down before it is claimed, so that whoever removes a half-made instance knows what to
 * give back. */
static int name_it(const struct launch *l, struct subject *s, const char *root, struct err *e)
{
	for (int tries = 0;; tries++) {
		int r = l->name ? record_set(&s->rec.name, l->name) : 0;

		if (!l->name) {
			free(steal_ptr(&s->rec.name));
			r = registry_name_invent(root, &s->rec.name, e);
		}
		if (!r)
			r = subject_save(s, e);
		if (!r)
			r = registry_name_claim(root, s->rec.name, s->in.id, e);
		if (r != -EEXIST || l->name || tries == 20)
			return r;
		err_clear(e);
	}
}

static int begin(const struct launch *l, struct subject *s, const char *root, struct err *e)
{
	char id[65], bundle[PATH_MAX], rootfs[PATH_MAX], disk[PATH_MAX];
	struct stat st;
	int r = 0;

	if (l->id)
		snprintf(id, sizeof(id), "%s", l->id);
	else
		r = registry_new_id(id, e);
	if (!r)
		r = image_instance_dir(id, disk, sizeof(disk), e);
	if (!r)
		r = record_set(&s->rec.disk, disk);
	if (r)
		return r;
	if (l->rootfs) {
		if (!realpath(l->rootfs, rootfs))
			return err_sys(e, -errno, "--rootfs '%s'", l->rootfs);
		if (stat(rootfs, &st) < 0 || !S_ISDIR(st.st_mode))
			return err_sys(e, -ENOTDIR, "--rootfs '%s'", l->rootfs);
		r = record_set(&s->rec.rootfs, rootfs);
	}
	snprintf(bundle, sizeof(bundle), "%s/%s", root, id);
	s->in.bundle = strdup(bundle);
	s->in.wall = strdup(s->wall->name);
	if (r || !s->in.bundle || !s->in.wall)
		return r ? r : -ENOMEM;
	return instance_new(&s->in, root, id, e);
}

/* Whether `want`, "OS[/ARCH[/VARIANT]]", is what the image is for. What the image does not say fits. */
static int check_platform(const struct image *img, const char *want, struct err *e)
{
	const char *const have[] = { img->config.os, img->config.architecture,
				     img->config.variant };
	const char *p = want;

	for (size_t i = 0; p && *p && i < ARRAY_SIZE(have); i++) {
		size_t n = strcspn(p, "/");

		if (have[i] && *have[i] && (strlen(have[i]) != n || memcmp(have[i], p, n) != 0))
			return err_set(e, -ENOENT, "image '%s' is for %s/%s, not for %s", img->name,
				       have[0] ? have[0] : "?", have[1] ? have[1] : "?", want);
		p += n + (p[n] == '/');
	}
	return 0;
}

int launch_create(const struct launch *l, const char *root, struct subject *s, bool *no_image,
		  struct err *e)
{
	struct image img = { 0 };
	struct err ignored;
	int r;

	*s = (struct subject)SUBJECT_INIT;
	record_init(&s->rec);
	*no_image = false;
	r = pick_wall(l, &s->wall, e);
	if (!r)
		r = check_kernel(l, s->wall, e);
	if (!r && l->auto_remove && l->restart_policy)
		r = err_set(e, -EINVAL, "--rm and --restart exclude each other");
	if (!r)
		r = parse_log_opts(l, &s->rec, e);
	if (!r && l->name)
		r = registry_name_check(l->name, e);
	if (!r && l->image) {
		r = image_resolve(l->image, &img, e);
		if (!r)
			r = check_platform(&img, l->platform, e);
		*no_image = r == -ENOENT;
	}
	if (!r)
		r = begin(l, s, root, e);
	if (r)
		goto out;
	r = name_it(l, s, root, e);
	if (!r)
		r = l->config ? fill_domain(l, s, root, e)
			      : fill(l, s, l->image ? &img : NULL, root, e);
	if (!r) {
		/* Nothing runs: what `start` takes up. */
		s->in.status = INSTANCE_STOPPED;
		r = subject_save(s, e);
	}
	if (r) {
		err_clear(&ignored);
		s->rec.remove_volumes = true;
		subject_remove(s, root, &ignored);
		goto out;
	}
	event_emit(root, s, "create", NULL);
	/* Without the lock, which the keeper's jobs will want. */
	r = subject_reopen(s, root, false, e);
out:
	image_fini(&img);
	if (r)
		subject_fini(s);
	return r;
}
