/*
 * The instances of one root directory, and the state of each.
 *
 * Theory: the directory is made first (mkdir decides who gets a name), state.json follows and is from
 * then on replaced as a whole. A creator that dies leaves a directory whose state says "creating", is cut, or is not
 * there: all three load as INSTANCE_CREATING, and since a living creator holds the directory's lock, the free lock
 * tells the dead one. A pid alone says nothing after its process has ended; with the start time from
 * /proc/PID/stat it names one process for as long as the machine runs.
 *
 * Trust: only the owner writes below ROOT; state.json is parsed with the same care as a config all the same.
 * Threads: none. #syscalls: mkdir openat flock fstat newfstatat unlinkat renameat pidfd_open getdents64
 */
#include "run/instance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "os/tree.h"
#include "wire/json.h"
#include "wire/logline.h"

enum { STATE_MAX = 4 << 20, CONFIG_MAX = 8 << 20 };

struct instance_memory {
	struct arena arena;
	struct json_value doc;
};

static const struct json_word status_words[] = {
	{ "creating", INSTANCE_CREATING }, { "created", INSTANCE_CREATED },
	{ "running", INSTANCE_RUNNING },   { "paused", INSTANCE_PAUSED },
	{ "stopped", INSTANCE_STOPPED },   { NULL, 0 },
};

const char *instance_status_name(enum instance_status s)
{
	return status_words[s].word;
}

static void memory_free(struct instance_memory *m)
{
	if (!m)
		return;
	arena_fini(&m->arena);
	free(m);
}

void instance_fini(struct instance *in)
{
	close_fd(&in->dir);
	free(in->id);
	free(in->bundle);
	free(in->wall);
	free(in->created);
	free(in->cgroup);
	free(in->wall_state);
	free(in->keeper_state);
	memory_free(in->memory);
	*in = (struct instance)INSTANCE_INIT;
}

/* ROOT */

static int make_path(const char *path, mode_t mode)
{
	char part[PATH_MAX];

	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT || (size_t)snprintf(part, sizeof(part), "%s", path) >= sizeof(part))
		return -errno;
	for (char *p = strchr(part + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(part, 0711) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

/* Where an ordinary user's instances live when the session set no XDG_RUNTIME_DIR (su, cron, a bare container):
 * the place that it would have named, else one below /tmp that nobody else made. */
static int fallback_root(char **root, struct err *e)
{
	char path[64];
	struct stat st;
	uid_t uid = geteuid();

	snprintf(path, sizeof(path), "/run/user/%u", uid);
	bool session = lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid;

	if (!session) {
		snprintf(path, sizeof(path), "/tmp/warren-run-%u", uid);
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "make '%s'", path);
		if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != uid ||
		    st.st_mode & 022)
			return err_set(
				e, -EPERM,
				"'%s' is not ours alone: set XDG_RUNTIME_DIR, or give --root "
				"DIR",
				path);
	}
	return asprintf(root, "%s/warren", path) < 0 ? err_sys(e, -ENOMEM, "root") : 0;
}

int instance_root(const char *wish, char **root, struct err *e)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int r = 0, n = 0;

	if (wish)
		n = asprintf(root, "%s", wish);
	else if (geteuid() == 0)
		n = asprintf(root, "/run/warren");
	else if (runtime && *runtime == '/')
		n = asprintf(root, "%s/warren", runtime);
	else
		r = fallback_root(root, e);
	if (n < 0)
		return err_sys(e, -ENOMEM, "root");
	if (r)
		return r;
	r = make_path(*root, 0711);
	if (r) {
		err_sys(e, r, "make '%s'", *root);
		free(*root);
		*root = NULL;
	}
	return r;
}

int instance_id_check(const char *id, struct err *e)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";
	size_t n = strlen(id);

	if (!n || id[0] == '.' || n > NAME_MAX - 8)
		return err_set(e, -EINVAL, "'%.80s' is not an id: 1 to %d characters, no dot first",
			       id, NAME_MAX - 8);
	if (id[strspn(id, allowed)])
		return err_set(e, -EINVAL, "'%.80s' is not an id: letters, digits and _+-. only",
			       id);
	return 0;
}

/* Processes */

