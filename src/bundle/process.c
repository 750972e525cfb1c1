/*
 * config.json's process object: command, environment, directory, user, limits. The order of wins is
 * docker's: the image's value, then --env-file, then -e; a command line replaces the image's Cmd and
 * --entrypoint its Entrypoint and Cmd both. USER and -u are looked up in the image's own passwd and group.
 *
 * Trust: the image's configuration and its /etc are hostile; numbers are bounded, names are only compared.
 * Threads: none. #syscalls: openat read close
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "bundle/make_int.h"
#include "image/rootfs.h"
#include "wire/passwd.h"

#define PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define GROUPS_MAX   64
#define ETC_FILE_MAX (1u << 20)

static int env_set(struct strlist *env, const char *pair)
{
	size_t n = strcspn(pair, "=");

	for (size_t i = 0; i < env->n; i++) {
		if (strncmp(env->v[i], pair, n) == 0 && env->v[i][n] == '=') {
			char *copy = strdup(pair);

			if (!copy)
				return -ENOMEM;
			free(env->v[i]);
			env->v[i] = copy;
			return 0;
		}
	}
	return strlist_add(env, pair);
}

static bool env_has(const struct strlist *env, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=')
			return true;
	return false;
}

/* "K=V", or "K": our own value, nothing when we have none. */
static int env_wish(struct make *m, struct strlist *env, const char *wish)
{
	const char *value;

	if (!*wish || *wish == '=')
		return err_set(m->e, -EINVAL, "environment '%s': no name before '='", wish);
	if (strchr(wish, '='))
		return env_set(env, wish);
	value = getenv(wish);
	if (!value)
		return 0;
	cleanup_free char *pair = NULL;

	if (asprintf(&pair, "%s=%s", wish, value) < 0)
		return -ENOMEM;
	return env_set(env, pair);
}

static int env_from_file(struct make *m, struct strlist *env, const char *path)
{
	cleanup_fclose FILE *f = fopen(path, "re");
	cleanup_free char *line = NULL;
	size_t size = 0, number = 0;
	ssize_t n;

	if (!f)
		return err_sys(m->e, -errno, "--env-file '%s'", path);
	while ((n = getline(&line, &size, f)) > 0) {
		number++;
		if (strlen(line) != (size_t)n)
			return err_set(m->e, -EINVAL, "--env-file '%s': line %zu: a NUL byte", path,
				       number);
		line[strcspn(line, "\r\n")] = '\0';
		char *start = line + strspn(line, " \t");

		if (!*start || *start == '#')
			continue;
		int r = env_wish(m, env, start);

		if (r)
			return err_wrap(m->e, "--env-file '%s': line %zu", path, number);
	}
	return 0;
}

static int collect_env(struct make *m, struct strlist *env, const char *home)
{
	const struct bundle_options *o = m->o;
	const struct image *img = m->r->image;
	char pair[320], host[256];
	int r = env_set(env, PATH_DEFAULT);

	snprintf(pair, sizeof(pair), "HOSTNAME=%s", make_hostname(m, host, sizeof(host)));
	if (!r)
		r = env_set(env, pair);
	if (!r && o->tty)
		r = env_set(env, "TERM=xterm");
	for (size_t i = 0; img && !r && i < img->config.env.n; i++)
		r = env_set(env, img->config.env.v[i]);
	for (size_t i = 0; !r && i < o->env_file.n; i++)
		r = env_from_file(m, env, o->env_file.v[i]);
	for (size_t i = 0; !r && i < o->env.n; i++)
		r = env_wish(m, env, o->env.v[i]);
	if (!r && !env_has(env, "HOME")) {
		snprintf(pair, sizeof(pair), "HOME=%s", home);
		r = env_set(env, pair);
	}
	return r;
}

static int make_env(struct make *m, const char *home)
{
	__attribute__((cleanup(strlist_fini))) struct strlist env = { 0 };
	int r = collect_env(m, &env, home);

	if (r)
		return r;
	struct json_object *list = make_list(m, m->process, "env");

	for (size_t i = 0; i < env.n; i++)
		make_item(m, list, env.v[i]);
	return 0;
}

static void note_command(struct make *m, const char *word)
{
	if (strlist_add(&m->out->command, word))
		m->no_memory = true;
}

