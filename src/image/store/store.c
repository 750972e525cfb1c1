/*
 * Opening, locking and changing the store.
 *
 * Two locks. `busy` is held shared by whoever brings content (an import takes minutes) and taken exclusively,
 * never waiting, by whoever throws content away: what was just unpacked and is not yet referred to is safe.
 * `lock` is held exclusively for the moment in which something becomes true: database commit and record files.
 *
 * A change that is cut off leaves the mark `dirty`; the next store_open() then writes all records anew from the
 * database, and collecting removes what is in no table. Content is synced to disk before the commit that
 * refers to it. Scratch directories are locked by their owners, so that leftovers of dead ones are known.
 *
 * Trust: the directory is the user's own. Threads: one.
 * #syscalls: openat mkdirat flock unlinkat syncfs getdents64 close getpid
 */
#include "image/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/store/db.h"
#include "os/file.h"
#include "os/tree.h"
#include "wire/json.h"

#define FORMAT_LINE "warren-store 1\n"

static int lock_file(struct store *s, const char *name, int how)
{
	int fd = openat(s->dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, how) < 0) {
		if (errno == EINTR)
			continue;
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

static int make_dirs(struct store *s, struct err *e)
{
	static const char *const dirs[] = { "blobs", "blobs/sha256", "layers", "names",
					    "ids",   "uses",	     "tmp",    "instances" };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		/* Layers hold set-user-id programs, old and vulnerable ones too: nobody else looks
		 * in. */
		if (mkdirat(s->dir, dirs[i], 0700) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "%s/%s", s->path, dirs[i]);
	return 0;
}

static int check_format(struct store *s, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(256);
	int r = file_read(s->dir, "format", &b);

	if (r == -ENOENT)
		r = file_replace(s->dir, "format", FORMAT_LINE, strlen(FORMAT_LINE), 0644, true);
	else if (!r && strcmp(buf_str(&b), FORMAT_LINE) != 0)
		return err_set(e, -EPROTO, "%s/format: '%s' is not a format known here", s->path,
			       buf_str(&b));
	return r ? err_sys(e, r, "%s/format", s->path) : 0;
}

/* What processes that died left in tmp/. */
static void sweep(struct store *s)
{
	int tmp = openat(s->dir, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *d = tmp < 0 ? NULL : fdopendir(tmp);

	for (struct dirent *x; d && (x = readdir(d));) {
		if (x->d_name[0] == '.')
			continue;
		cleanup_fd int fd = openat(tmp, x->d_name, O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			tree_remove(tmp, x->d_name);
	}
}

int store_open(struct store *s, const char *path, bool rootless, struct err *e)
{
	void (*say)(void *, const char *) = s->say;
	void *arg = s->say_arg;

	*s = (struct store){ .path = path,
			     .dir = -1,
			     .rootless = rootless,
			     .busy = -1,
			     .lock = -1,
			     .progress = s->progress,
			     .say = say,
			     .say_arg = arg };
	int r = tree_make(path);

	if (!r) {
		s->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = s->dir < 0 ? -errno : 0;
	}
	if (r)
		return err_sys(e, r, "image store '%s'", path);
	r = check_format(s, e);
	if (!r)
		r = make_dirs(s, e);
	if (r)
		return r;
	s->busy = lock_file(s, "busy", LOCK_SH);
	if (s->busy < 0)
		return err_sys(e, s->busy, "%s/busy", path);
	int lock = lock_file(s, "lock", LOCK_EX);

	if (lock < 0)
		return err_sys(e, lock, "%s/lock", path);
	s->lock = lock;
	r = db_open(s, e);
	if (!r && faccessat(s->dir, "dirty", F_OK, 0) == 0) {
		r = records_rebuild(s, e);
		if (!r)
			unlinkat(s->dir, "dirty", 0);
	}
	if (!r)
		sweep(s);
	close_fd(&s->lock);
	return r;
}

void store_close(struct store *s)
{
	sqlite3_close(s->db);
	close_fd(&s->lock);
	close_fd(&s->busy);
	close_fd(&s->dir);
	s->db = NULL;
}

void store_progress(const struct store *s, const char *digest, const char *state, uint64_t current,
		    uint64_t total)
{
	const char *hex = str_after(digest, "sha256:");
	char text[256];

	if (!s->progress)
		return;
	snprintf(text, sizeof(text),
		 "{\"progress\":\"%.12s\",\"state\":\"%.20s\",\"current\":%llu,\"total\":%llu}",
		 hex ? hex : digest, state, (unsigned long long)current, (unsigned long long)total);
	s->say(s->say_arg, text);
}

void store_status(const struct store *s, const char *fmt, ...)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(4096);
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_adds(&b, "{\"status\":");
	json_put_string(&b, text);
	buf_adds(&b, "}");
	if (s->say && !b.error)
		s->say(s->say_arg, buf_str(&b));
}

int store_change_begin(struct store *s, struct err *e)
{
	int lock = lock_file(s, "lock", LOCK_EX);

	if (lock < 0)
		return err_sys(e, lock, "%s/lock", s->path);
	s->lock = lock;
	cleanup_fd int mark = openat(s->dir, "dirty", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (mark < 0) {
		close_fd(&s->lock);
		return err_sys(e, -errno, "%s/dirty", s->path);
	}
	int r = db_run(s, e, "BEGIN IMMEDIATE", "");

	if (r < 0)
		close_fd(&s->lock);
	return r;
}

int store_change_end(struct store *s, int r, const char *id, struct err *e)
{
	if (!r && syncfs(s->dir) < 0)
		r = err_sys(e, -errno, "%s: sync", s->path);
	if (!r)
		r = db_run(s, e, "COMMIT", "");
	if (!r && id)
		r = records_write(s, id, e);
	else if (r)
		db_run(s, NULL, "ROLLBACK", "");
	/* On failure, records that were taken away already come back. */
	if (!r || records_rebuild(s, NULL) == 0)
		unlinkat(s->dir, "dirty", 0);
	close_fd(&s->lock);
	return r;
}

int store_scratch(struct store *s, struct scratch *t, struct err *e)
{
	static unsigned int counter;
	/* Nobody sweeps between making the directory and locking it. */
	cleanup_fd int lock = lock_file(s, "lock", LOCK_EX);

	if (lock < 0)
		return err_sys(e, lock, "%s/lock", s->path);
	for (;;) {
		snprintf(t->name, sizeof(t->name), "tmp/%d-%u", (int)getpid(), counter++);
		if (mkdirat(s->dir, t->name, 0700) == 0)
			break;
		if (errno != EEXIST)
			return err_sys(e, -errno, "%s/%s", s->path, t->name);
	}
	t->fd = openat(s->dir, t->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->fd < 0 || flock(t->fd, LOCK_EX) < 0)
		return err_sys(e, -errno, "%s/%s", s->path, t->name);
	return 0;
}

void store_scratch_drop(struct store *s, struct scratch *t)
{
	if (t->name[0])
		tree_remove(s->dir, t->name);
	close_fd(&t->fd);
	t->name[0] = '\0';
}