int process_start_time(pid_t pid, uint64_t *ticks)
{
	char path[64], text[1024];
	unsigned long long start;
	char state;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	ssize_t n = read_full(fd, text, sizeof(text) - 1);

	if (n < 0)
		return (int)n;
	text[n] = '\0';
	/* The name may hold blanks and brackets: what follows the last bracket is clean. */
	const char *p = strrchr(text, ')');

	if (!p || sscanf(p + 1,
			 " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			 "%*d %llu",
			 &state, &start) != 2)
		return -EPROTO;
	if (state == 'Z' || state == 'X')
		return -ESRCH;
	*ticks = start;
	return 0;
}

static bool is_same(pid_t pid, uint64_t start)
{
	uint64_t now;

	return pid > 0 && process_start_time(pid, &now) == 0 && now == start;
}

int instance_set_pid(struct instance *in, pid_t pid, struct err *e)
{
	int r = process_start_time(pid, &in->pid_start);

	if (r)
		return err_sys(e, r, "process %d", (int)pid);
	in->pid = pid;
	return 0;
}

int instance_pidfd(const struct instance *in)
{
	if (in->pid <= 0)
		return -ESRCH;
	cleanup_fd int fd = pidfd_open(in->pid, 0);

	if (fd < 0)
		return -errno;
	/* Checked after it is held: from here on the number cannot be given to another. */
	return is_same(in->pid, in->pid_start) ? steal_fd(&fd) : -ESRCH;
}

bool instance_keeper_alive(const struct instance *in)
{
	return is_same(in->keeper_pid, in->keeper_start);
}

enum instance_status instance_probe(const struct instance *in)
{
	if (in->status == INSTANCE_STOPPED || (in->status == INSTANCE_CREATING && in->pid == 0))
		return in->status;
	return is_same(in->pid, in->pid_start) ? in->status : INSTANCE_STOPPED;
}

bool instance_half(const struct instance *in)
{
	if (in->status != INSTANCE_CREATING)
		return false;
	if (in->locked)
		return true;
	if (flock(in->dir, LOCK_SH | LOCK_NB) < 0)
		return false;
	flock(in->dir, LOCK_UN);
	return true;
}

/* state.json */

static int put_text(struct buf *b, const char *key, const char *value)
{
	if (!value)
		return b->error;
	json_put_key(b, key);
	return json_put_string(b, value);
}

static int put_raw(struct buf *b, const char *key, const char *json)
{
	if (!json)
		return b->error;
	json_put_key(b, key);
	return buf_adds(b, json);
}

static int print_state(const struct instance *in, struct buf *b)
{
	buf_addf(b, "{\"version\":%d", INSTANCE_STATE_VERSION);
	put_text(b, "id", in->id);
	put_text(b, "wall", in->wall);
	put_text(b, "status", instance_status_name(in->status));
	put_text(b, "bundle", in->bundle);
	put_text(b, "created", in->created);
	buf_addf(b, ",\"owner\":%u,\"pid\":%d,\"pidStart\":%llu", in->owner, (int)in->pid,
		 (unsigned long long)in->pid_start);
	if (in->keeper_pid)
		buf_addf(b, ",\"keeperPid\":%d,\"keeperStart\":%llu", (int)in->keeper_pid,
			 (unsigned long long)in->keeper_start);
	put_raw(b, "cgroup", in->cgroup);
	put_raw(b, "wallState", in->wall_state);
	put_raw(b, "keeperState", in->keeper_state);
	json_put_key(b, "annotations");
	buf_addc(b, '{');
	for (size_t i = 0; i < in->annotations.n; i++)
		put_text(b, in->annotations.v[i].key, in->annotations.v[i].value);
	return buf_adds(b, "}}\n");
}

/* A first write needs no rename: a cut file is read as half-made. */
static int write_new(int dir, const char *name, const char *text, size_t n, struct err *e)
{
	cleanup_fd int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
				   0600);
	int r = fd < 0 ? -errno : write_full(fd, text, n);

	return r ? err_sys(e, r, "write %s", name) : 0;
}