static int make_args(struct make *m)
{
	static const struct image_list none = { 0 };
	const struct bundle_options *o = m->o;
	const struct image *img = m->r->image;
	const struct image_list *entry = img && !o->entrypoint ? &img->config.entrypoint : &none;
	const struct image_list *cmd = img && !o->entrypoint ? &img->config.cmd : &none;
	struct json_object *list = make_list(m, m->process, "args");
	size_t n = 0;

	if (o->entrypoint && *o->entrypoint) {
		make_item(m, list, o->entrypoint);
		note_command(m, o->entrypoint);
		n++;
	}
	for (size_t i = 0; i < entry->n; i++, n++) {
		make_item(m, list, entry->v[i]);
		note_command(m, entry->v[i]);
	}
	if (m->r->args && m->r->args[0]) {
		for (char *const *a = m->r->args; *a; a++, n++) {
			make_item(m, list, *a);
			note_command(m, *a);
		}
	} else {
		for (size_t i = 0; i < cmd->n; i++, n++) {
			make_item(m, list, cmd->v[i]);
			note_command(m, cmd->v[i]);
		}
	}
	if (!n)
		return err_set(m->e, -EINVAL,
			       "no command: %s names none; write one after the image",
			       img ? "the image" : "a --rootfs");
	return 0;
}

static int make_cwd(struct make *m)
{
	const struct image *img = m->r->image;
	const char *cwd = m->o->workdir && *m->o->workdir  ? m->o->workdir
			  : img && img->config.working_dir ? img->config.working_dir
							   : "/";

	if (!*cwd)
		cwd = "/";
	if (cwd[0] != '/')
		return err_set(m->e, -EINVAL, "working directory '%s' is not absolute", cwd);
	make_string(m, m->process, "cwd", cwd);
	return 0;
}

static int make_rlimits(struct make *m)
{
	static const char *const names[] = { "as",     "core",	 "cpu",	       "data",
					     "fsize",  "locks",	 "memlock",    "msgqueue",
					     "nice",   "nofile", "nproc",      "rss",
					     "rtprio", "rttime", "sigpending", "stack" };

	if (!m->o->ulimits.n)
		return 0;
	struct json_object *list = make_list(m, m->process, "rlimits");

	for (size_t i = 0; i < m->o->ulimits.n; i++) {
		const char *wish = m->o->ulimits.v[i], *eq = strchr(wish, '=');
		char type[32] = "RLIMIT_", soft[32];
		int64_t lo, hi;
		bool known = false;

		for (size_t k = 0; eq && k < ARRAY_SIZE(names); k++)
			known |= strlen(names[k]) == (size_t)(eq - wish) &&
				 strncasecmp(names[k], wish, (size_t)(eq - wish)) == 0;
		if (!known)
			return err_set(m->e, -EINVAL,
				       "--ulimit '%s': expected NAME=SOFT[:HARD] with a name like "
				       "nofile, nproc, core",
				       wish);
		for (size_t k = 0; k < (size_t)(eq - wish); k++)
			type[7 + k] = (char)toupper((unsigned char)wish[k]);
		const char *colon = strchr(eq, ':');

		snprintf(soft, sizeof(soft), "%.*s",
			 (int)(colon ? colon - eq - 1 : (ptrdiff_t)strlen(eq + 1)), eq + 1);
		if (str_to_i64(soft, &lo) || lo < -1)
			return err_set(m->e, -EINVAL, "--ulimit '%s': '%s' is not a limit", wish,
				       soft);
		hi = lo;
		if (colon && (str_to_i64(colon + 1, &hi) || hi < -1))
			return err_set(m->e, -EINVAL, "--ulimit '%s': '%s' is not a limit", wish,
				       colon + 1);
		if (hi != -1 && (lo == -1 || lo > hi))
			return err_set(m->e, -EINVAL,
				       "--ulimit '%s': soft limit above the hard one", wish);
		struct json_object *x = make_object(m, list, NULL);

		make_string(m, x, "type", type);
		make_set(m, x, "soft",
			 json_object_new_uint64(lo == -1 ? RLIM_INFINITY : (uint64_t)lo));
		make_set(m, x, "hard",
			 json_object_new_uint64(hi == -1 ? RLIM_INFINITY : (uint64_t)hi));
	}
	return 0;
}

/* /etc/passwd and /etc/group of the root file system; absent ones are empty. */
static void read_etc(const struct make *m, const char *path, struct buf *out)
{
	const struct image_list dir = { (const char *[]){ m->r->rootfs, NULL }, 1 };

	if (image_rootfs_read(m->r->image ? &m->r->image->layers : &dir, path, out))
		buf_clear(out);
}

