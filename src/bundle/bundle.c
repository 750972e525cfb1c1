/*
 * Image + wishes -> config.json. One pass in the order of the document: namespaces first, since half of what
 * follows depends on which are shared with the host, then files, process, rights, mounts, limits. The
 * result is text; whoever starts or restarts the instance reads only that.
 *
 * The root is an overlay that the wall itself mounts (annotations dev.warren.overlay.*, see
 * docs/FORMATS.md), or the directory of --rootfs.
 *
 * Trust: options are the user's; the image's configuration was checked by wire/. Threads: none.
 * #syscalls: none
 */
#include "bundle/bundle.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/make_int.h"
#include "wire/oci.h"

static int share(struct make *m, const char *option, const char *value, const char *also,
		 bool *host)
{
	*host = value && streq(value, "host");
	if (!value || *host || streq(value, "private") || (also && streq(value, also)))
		return 0;
	return err_set(m->e, -EINVAL, "%s '%s': expected host%s private%s%s", option, value,
		       also ? "," : " or", also ? " or " : "", also ? also : "");
}

/* A guest's network is never the host's own, whatever it is connected to. */
static int decide_network(struct make *m)
{
	int r = network_parse(m->o->network ? m->o->network : "private", &m->network, m->e);

	if (!r && m->network.kind == NETWORK_TAP && !m->r->guest)
		return err_set(
			m->e, -EINVAL,
			"--network '%s': a container has no network device of its own. Fix: use "
			"--pv or --vm",
			m->o->network);
	m->host_net = m->network.kind == NETWORK_HOST && !m->r->guest;
	return r;
}

static int share_user(struct make *m, bool *host)
{
	const char *wish = m->o->userns;

	if (wish && (str_after(wish, "keep-id") || str_after(wish, "auto")))
		return err_set(
			m->e, -EOPNOTSUPP,
			"--userns '%s': the image's files would need other owners, which is not "
			"done here. An ordinary user's instances have a user namespace anyway, "
			"with the user as its root",
			wish);
	return share(m, "--userns", wish, NULL, host);
}

static int decide_namespaces(struct make *m)
{
	const struct bundle_options *o = m->o;
	bool host_user;
	int r;

	if ((r = decide_network(m)) || (r = share(m, "--pid", o->pid, NULL, &m->host_pid)) ||
	    (r = share(m, "--ipc", o->ipc, NULL, &m->host_ipc)) ||
	    (r = share(m, "--uts", o->uts, NULL, &m->host_uts)) ||
	    (r = share(m, "--cgroupns", o->cgroupns, NULL, &m->host_cgroup)) ||
	    (r = share_user(m, &host_user)))
		return r;
	m->user_ns = m->r->rootless;
	if (!m->r->rootless && o->userns && !host_user)
		return err_set(m->e, -EOPNOTSUPP,
			       "--userns '%s': an instance of root shares the host's user ids; run "
			       "as an ordinary user for a user namespace",
			       o->userns);
	if (m->host_uts && o->hostname)
		return err_set(m->e, -EINVAL, "--hostname: not with --uts host");
	return 0;
}

static void add_namespace(struct make *m, struct json_object *list, const char *type)
{
	make_string(m, make_object(m, list, NULL), "type", type);
}

static void add_ids(struct make *m, const char *key, const struct bundle_id_range *v, size_t n)
{
	struct json_object *list = make_list(m, m->linux_, key);

	for (size_t i = 0; i < n; i++) {
		struct json_object *o = make_object(m, list, NULL);

		make_number(m, o, "containerID", v[i].container);
		make_number(m, o, "hostID", v[i].host);
		make_number(m, o, "size", v[i].size);
	}
}

static void make_linux(struct make *m)
{
	m->linux_ = make_object(m, m->top, "linux");
	struct json_object *ns = make_list(m, m->linux_, "namespaces");

	add_namespace(m, ns, "mount");
	if (!m->host_pid)
		add_namespace(m, ns, "pid");
	if (!m->host_net)
		add_namespace(m, ns, "network");
	if (!m->host_ipc)
		add_namespace(m, ns, "ipc");
	if (!m->host_uts)
		add_namespace(m, ns, "uts");
	if (!m->host_cgroup)
		add_namespace(m, ns, "cgroup");
	if (m->user_ns) {
		add_namespace(m, ns, "user");
		add_ids(m, "uidMappings", m->r->uids, m->r->uids_n);
		add_ids(m, "gidMappings", m->r->gids, m->r->gids_n);
	}
	m->resources = make_object(m, m->linux_, "resources");
	if (m->o->cgroup_parent) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", m->o->cgroup_parent, m->r->id);
		make_string(m, m->linux_, "cgroupsPath", path);
	}
}

static int note_dir(struct make *m, char *path, size_t size, const char *base, const char *name)
{
	int n = snprintf(path, size, "%s/%s", base, name);

	if (n < 0 || (size_t)n >= size)
		return err_set(m->e, -ENAMETOOLONG, "'%s/%s'", base, name);
	return strlist_add(&m->out->make_dirs, path);
}

