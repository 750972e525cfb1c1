/*
 * Events without a daemon: everybody appends one line with one write to ROOT/.events, readers follow the
 * file with inotify. Past a megabyte it is renamed to .events.1, which readers still look at.
 *
 * Trust: the file is the user's own. Threads: any.
 * #syscalls: openat write fstat renameat inotify_init1 inotify_add_watch poll read clock_gettime close
 */
#include "run/events.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "os/file.h"

enum { FILE_MAX = 1 << 20, LINE_MAX_ = 1 << 18 };

static int events_path(const char *root, const char *tail, char *out, size_t size)
{
	int n = snprintf(out, size, "%s/.events%s", root, tail);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static void add_pair(json_object *o, const char *pair)
{
	const char *eq = strchr(pair, '=');
	char key[256];

	if (!eq)
		json_object_object_add(o, pair, json_object_new_string(""));
	else if ((size_t)snprintf(key, sizeof(key), "%.*s", (int)(eq - pair), pair) < sizeof(key))
		json_object_object_add(o, key, json_object_new_string(eq + 1));
}

static json_object *describe(const struct subject *s, const char *action, const char *const *extra)
{
	const char *image = s->rec.image ? s->rec.image : s->rec.rootfs ? s->rec.rootfs : "";
	json_object *o = json_object_new_object(), *actor = json_object_new_object();
	json_object *attributes = json_object_new_object();
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	for (size_t i = 0; i < s->rec.labels.n; i++)
		add_pair(attributes, s->rec.labels.v[i]);
	json_object_object_add(attributes, "image", json_object_new_string(image));
	json_object_object_add(attributes, "name",
			       json_object_new_string(s->rec.name ? s->rec.name : s->in.id));
	for (; extra && *extra; extra++)
		add_pair(attributes, *extra);
	json_object_object_add(actor, "ID", json_object_new_string(s->in.id));
	json_object_object_add(actor, "Attributes", attributes);
	json_object_object_add(o, "status", json_object_new_string(action));
	json_object_object_add(o, "id", json_object_new_string(s->in.id));
	json_object_object_add(o, "from", json_object_new_string(image));
	json_object_object_add(o, "Type", json_object_new_string("container"));
	json_object_object_add(o, "Action", json_object_new_string(action));
	json_object_object_add(o, "Actor", actor);
	json_object_object_add(o, "scope", json_object_new_string("local"));
	json_object_object_add(o, "time", json_object_new_int64(t.tv_sec));
	json_object_object_add(o, "timeNano",
			       json_object_new_int64(t.tv_sec * 1000000000 + t.tv_nsec));
	return o;
}

void event_emit(const char *root, const struct subject *s, const char *action,
		const char *const *extra)
{
	char path[PATH_MAX], old[PATH_MAX];
	struct stat st;

	if (events_path(root, "", path, sizeof(path)) || events_path(root, ".1", old, sizeof(old)))
		return;
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
				 0600);

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > FILE_MAX)
		rename(path, old);
	json_object *o = describe(s, action, extra);
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	cleanup_with(buf_fini) struct buf line = BUF_INIT(LINE_MAX_);

	buf_adds(&line, text ? text : "");
	if (text && !buf_addc(&line, '\n'))
		(void)write_full(fd, line.data, line.len);
	json_object_put(o);
}

struct reader {
	int fd;
	struct buf in;
	int64_t since, until; /* ns; until 0: none */
	event_line_fn *fn;
	void *arg;
};

static int64_t to_ns(struct timespec t)
{
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

static int one_line(void *arg, const char *p, size_t n)
{
	struct reader *r = arg;
	/* The last member of every line, written by us: no need to parse all of it. */
	static const char key[] = "\"timeNano\":";
	const char *at = NULL;
	int64_t when = 0;

	for (const char *q = p; (q = memmem(q, n - (size_t)(q - p), key, strlen(key)));)
		at = q += strlen(key);
	for (; at && at < p + n && *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(when, (int64_t)10, &when) ||
		    __builtin_add_overflow(when, (int64_t)(*at - '0'), &when))
			return 0;
	if (!at || when < r->since || (r->until && when > r->until))
		return 0;
	return r->fn(r->arg, p, n);
}

static int drain(struct reader *r)
{
	return read_lines(r->fd, &r->in, one_line, r);
}

static int read_file(struct reader *r, const char *path)
{
	close_fd(&r->fd);
	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r->fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return drain(r);
}

static int timeout_until(int64_t until)
{
	struct timespec t;

	if (!until)
		return -1;
	clock_gettime(CLOCK_REALTIME, &t);
	int64_t left = (until - to_ns(t) + 999999) / 1000000;

	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static int follow_file(struct reader *r, const char *root, const char *path, int stop_fd)
{
	cleanup_fd int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (watch < 0 || inotify_add_watch(watch, root, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
		return -errno;
	for (;;) {
		struct pollfd p[] = { { .fd = watch, .events = POLLIN },
				      { .fd = stop_fd, .events = POLLIN } };
		struct stat ours, now;
		char sink[4096];
		int s = r->fd < 0 ? 0 : drain(r);

		if (s)
			return s;
		if (stat(path, &now) == 0 &&
		    (r->fd < 0 || (fstat(r->fd, &ours) == 0 && ours.st_ino != now.st_ino))) {
			s = read_file(r, path);
			if (s)
				return s;
		}
		int n = poll(p, 2, timeout_until(r->until));

		if (n == 0 || (n > 0 && p[1].revents))
			return 0;
		while (read(watch, sink, sizeof(sink)) > 0)
			;
	}
}

int events_read(const char *root, struct timespec since, struct timespec until, bool follow,
		int stop_fd, event_line_fn *fn, void *arg, struct err *e)
{
	struct reader r = {
		.fd = -1, .since = to_ns(since), .until = to_ns(until), .fn = fn, .arg = arg
	};
	char path[PATH_MAX], old[PATH_MAX];
	int s = events_path(root, "", path, sizeof(path));

	buf_init(&r.in, LINE_MAX_);
	if (!s)
		s = events_path(root, ".1", old, sizeof(old));
	if (!s)
		s = read_file(&r, old);
	if (!s)
		s = read_file(&r, path);
	if (!s && follow)
		s = follow_file(&r, root, path, stop_fd);
	close_fd(&r.fd);
	buf_fini(&r.in);
	return s < 0 ? err_sys(e, s, "events in '%s'", root) : s;
}
