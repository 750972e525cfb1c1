/*
 * Which cgroup hierarchies the host has, where they are mounted, and where we are in them.
 *
 * There are three kinds of host: v1 (one hierarchy for each set of controllers), v2 (one tree for all), and
 * hybrid (v1 for some controllers and a v2 tree for the rest, or for none). No kind is special here: the
 * layout is a list of hierarchies, each with the controllers that it has, and the rest of the manager asks
 * for the hierarchy of a controller. /proc/self/mountinfo names the mounts, /proc/self/cgroup our place.
 *
 * A mount may be hidden under another one (a v2 tree mounted over /sys/fs/cgroup in a private namespace):
 * only those count whose mount point still shows the device that mountinfo names.
 *
 * Trust: the texts come from the kernel; mount points are chosen by the administrator.
 * Threads: the caller's; the cached layout is filled on the first call, before threads exist.
 * #syscalls: openat read close newfstatat
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "container/cgroup_int.h"
#include "os/file.h"

static const struct {
	const char *name;
	uint32_t bit;
} controller_names[] = {
	{ "cpu", CGROUP_CPU },
	{ "cpuacct", CGROUP_CPUACCT },
	{ "cpuset", CGROUP_CPUSET },
	{ "memory", CGROUP_MEMORY },
	{ "devices", CGROUP_DEVICES },
	{ "freezer", CGROUP_FREEZER },
	{ "blkio", CGROUP_BLKIO },
	{ "io", CGROUP_BLKIO },
	{ "pids", CGROUP_PIDS },
	{ "hugetlb", CGROUP_HUGETLB },
	{ "net_cls", CGROUP_NET_CLS },
	{ "net_prio", CGROUP_NET_PRIO },
	{ "perf_event", CGROUP_PERF },
	{ "rdma", CGROUP_RDMA },
	{ "misc", CGROUP_MISC },
	{ "dmem", CGROUP_DMEM },
	{ "name=systemd", CGROUP_SYSTEMD },
};

uint32_t cgroup_controller(const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(controller_names); i++)
		if (strlen(controller_names[i].name) == n &&
		    !memcmp(controller_names[i].name, name, n))
			return controller_names[i].bit;
	return 0;
}

uint32_t cgroup_controllers(const char *list)
{
	uint32_t bits = 0;

	while (*list) {
		size_t n = strcspn(list, ", \n");

		bits |= cgroup_controller(list, n);
		list += n;
		list += strspn(list, ", \n");
	}
	return bits;
}

const char *cgroup_controller_name(uint32_t bit)
{
	for (size_t i = 0; i < ARRAY_SIZE(controller_names); i++)
		if (controller_names[i].bit & bit)
			return controller_names[i].name;
	return "unknown";
}

int cgroup_path_clean(char *out, size_t size, const char *base, const char *path)
{
	const char *parts[2] = { base, path };
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		for (const char *p = parts[i]; *p;) {
			size_t n = strcspn(p, "/");

			if (n == 2 && !memcmp(p, "..", 2)) {
				while (len && out[--len] != '/')
					;
			} else if (n && !(n == 1 && *p == '.')) {
				if (len + 1 + n >= size)
					return -ENAMETOOLONG;
				out[len++] = '/';
				memcpy(out + len, p, n);
				len += n;
			}
			p += n;
			p += strspn(p, "/");
		}
	}
	if (!len)
		out[len++] = '/';
	out[len] = '\0';
	return 0;
}

/* mountinfo writes blanks, newlines and backslashes as \040; undone in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The next word of a line, NULL at its end. */
static char *word(char **line)
{
	char *w = *line + strspn(*line, " ");

	if (!*w)
		return NULL;
	*line = w + strcspn(w, " ");
	if (**line)
		*(*line)++ = '\0';
	return w;
}

/* Keeps only what names controllers: "rw,cpu,cpuacct" -> "cpu,cpuacct". */
static void name_of_options(char *out, size_t size, const char *options)
{
	size_t len = 0;

	out[0] = '\0';
	while (*options) {
		size_t n = strcspn(options, ",");

		if ((cgroup_controller(options, n) || !strncmp(options, "name=", 5)) &&
		    len + n + 2 < size) {
			if (len)
				out[len++] = ',';
			memcpy(out + len, options, n);
			len += n;
			out[len] = '\0';
		}
		options += n;
		options += *options == ',';
	}
}

/* 36 35 98:0 /root /mount/point opts [optional...] - type source superopts. 1: filled, 0: of no interest. */
static int parse_mount(struct cgroup_hier *h, char *line)
{
	unsigned int major, minor;
	char *field[6], *w;

	memset(h, 0, sizeof(*h));
	for (size_t i = 0; i < ARRAY_SIZE(field); i++)
		if (!(field[i] = word(&line)))
			return 0;
	do
		w = word(&line);
	while (w && !streq(w, "-"));
	const char *type = w ? word(&line) : NULL, *source = type ? word(&line) : NULL;

	if (!source || (!streq(type, "cgroup") && !streq(type, "cgroup2")))
		return 0;
	const char *options = word(&line);

	h->v2 = streq(type, "cgroup2");
	if (!h->v2) {
		name_of_options(h->name, sizeof(h->name), options ? options : "");
		h->controllers = cgroup_controllers(h->name);
		if (!h->controllers)
			return 0;
	}
	if (sscanf(field[2], "%u:%u", &major, &minor) != 2)
		return 0;
	h->dev = makedev(major, minor);
	unescape(field[3]);
	unescape(field[4]);
	h->root = strdup(field[3]);
	h->mount = strdup(field[4]);
	return h->root && h->mount ? 1 : -ENOMEM;
}