int instance_save(struct instance *in, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(STATE_MAX);
	int r = print_state(in, &text);

	if (r)
		return err_sys(e, r, "write state.json");
	if (!in->written) {
		r = write_new(in->dir, "state.json", text.data, text.len, e);
		in->written = !r;
		return r;
	}
	r = file_replace(in->dir, "state.json", text.data, text.len, 0600, 0);
	return r ? err_sys(e, r, "write state.json") : 0;
}

static int fill_new(struct instance *in, const char *id, struct err *e)
{
	struct timespec now;
	char text[31];

	clock_gettime(CLOCK_REALTIME, &now);
	time_rfc3339_format(now, text);
	free(in->id);
	free(in->created);
	in->id = strdup(id);
	in->created = strdup(text);
	in->owner = geteuid();
	in->status = INSTANCE_CREATING;
	return in->id && in->created ? 0 : err_sys(e, -ENOMEM, "'%s'", id);
}

int instance_new(struct instance *in, const char *root, const char *id, struct err *e)
{
	cleanup_fd int at = -1;
	int r = instance_id_check(id, e);

	if (!r)
		r = fill_new(in, id, e);
	if (r)
		return r;
	at = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return err_sys(e, -errno, "'%s'", root);
	if (mkdirat(at, id, 0711) < 0) {
		if (errno == EEXIST)
			return err_set(e, -EEXIST, "'%s': an instance with this id exists", id);
		return err_sys(e, -errno, "make '%s/%s'", root, id);
	}
	in->dir = openat(at, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in->dir < 0 || flock(in->dir, LOCK_EX) < 0)
		return err_sys(e, -errno, "open '%s/%s'", root, id);
	in->locked = true;
	return 0;
}

struct parsed_state {
	const char *id, *wall, *bundle, *created;
	int status;
	int64_t version, pid, pid_start, keeper_pid, keeper_start, owner;
	const struct json_value *cgroup, *wall_state, *keeper_state;
	struct oci_map annotations;
};

static int keep_object(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		       void *dest)
{
	if (v->type != JSON_TYPE_OBJECT)
		return json_fail(r, at, "expected an object");
	*(const struct json_value **)dest = v;
	return 0;
}

#define PID(name, member)                                          \
	{                                                          \
		.kind = JSON_I64_, .name = (name), .max = 1 << 22, \
		.offset = offsetof(struct parsed_state, member)    \
	}

static const struct json_member state_members[] = {
	JSON_I64("version", struct parsed_state, version, .required = true),
	JSON_STRING("id", struct parsed_state, id, .required = true),
	JSON_STRING("wall", struct parsed_state, wall),
	JSON_STRING("bundle", struct parsed_state, bundle),
	JSON_STRING("created", struct parsed_state, created),
	JSON_ENUM("status", struct parsed_state, status, status_words, .required = true),
	JSON_I64("owner", struct parsed_state, owner),
	JSON_I64("pid", struct parsed_state, pid),
	JSON_U64("pidStart", struct parsed_state, pid_start),
	JSON_I64("keeperPid", struct parsed_state, keeper_pid),
	JSON_U64("keeperStart", struct parsed_state, keeper_start),
	JSON_CALL("cgroup", struct parsed_state, cgroup, keep_object),
	JSON_CALL("wallState", struct parsed_state, wall_state, keep_object),
	JSON_CALL("keeperState", struct parsed_state, keeper_state, keep_object),
	JSON_MAP("annotations", struct parsed_state, annotations),
	JSON_END,
};

static char *dup_or_null(const char *s)
{
	return s ? strdup(s) : NULL;
}

static char *dup_object(const struct json_value *o)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(STATE_MAX);

	return o && !json_tree_print(&text, o) ? buf_steal(&text) : NULL;
}

static int take_state(struct instance *in, const struct parsed_state *s, struct err *e)
{
	if (s->version != INSTANCE_STATE_VERSION)
		return err_set(e, -EPROTO, "state.json: version %lld is not ours (%d)",
			       (long long)s->version, INSTANCE_STATE_VERSION);
	in->wall = dup_or_null(s->wall);
	in->bundle = dup_or_null(s->bundle);
	in->created = dup_or_null(s->created);
	in->cgroup = dup_object(s->cgroup);
	in->wall_state = dup_object(s->wall_state);
	in->keeper_state = dup_object(s->keeper_state);
	in->status = (enum instance_status)s->status;
	in->owner = (uid_t)s->owner;
	in->pid = (pid_t)s->pid;
	in->pid_start = (uint64_t)s->pid_start;
	in->keeper_pid = (pid_t)s->keeper_pid;
	in->keeper_start = (uint64_t)s->keeper_start;
	in->annotations = s->annotations;
	return 0;
}