/* Topmost first: the image's layers are lowest first. */
static int lower_json(struct make *m)
{
	const struct image_list *layers = &m->r->image->layers;
	struct json_object *list = json_object_new_array();
	bool bad = !list;

	for (size_t i = layers->n; !bad && i-- > 0;)
		bad = json_object_array_add(list, json_object_new_string(layers->v[i])) != 0;
	if (!bad)
		make_string(m, m->annotations, BUNDLE_OVERLAY_LOWER,
			    json_object_to_json_string_ext(list, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(list);
	return bad ? -ENOMEM : 0;
}

static int make_root(struct make *m)
{
	const struct bundle_request *r = m->r;
	struct json_object *root = make_object(m, m->top, "root");
	char path[PATH_MAX];
	int err;

	m->annotations = make_object(m, m->top, "annotations");
	make_bool(m, root, "readonly", m->o->read_only);
	if (!r->image) {
		make_string(m, root, "path", r->rootfs);
		return 0;
	}
	err = note_dir(m, path, sizeof(path), r->dir, "rootfs");
	if (err)
		return err;
	make_string(m, root, "path", path);
	if (!r->image->layers.n)
		return err_set(m->e, -EINVAL, "image '%s' has no layers: nothing to run",
			       r->image->name);
	/* A read-only root still gets an upper layer: mount points are made in it. */
	if ((err = lower_json(m)) || (err = note_dir(m, path, sizeof(path), r->disk, "upper")))
		return err;
	make_string(m, m->annotations, BUNDLE_OVERLAY_UPPER, path);
	if ((err = note_dir(m, path, sizeof(path), r->disk, "work")))
		return err;
	make_string(m, m->annotations, BUNDLE_OVERLAY_WORK, path);
	if (r->discard)
		make_string(m, m->annotations, BUNDLE_OVERLAY_OPTIONS, "volatile");
	return 0;
}

static int make_annotations(struct make *m)
{
	if (m->o->init)
		make_string(m, m->annotations, BUNDLE_INIT, "true");
	if (m->r->guest)
		make_string(m, m->annotations, BUNDLE_NETWORK,
			    m->o->network ? m->o->network : "private");
	for (size_t i = 0; i < m->o->annotations.n; i++) {
		const char *wish = m->o->annotations.v[i], *eq = strchr(wish, '=');
		char key[256];

		if (!eq || eq == wish || (size_t)(eq - wish) >= sizeof(key))
			return err_set(m->e, -EINVAL, "--annotation '%s': expected NAME=VALUE",
				       wish);
		snprintf(key, sizeof(key), "%.*s", (int)(eq - wish), wish);
		/* What a guest's machine is like may be wished for; the rest of the prefix is set here alone. */
		if (str_after(key, "dev.warren.") && !str_after(key, "dev.warren.guest."))
			return err_set(m->e, -EINVAL,
				       "--annotation '%s': the prefix dev.warren. is "
				       "Warren's own",
				       wish);
		make_string(m, m->annotations, key, eq + 1);
	}
	return 0;
}

static int make_all(struct make *m)
{
	const struct image *img = m->r->image;
	const char *stop = img ? img->config.stop_signal : NULL;
	int r;

	make_string(m, m->top, "ociVersion", "1.3.0");
	if ((r = decide_namespaces(m)) || (r = make_root(m)))
		return r;
	make_linux(m);
	if ((r = make_files(m)) || (r = make_process(m)) || (r = make_rights(m)) ||
	    (r = make_mounts(m)) || (r = make_limits(m)) || (r = make_devices(m)) ||
	    (r = make_annotations(m)))
		return r;
	snprintf(m->out->stop_signal, sizeof(m->out->stop_signal), "%s",
		 stop && *stop ? stop : "SIGTERM");
	return 0;
}

int bundle_make(const struct bundle_request *r, struct bundle *out, struct err *e)
{
	struct make m = { .r = r, .o = r->options, .out = out, .e = e };
	int err;

	*out = (struct bundle){ 0 };
	m.top = json_object_new_object();
	err = m.top ? make_all(&m) : -ENOMEM;
	if (!err && m.no_memory)
		err = -ENOMEM;
	if (!err) {
		size_t n;
		const char *text = json_object_to_json_string_length(
			m.top, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);

		out->config = text ? strdup(text) : NULL;
		out->config_n = n;
		err = out->config ? 0 : -ENOMEM;
	}
	json_object_put(m.top);
	if (err) {
		bundle_fini(out);
		if (e && !e->code)
			err_sys(e, err, "config.json");
	}
	return err;
}

void bundle_fini(struct bundle *b)
{
	free(b->config);
	free(b->hosts);
	free(b->hostname);
	free(b->resolv_conf);
	strlist_fini(&b->make_dirs);
	for (size_t i = 0; i < b->volumes_n; i++) {
		free(b->volumes[i].name);
		free(b->volumes[i].destination);
	}
	free(b->volumes);
	strlist_fini(&b->command);
	*b = (struct bundle){ 0 };
}

int bundle_overlay_parse(const struct oci_spec *spec, struct bundle_overlay *out, struct err *e)
{
	const char *lower = oci_annotation(spec, BUNDLE_OVERLAY_LOWER);
	const char *options = oci_annotation(spec, BUNDLE_OVERLAY_OPTIONS);

	*out = (struct bundle_overlay){ 0 };
	if (!lower)
		return 0;
	struct json_object *list = json_tokener_parse(lower);
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
	bool bad = n == 0 || !(out->lower = calloc(n + 1, sizeof(*out->lower)));

	for (size_t i = 0; !bad && i < n; i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(list, i));

		bad = !s || s[0] != '/' || !(out->lower[out->lower_n++] = strdup(s));
	}
	json_object_put(list);
	out->upper = oci_annotation(spec, BUNDLE_OVERLAY_UPPER);
	out->work = oci_annotation(spec, BUNDLE_OVERLAY_WORK);
	out->is_volatile = options && streq(options, "volatile");
	if (!bad && !out->upper == !out->work)
		return 1;
	bundle_overlay_fini(out);
	return err_set(e, -EINVAL,
		       "config.json: annotations dev.warren.overlay.*: expected a list of absolute "
		       "directories, and upper with work");
}

void bundle_overlay_fini(struct bundle_overlay *o)
{
	for (size_t i = 0; i < o->lower_n; i++)
		free(o->lower[i]);
	free(o->lower);
	*o = (struct bundle_overlay){ 0 };
}