static void hier_fini(struct cgroup_hier *h)
{
	free(h->mount);
	free(h->root);
	free(h->self);
	memset(h, 0, sizeof(*h));
}

static bool still_visible(const struct cgroup_hier *h)
{
	struct stat st;

	return stat(h->mount, &st) == 0 && st.st_dev == h->dev;
}

/* Another mount of a hierarchy that we have: the whole one is better than a part. True: `h` was taken. */
static bool merge(struct cgroup_layout *l, struct cgroup_hier *h)
{
	for (int i = 0; i < l->n; i++) {
		struct cgroup_hier *old = &l->h[i];

		if (old->dev != h->dev)
			continue;
		if (!streq(old->root, "/") && streq(h->root, "/")) {
			hier_fini(old);
			*old = *h;
		} else {
			hier_fini(h);
		}
		return true;
	}
	return false;
}

static int parse_mounts(struct cgroup_layout *l, char *text, bool probe)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct cgroup_hier h;
		int r = parse_mount(&h, line);

		if (r < 0 || (r == 1 && probe && !still_visible(&h))) {
			hier_fini(&h);
			if (r < 0)
				return r;
			continue;
		}
		if (r == 0 || merge(l, &h))
			continue;
		if (l->n == CGROUP_DIRS_MAX) {
			hier_fini(&h);
			continue;
		}
		l->h[l->n++] = h;
	}
	return 0;
}

/* Our place below the mount point: `path` is relative to the hierarchy's root. */
static char *place(const struct cgroup_hier *h, const char *path)
{
	const char *rest = path;

	if (!streq(h->root, "/")) {
		rest = str_after(path, h->root);
		if (!rest || (*rest && *rest != '/'))
			rest = "/";
	}
	return strdup(*rest == '/' && !str_after(rest, "/..") ? rest : "/");
}

/* 4:memory:/user.slice, 0::/init.scope */
static int parse_self(struct cgroup_layout *l, char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = '\0';
		names++;
		uint32_t bits = cgroup_controllers(names);

		for (int i = 0; i < l->n; i++) {
			struct cgroup_hier *h = &l->h[i];

			if (h->self || (*names ? h->v2 || !(h->controllers & bits) : !h->v2))
				continue;
			h->self = place(h, path);
			if (!h->self)
				return -ENOMEM;
		}
	}
	for (int i = 0; i < l->n; i++)
		if (!l->h[i].self && !(l->h[i].self = strdup("/")))
			return -ENOMEM;
	return 0;
}

/* What the v2 tree offers where it is mounted; in a container that is less than the kernel has. */
static void probe_v2(struct cgroup_layout *l)
{
	for (int i = 0; i < l->n; i++) {
		cleanup_with(buf_fini) struct buf b = BUF_INIT(4096);
		char path[4096];

		if (!l->h[i].v2)
			continue;
		snprintf(path, sizeof(path), "%s/cgroup.controllers", l->h[i].mount);
		if (!file_read(AT_FDCWD, path, &b))
			l->h[i].controllers = cgroup_controllers(buf_str(&b));
	}
}

int cgroup_layout_parse(struct cgroup_layout *l, const char *mountinfo, const char *self,
			bool probe)
{
	cleanup_free char *mounts = strdup(mountinfo), *places = strdup(self);

	memset(l, 0, sizeof(*l));
	int r = mounts && places ? parse_mounts(l, mounts, probe) : -ENOMEM;

	if (!r)
		r = parse_self(l, places);
	if (r) {
		cgroup_layout_fini(l);
		return r;
	}
	probe_v2(l);
	return l->n ? 0 : -ENOENT;
}

void cgroup_layout_fini(struct cgroup_layout *l)
{
	for (int i = 0; i < l->n; i++)
		hier_fini(&l->h[i]);
	l->n = 0;
}

const struct cgroup_layout *cgroup_layout_get(struct err *e)
{
	static struct cgroup_layout layout;
	cleanup_with(buf_fini) struct buf mounts = BUF_INIT(16 << 20);
	cleanup_with(buf_fini) struct buf self = BUF_INIT(1 << 20);

	if (layout.n)
		return &layout;
	int r = file_read(AT_FDCWD, "/proc/self/mountinfo", &mounts);

	if (!r)
		r = file_read(AT_FDCWD, "/proc/self/cgroup", &self);
	if (r) {
		err_sys(e, r, "/proc/self: read mountinfo and cgroup");
		return NULL;
	}
	r = cgroup_layout_parse(&layout, buf_str(&mounts), buf_str(&self), true);
	if (r == -ENOENT)
		err_set(e, r, "no cgroup file system is mounted on this host");
	else if (r)
		err_sys(e, r, "/proc/self/mountinfo");
	return r ? NULL : &layout;
}

int cgroup_trees(struct cgroup_tree out[CGROUP_DIRS_MAX])
{
	const struct cgroup_layout *l = cgroup_layout_get(NULL);
	int n = l ? l->n : 0;

	for (int i = 0; i < n; i++) {
		const struct cgroup_hier *h = &l->h[i];
		size_t used = 0;

		out[i] = (struct cgroup_tree){ .v2 = h->v2, .mount = h->mount };
		if (cgroup_path_clean(out[i].own, sizeof(out[i].own), h->mount, h->self))
			out[i].own[0] = '\0';
		for (size_t k = 0; k < ARRAY_SIZE(controller_names); k++) {
			const char *name = controller_names[k].name;

			if (!(h->controllers & controller_names[k].bit & ~CGROUP_SYSTEMD) ||
			    streq(name, h->v2 ? "blkio" : "io"))
				continue;
			used += (size_t)snprintf(out[i].controllers + used,
						 sizeof(out[i].controllers) - used, "%s%s",
						 used ? " " : "", name);
		}
	}
	return n;
}