struct who {
	char user[256];
	const char *group; /* NULL: not given */
	struct passwd_entry entry;
	bool found;
};

static int look_up_user(struct make *m, struct who *w, const struct buf *passwd)
{
	uint64_t n;

	if (str_to_u64(w->user, &n) == 0) {
		if (n >= UINT32_MAX)
			return err_set(m->e, -ERANGE, "user '%s': number too large", w->user);
		w->found = passwd_find(buf_str(passwd), passwd->len, NULL, (uint32_t)n, &w->entry);
		m->uid = (uint32_t)n;
	} else {
		w->found = passwd_find(buf_str(passwd), passwd->len, w->user, 0, &w->entry);
		if (!w->found)
			return err_set(m->e, -ENOENT, "user '%s': not in the image's /etc/passwd",
				       w->user);
		m->uid = w->entry.uid;
	}
	m->gid = w->found ? w->entry.gid : 0;
	return 0;
}

static int look_up_group(struct make *m, const char *name, const struct buf *group, uint32_t *gid)
{
	uint64_t n;
	int r = str_to_u64(name, &n);

	if (r == 0 && n < UINT32_MAX)
		*gid = (uint32_t)n;
	else if (r == 0 || !group_find(buf_str(group), group->len, name, gid))
		return err_set(m->e, -ENOENT, "group '%s': not in the image's /etc/group", name);
	return 0;
}

static int make_groups(struct make *m, const struct who *w, const struct buf *group,
		       struct json_object *user)
{
	uint32_t gids[GROUPS_MAX + 1];
	size_t n = 0;

	if (w->found && !w->group)
		n = group_memberships(buf_str(group), group->len, w->entry.name, gids, GROUPS_MAX);
	struct json_object *list = make_list(m, user, "additionalGids");

	for (size_t i = 0; i < n; i++)
		make_set(m, list, NULL, json_object_new_int64(gids[i]));
	for (size_t i = 0; i < m->o->group_add.n; i++) {
		uint32_t gid;
		int r = look_up_group(m, m->o->group_add.v[i], group, &gid);

		if (r)
			return err_wrap(m->e, "--group-add");
		make_set(m, list, NULL, json_object_new_int64(gid));
	}
	return 0;
}

static int make_user(struct make *m, char *home, size_t size)
{
	const struct image *img = m->r->image;
	const char *wish = m->o->user ? m->o->user : img ? img->config.user : NULL;
	__attribute__((cleanup(buf_fini))) struct buf passwd = BUF_INIT(ETC_FILE_MAX);
	__attribute__((cleanup(buf_fini))) struct buf group = BUF_INIT(ETC_FILE_MAX);
	struct who w = { .group = NULL };
	int r;

	if (!wish || !*wish)
		wish = "0";
	size_t n = strcspn(wish, ":");

	if (n >= sizeof(w.user))
		return err_set(m->e, -EINVAL, "user '%.40s...': name too long", wish);
	memcpy(w.user, n ? wish : "0", n ? n : 1);
	w.group = wish[n] && wish[n + 1] ? wish + n + 1 : NULL;
	read_etc(m, "etc/passwd", &passwd);
	read_etc(m, "etc/group", &group);
	r = look_up_user(m, &w, &passwd);
	if (!r && w.group)
		r = look_up_group(m, w.group, &group, &m->gid);
	if (r)
		return r;
	snprintf(home, size, "%s",
		 w.found && *w.entry.home ? w.entry.home
		 : m->uid		  ? "/"
					  : "/root");
	struct json_object *user = make_object(m, m->process, "user");

	make_number(m, user, "uid", m->uid);
	make_number(m, user, "gid", m->gid);
	make_number(m, user, "umask", 022);
	return make_groups(m, &w, &group, user);
}

int make_process(struct make *m)
{
	char home[256];
	int r;

	m->process = make_object(m, m->top, "process");
	make_bool(m, m->process, "terminal", m->o->tty);
	if ((r = make_user(m, home, sizeof(home))) || (r = make_args(m)) ||
	    (r = make_env(m, home)) || (r = make_cwd(m)))
		return r;
	if (m->o->oom_score_adj)
		make_number(m, m->process, "oomScoreAdj", m->o->oom_score_adj);
	return make_rlimits(m);
}