static int load_state(struct instance *in, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(STATE_MAX);
	struct instance_memory *m = calloc(1, sizeof(*m));
	struct parsed_state s = { .id = NULL };
	struct err why = ERR_INIT;

	if (!m)
		return err_sys(e, -ENOMEM, "state.json");
	arena_init(&m->arena, 16 << 20);
	in->memory = m;
	int r = file_read(in->dir, "state.json", &text);

	if (r && r != -ENOENT)
		return err_sys(e, r, "state.json");
	/* Absent, empty or cut: half-made. */
	in->written = !r;
	in->status = INSTANCE_CREATING;
	if (r || json_tree_parse(buf_str(&text), text.len, STATE_MAX, "state.json", &m->arena,
				 &m->doc, &why))
		return 0;
	struct json_reader reader = { &m->arena, "state.json", e };

	r = json_read_members(&reader, NULL, state_members, &m->doc, &s);
	return r ? r : take_state(in, &s, e);
}

static int open_locked(const char *root, const char *id, bool lock, int *dir, struct err *e)
{
	char path[PATH_MAX];
	struct stat held, named;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", root, id) >= sizeof(path))
		return err_sys(e, -ENAMETOOLONG, "'%s'", id);
	for (;;) {
		cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0 && errno == ENOENT)
			return err_set(e, -ENOENT, "no instance '%s'", id);
		if (fd < 0)
			return err_sys(e, -errno, "open '%s'", path);
		if (lock) {
			while (flock(fd, LOCK_EX) < 0)
				if (errno != EINTR)
					return err_sys(e, -errno, "lock '%s'", path);
			/* While we waited somebody may have removed it, and made a new one. */
			if (fstat(fd, &held) < 0 || stat(path, &named) < 0 ||
			    held.st_ino != named.st_ino || held.st_dev != named.st_dev)
				continue;
		}
		*dir = steal_fd(&fd);
		return 0;
	}
}

int instance_open(struct instance *in, const char *root, const char *id, bool lock, struct err *e)
{
	int r = instance_id_check(id, e);

	*in = (struct instance)INSTANCE_INIT;
	if (!r)
		r = open_locked(root, id, lock, &in->dir, e);
	if (r)
		return r;
	in->locked = lock;
	in->id = strdup(id);
	r = in->id ? load_state(in, e) : err_sys(e, -ENOMEM, "'%s'", id);
	if (r) {
		err_wrap(e, "instance '%s'", id);
		instance_fini(in);
	}
	return r;
}

int instance_remove(struct instance *in, const char *root, struct err *e)
{
	cleanup_fd int at = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = at < 0 ? -errno : tree_remove(at, in->id);

	return r ? err_sys(e, r, "remove '%s/%s'", root, in->id) : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int instance_list(const char *root, struct strlist *ids, struct err *e)
{
	cleanup_closedir DIR *dir = opendir(root);
	struct dirent *d;

	if (!dir)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "'%s'", root);
	while ((d = readdir(dir))) {
		struct stat st;

		if (instance_id_check(d->d_name, NULL) ||
		    fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode))
			continue;
		if (strlist_add(ids, d->d_name))
			return err_sys(e, -ENOMEM, "'%s'", root);
	}
	if (ids->n)
		qsort(ids->v, ids->n, sizeof(*ids->v), by_name);
	return 0;
}

int instance_save_config(struct instance *in, const char *json, size_t n, struct err *e)
{
	return write_new(in->dir, "config.json", json, n, e);
}

int instance_load_config(struct instance *in, struct oci_spec **spec, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(CONFIG_MAX);
	int r = file_read(in->dir, "config.json", &text);

	*spec = NULL;
	if (r)
		return err_sys(e, r, "'%s': config.json", in->id);
	r = oci_spec_parse(buf_str(&text), text.len, "config.json", spec, e);
	return r ? err_wrap(e, "'%s'", in->id) : 0;
}
