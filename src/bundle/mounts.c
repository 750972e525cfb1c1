/*
 * What is mounted: the kernel's file systems as docker mounts them, the three files of /etc that are an
 * instance's own, then the user's -v, --mount and --tmpfs in the order given. A later mount at the same
 * place replaces an earlier default one.
 *
 * Trust: the options are the user's. Nothing is mounted here: paths inside the instance are resolved by the
 * wall. Threads: none. #syscalls: newfstatat readlink getcwd
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "bundle/make_int.h"
#include "wire/reference.h"

#define SHM_DEFAULT (64ull << 20)

static void add_mount(struct make *m, const char *type, const char *source, const char *destination,
		      const char *options)
{
	size_t n = m->mounts ? json_object_array_length(m->mounts) : 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *old = json_object_array_get_idx(m->mounts, i), *v;

		if (json_object_object_get_ex(old, "destination", &v) &&
		    streq(json_object_get_string(v), destination)) {
			json_object_array_del_idx(m->mounts, i, 1);
			break;
		}
	}
	struct json_object *o = make_object(m, m->mounts, NULL);

	make_string(m, o, "destination", destination);
	make_string(m, o, "type", type);
	make_string(m, o, "source", source);
	make_words(m, o, "options", options);
}

/* A path inside the instance: absolute, no "..", not the root itself. */
static int check_destination(struct make *m, const char *option, const char *path)
{
	if (path[0] != '/')
		return err_set(m->e, -EINVAL, "%s: destination '%s' is not absolute", option, path);
	if (path[strspn(path, "/.")] == '\0')
		return err_set(m->e, -EINVAL, "%s: destination '%s' is the root itself", option,
			       path);
	for (const char *p = path; *p;) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return err_set(m->e, -EINVAL, "%s: destination '%s' contains '..'", option,
				       path);
		p += n;
	}
	return 0;
}

static void kernel_mounts(struct make *m)
{
	bool rootless = m->r->rootless, priv = m->o->privileged;
	char shm[96];

	if (m->host_pid && m->user_ns)
		add_mount(m, "bind", "/proc", "/proc", "rbind,nosuid,noexec,nodev");
	else
		add_mount(m, "proc", "proc", "/proc", "nosuid,noexec,nodev");
	add_mount(m, "tmpfs", "tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k");
	add_mount(m, "devpts", "devpts", "/dev/pts",
		  rootless && m->r->gids_n < 2
			  ? "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620"
			  : "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
	/* sysfs may only be mounted by whoever owns the network namespace. */
	if (m->host_net && m->user_ns)
		add_mount(m, "bind", "/sys", "/sys", "rbind,nosuid,noexec,nodev,ro");
	else
		add_mount(m, "sysfs", "sysfs", "/sys",
			  priv ? "nosuid,noexec,nodev" : "nosuid,noexec,nodev,ro");
	if (!(m->host_net && m->user_ns))
		add_mount(m, "cgroup", "cgroup", "/sys/fs/cgroup",
			  priv ? "nosuid,noexec,nodev,relatime"
			       : "nosuid,noexec,nodev,relatime,ro");
	if (m->host_ipc) {
		add_mount(m, "bind", "/dev/mqueue", "/dev/mqueue", "rbind,nosuid,noexec,nodev");
		add_mount(m, "bind", "/dev/shm", "/dev/shm", "rbind,nosuid,noexec,nodev");
		return;
	}
	add_mount(m, "mqueue", "mqueue", "/dev/mqueue", "nosuid,noexec,nodev");
	snprintf(shm, sizeof(shm), "nosuid,noexec,nodev,mode=1777,size=%llu",
		 (unsigned long long)(m->o->shm_size ? m->o->shm_size : SHM_DEFAULT));
	add_mount(m, "tmpfs", "shm", "/dev/shm", shm);
}

static void own_files(struct make *m)
{
	const struct {
		const char *content, *name, *destination;
	} files[] = {
		{ m->out->resolv_conf, "resolv.conf", "/etc/resolv.conf" },
		{ m->out->hostname, "hostname", "/etc/hostname" },
		{ m->out->hosts, "hosts", "/etc/hosts" },
	};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (!files[i].content)
			continue;
		snprintf(path, sizeof(path), "%s/%s", m->r->dir, files[i].name);
		add_mount(m, "bind", path, files[i].destination, "rbind,rprivate");
	}
}

bool bundle_volume_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return n && !s[n] && s[0] != '.' && s[0] != '-' && n < 128;
}

/* Where a volume's files are: <data>/instances/<id> -> <data>/volumes/<name>/_data. */
static int volume_source(struct make *m, const char *option, const char *name, char *out,
			 size_t size)
{
	const char *end = m->r->disk ? strstr(m->r->disk, "/instances/") : NULL;

	if (!end)
		return err_set(m->e, -EINVAL, "%s: no data directory for volume '%s'", option,
			       name);
	int n = snprintf(out, size, "%.*s/volumes/%s/_data", (int)(end - m->r->disk), m->r->disk,
			 name);

	return n < 0 || (size_t)n >= size
		       ? err_set(m->e, -ENAMETOOLONG, "%s: volume '%s'", option, name)
		       : 0;
}

static int note_volume(struct make *m, const char *name, const char *destination, bool anonymous,
		       bool no_copy)
{
	struct bundle *b = m->out;
	struct bundle_volume *v = reallocarray(b->volumes, b->volumes_n + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	b->volumes = v;
	v += b->volumes_n++;
	*v = (struct bundle_volume){ strdup(name), strdup(destination), anonymous, no_copy };
	return v->name && v->destination ? 0 : -ENOMEM;
}

/* A volume of the instance's own: its name is made of the instance's id and the place. */
static int anonymous_volume(struct make *m, const char *option, const char *destination,
			    bool no_copy, const char *options)
{
	char text[PATH_MAX + 96], digest[DIGEST_SIZE], source[PATH_MAX];

	snprintf(text, sizeof(text), "%s %s", m->r->id, destination);
	digest_of(text, strlen(text), digest);
	const char *name = digest + strlen("sha256:");
	int r = volume_source(m, option, name, source, sizeof(source));

	if (!r)
		r = note_volume(m, name, destination, true, no_copy);
	if (!r)
		add_mount(m, "bind", source, destination, options);
	return r;
}

/* The host's side of a bind: absolute as it is, relative from here, a bare word is a named volume. */
static int find_source(struct make *m, const char *option, const char *source, bool create,
		       char *out, size_t size, bool *is_volume)
{
	char here[PATH_MAX];
	struct stat st;
	int n;

	*is_volume = false;
	if (source[0] == '/') {
		n = snprintf(out, size, "%s", source);
	} else if (source[0] == '.' || strchr(source, '/')) {
		if (!getcwd(here, sizeof(here)))
			return err_sys(m->e, -errno, "%s: current directory", option);
		n = snprintf(out, size, "%s/%s", here, source);
	} else if (bundle_volume_name(source)) {
		*is_volume = true;
		return volume_source(m, option, source, out, size);
	} else {
		return err_set(m->e, -EINVAL, "%s: source '%s' is neither a path nor a volume name",
			       option, source);
	}
	if (n < 0 || (size_t)n >= size)
		return err_set(m->e, -ENAMETOOLONG, "%s: source '%s'", option, source);
	if (stat(out, &st) == 0)
		return 0;
	if (errno != ENOENT || !create)
		return err_sys(m->e, -errno, "%s: source '%s'", option, out);
	return strlist_add(&m->out->make_dirs, out);
}

struct volume_words {
	char options[256]; /* ",ro,..." */
	bool propagated, flat, no_copy;
};

/* One option word of -v; false when it is none that we know. */
static bool volume_word(const char *word, struct volume_words *w)
{
	static const char *const same[] = { "ro",     "rw",	 "exec",  "noexec",  "suid",
					    "nosuid", "dev",	 "nodev", "private", "rprivate",
					    "shared", "rshared", "slave", "rslave",  "bind",
					    "rbind",  "rro" };
	static const char *const ignored[] = { "z", "Z", "consistent", "cached", "delegated" };
	size_t n = strlen(w->options);

	w->no_copy |= streq(word, "nocopy");
	if (streq(word, "nocopy"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (streq(word, ignored[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		if (!streq(word, same[i]))
			continue;
		w->propagated |= strstr(word, "private") || strstr(word, "shared") ||
				 strstr(word, "slave");
		w->flat |= streq(word, "bind");
		snprintf(w->options + n, sizeof(w->options) - n, ",%s", word);
		return true;
	}
	return false;
}

/* -v SOURCE:DESTINATION[:OPTIONS]; -v DESTINATION is an anonymous volume. */
static int volume(struct make *m, const char *wish)
{
	cleanup_free char *copy = strdup(wish);
	struct volume_words v = { .options = "" };
	char source[PATH_MAX], all[300];
	bool is_volume = false;

	if (!copy)
		return -ENOMEM;
	char *colon = strchr(copy, ':'), *words = NULL, *to = colon ? colon + 1 : copy;

	if (colon)
		*colon = '\0';
	words = colon ? strchr(to, ':') : NULL;
	if (words)
		*words++ = '\0';
	int r = check_destination(m, "-v", to);

	for (char *save = NULL, *w = words ? strtok_r(words, ",", &save) : NULL; w && !r;
	     w = strtok_r(NULL, ",", &save))
		if (!volume_word(w, &v))
			r = err_set(m->e, -EINVAL, "-v '%s': unknown option '%s'", wish, w);
	if (r)
		return r;
	snprintf(all, sizeof(all), "%s%s%s", v.flat ? "bind" : "rbind",
		 v.propagated ? "" : ",rprivate", v.options);
	if (!colon)
		return anonymous_volume(m, "-v", to, v.no_copy, all);
	r = find_source(m, "-v", copy, true, source, sizeof(source), &is_volume);
	if (!r && is_volume)
		r = note_volume(m, copy, to, false, v.no_copy);
	if (!r)
		add_mount(m, "bind", source, to, all);
	return r;
}

static int tmpfs(struct make *m, const char *wish)
{
	cleanup_free char *copy = strdup(wish);
	char options[512] = "nosuid,nodev,noexec";

	if (!copy)
		return -ENOMEM;
	char *words = strchr(copy, ':');

	if (words)
		*words++ = '\0';
	int r = check_destination(m, "--tmpfs", copy);

	if (r)
		return r;
	if (words && strlen(words) + strlen(options) + 2 > sizeof(options))
		return err_set(m->e, -EINVAL, "--tmpfs '%s': options too long", wish);
	if (words && *words) {
		size_t n = strlen(options);

		snprintf(options + n, sizeof(options) - n, ",%s", words);
	}
	add_mount(m, "tmpfs", "tmpfs", copy, options);
	return 0;
}

struct long_mount {
	const char *type, *source, *destination;
	bool read_only;
	struct volume_words v;
};

static int long_mount_word(struct make *m, const char *wish, char *word, struct long_mount *x)
{
	char *eq = strchr(word, '=');
	const char *value = eq ? eq + 1 : "";
	size_t used = strlen(x->v.options), room = sizeof(x->v.options) - used;
	char *end = x->v.options + used;
	uint64_t size;

	if (eq)
		*eq = '\0';
	if (streq(word, "type")) {
		x->type = value;
	} else if (streq(word, "source") || streq(word, "src")) {
		x->source = value;
	} else if (streq(word, "target") || streq(word, "destination") || streq(word, "dst")) {
		x->destination = value;
	} else if (streq(word, "readonly") || streq(word, "ro")) {
		if (str_to_bool(eq ? value : "true", &x->read_only))
			return err_set(m->e, -EINVAL, "--mount '%s': %s: not true or false", wish,
				       word);
	} else if (streq(word, "bind-nonrecursive")) {
		x->v.flat = true;
	} else if (streq(word, "volume-nocopy")) {
		if (str_to_bool(eq ? value : "true", &x->v.no_copy))
			return err_set(m->e, -EINVAL, "--mount '%s': %s: not true or false", wish,
				       word);
	} else if (streq(word, "bind-propagation")) {
		if (!volume_word(value, &x->v))
			return err_set(m->e, -EINVAL, "--mount '%s': unknown propagation '%s'",
				       wish, value);
	} else if (streq(word, "tmpfs-size")) {
		if (str_to_size(value, &size))
			return err_set(m->e, -EINVAL, "--mount '%s': tmpfs-size '%s' is no size",
				       wish, value);
		snprintf(end, room, ",size=%llu", (unsigned long long)size);
	} else if (streq(word, "tmpfs-mode")) {
		if (!*value || value[strspn(value, "01234567")])
			return err_set(m->e, -EINVAL, "--mount '%s': tmpfs-mode '%s' is no mode",
				       wish, value);
		snprintf(end, room, ",mode=%s", value);
	} else if (!streq(word, "consistency")) {
		return err_set(m->e, -EINVAL, "--mount '%s': unknown field '%s'", wish, word);
	}
	return 0;
}

/* --mount type=bind|volume|tmpfs,source=...,destination=...,... */
static int long_mount(struct make *m, const char *wish)
{
	cleanup_free char *copy = strdup(wish);
	struct long_mount x = { .type = "volume" };
	char source[PATH_MAX], options[300];
	bool is_volume = false;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	for (char *save = NULL, *w = strtok_r(copy, ",", &save); w && !r;
	     w = strtok_r(NULL, ",", &save))
		r = long_mount_word(m, wish, w, &x);
	if (r)
		return r;
	if (!x.destination)
		return err_set(m->e, -EINVAL, "--mount '%s': no destination", wish);
	r = check_destination(m, "--mount", x.destination);
	if (r)
		return r;
	const char *ro = x.read_only ? ",ro" : "";

	if (streq(x.type, "tmpfs")) {
		snprintf(options, sizeof(options), "nosuid,nodev,noexec%s%s", x.v.options, ro);
		add_mount(m, "tmpfs", "tmpfs", x.destination, options);
		return 0;
	}
	bool bind = streq(x.type, "bind");

	if (!bind && !streq(x.type, "volume"))
		return err_set(m->e, -EINVAL,
			       "--mount '%s': type '%s' is none of bind, volume, tmpfs", wish,
			       x.type);
	snprintf(options, sizeof(options), "%s%s%s%s", x.v.flat ? "bind" : "rbind",
		 x.v.propagated ? "" : ",rprivate", x.v.options, ro);
	if (!x.source && !bind)
		return anonymous_volume(m, "--mount", x.destination, x.v.no_copy, options);
	if (!x.source)
		return err_set(m->e, -EINVAL, "--mount '%s': no source", wish);
	if (!bind && !bundle_volume_name(x.source))
		return err_set(m->e, -EINVAL, "--mount '%s': source '%s' is not a volume's name",
			       wish, x.source);
	if (bind && x.source[0] != '/' && x.source[0] != '.')
		return err_set(m->e, -EINVAL, "--mount '%s': source '%s' is not a path", wish,
			       x.source);
	r = find_source(m, "--mount", x.source, !bind, source, sizeof(source), &is_volume);
	if (!r && is_volume)
		r = note_volume(m, x.source, x.destination, false, x.v.no_copy);
	if (!r)
		add_mount(m, "bind", source, x.destination, options);
	return r;
}

static bool is_mounted(struct make *m, const char *destination)
{
	for (size_t i = 0; i < json_object_array_length(m->mounts); i++) {
		struct json_object *v;

		if (json_object_object_get_ex(json_object_array_get_idx(m->mounts, i),
					      "destination", &v) &&
		    streq(json_object_get_string(v), destination))
			return true;
	}
	return false;
}

/* The image's VOLUMEs, but for those places where the user has put something. */
static int image_volumes(struct make *m)
{
	const struct image_list *l = m->r->image ? &m->r->image->config.volumes : NULL;
	int r = 0;

	for (size_t i = 0; !r && l && i < l->n; i++) {
		cleanup_free char *path = strdup(l->v[i]);

		if (!path)
			return -ENOMEM;
		for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
			path[n - 1] = '\0';
		if (is_mounted(m, path))
			continue;
		r = check_destination(m, "the image's VOLUME", path);
		if (!r)
			r = anonymous_volume(m, "VOLUME", path, false, "rbind,rprivate");
	}
	return r;
}

int make_mounts(struct make *m)
{
	int r = 0;

	m->mounts = make_list(m, m->top, "mounts");
	kernel_mounts(m);
	own_files(m);
	for (size_t i = 0; !r && i < m->o->tmpfs.n; i++)
		r = tmpfs(m, m->o->tmpfs.v[i]);
	for (size_t i = 0; !r && i < m->o->volumes.n; i++)
		r = volume(m, m->o->volumes.v[i]);
	for (size_t i = 0; !r && i < m->o->mounts.n; i++)
		r = long_mount(m, m->o->mounts.v[i]);
	return r ? r : image_volumes(m);
}
