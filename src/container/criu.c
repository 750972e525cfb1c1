/*
 * Checkpoint and restore, done by criu.
 *
 * criu is a program of its own, driven by its command line: it stops the process tree, puts a parasite into each
 * process, and writes its memory, descriptors, mounts and sockets to a directory of images; restore builds the tree
 * from them under the process that asks (--restore-sibling), which is us, so that the container's end is ours to
 * collect. Mounts that come from outside of the container are found by criu itself, by the same paths on both
 * sides.
 *
 * What criu cannot save it says, in its log and at its end; the last words are handed on.
 *
 * Trust: images are as trusted as the container's state. Threads: none. #syscalls: unshare mount openat read unlinkat
 */
#include "container/criu.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "os/file.h"
#include "os/spawn.h"

enum { ARGS_MAX = 48, LOG_MAX = 4 << 20 };

struct args {
	const char *v[ARGS_MAX];
	size_t n;
};

static void add(struct args *a, const char *word)
{
	if (a->n + 1 < ARGS_MAX)
		a->v[a->n++] = word;
}

static void add_value(struct args *a, const char *option, const char *value)
{
	if (!value)
		return;
	add(a, option);
	add(a, value);
}

static const char *program_of(const char *program)
{
	return program && *program ? program : "criu";
}

static int run(const struct args *a, const char *what, struct err *e)
{
	const int stdio[3] = { -1, -1, -1 };
	int complaints = -1;
	pid_t pid;
	int err = spawn_with_stderr(&pid, a->v[0], a->v, stdio, &complaints, e);

	return err ? err : spawn_finish(pid, complaints, what, e);
}

int criu_check(const char *program, struct err *e)
{
	struct args a = { .n = 0 };
	struct err why = ERR_INIT;

	add(&a, program_of(program));
	add(&a, "check");
	int err = run(&a, "criu check", &why);

	if (err == -ENOENT)
		return err_set(e, err, "'%s' is not installed. Fix: apt-get install criu", a.v[0]);
	return err ? err_set(e, -EOPNOTSUPP, "criu cannot work on this kernel: %s", why.msg) : 0;
}

/* The first line of criu's log that tells of an error, but not one about a helper program, which are many and
 * mostly harmless. */
static int explain(const struct criu_options *o, const char *log, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(LOG_MAX);
	char path[PATH_MAX];
	const char *found = NULL;

	snprintf(path, sizeof(path), "%s/%s", o->work ? o->work : o->images, log);
	if (!file_read(AT_FDCWD, path, &text))
		for (const char *s = buf_str(&text); (s = strstr(s, "Error (")); s++)
			if (!found && !str_after(s, "Error (criu/util.c"))
				found = s;
	if (!found)
		return e ? e->code : -EIO;
	return err_set(e, -EIO, "%.*s (%s)", (int)strcspn(found, "\n"), found, path);
}

static void add_common(struct args *a, const struct criu_options *o, const char *root,
		       const char *log)
{
	add_value(a, "--images-dir", o->images);
	add_value(a, "--work-dir", o->work ? o->work : o->images);
	add_value(a, "--log-file", log);
	add(a, "-v4");
	add_value(a, "--root", root);
	add_value(a, "--external", "mnt[]");
	if (o->manage_cgroups && !streq(o->manage_cgroups, "ignore")) {
		add(a, streq(o->manage_cgroups, "full")	    ? "--manage-cgroups=full"
		       : streq(o->manage_cgroups, "strict") ? "--manage-cgroups=strict"
							    : "--manage-cgroups=soft");
	}
	if (o->empty_ns)
		add_value(a, "--empty-ns", streq(o->empty_ns, "network") ? "net" : o->empty_ns);
	if (o->tcp_established)
		add(a, "--tcp-established");
	if (o->ext_unix_sk)
		add(a, "--ext-unix-sk");
	if (o->shell_job)
		add(a, "--shell-job");
	if (o->file_locks)
		add(a, "--file-locks");
	if (o->auto_dedup)
		add(a, "--auto-dedup");
	if (o->lazy_pages)
		add(a, "--lazy-pages");
}

/* The command's first three descriptors come from outside: criu is told so on dump, and on restore gets ours in their
 * place. The names by which it knows them are kept beside the images, a line each, "-" for one that is inside. */
struct outside {
	char name[3][64];
};

/* Whether the mount is one of the container's. */
static bool is_own_mount(pid_t pid, unsigned int mnt_id)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(LOG_MAX);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
	if (file_read(AT_FDCWD, path, &text))
		return false;
	for (const char *s = buf_str(&text); *s; s += *s == '\n') {
		if (strtoul(s, NULL, 10) == mnt_id)
			return true;
		s += strcspn(s, "\n");
	}
	return false;
}

static void name_outside(pid_t pid, int fd, char name[64])
{
	cleanup_with(buf_fini) struct buf info = BUF_INIT(4096);
	char path[64], target[64];
	struct stat st;

	snprintf(name, 64, "-");
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0 || stat(path, &st) < 0)
		return;
	target[n] = '\0';
	if (str_after(target, "pipe:[")) {
		memcpy(name, target, (size_t)n + 1);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
	if (target[0] != '/' || file_read(AT_FDCWD, path, &info))
		return;
	const char *at = strstr(buf_str(&info), "mnt_id:");
	unsigned int mnt_id = at ? (unsigned int)strtoul(at + 7, NULL, 10) : 0;

	if (mnt_id && !is_own_mount(pid, mnt_id))
		snprintf(name, 64, "file[%x:%lx]", mnt_id, (unsigned long)st.st_ino);
}

#define OUTSIDE_FILE "warren-descriptors"

static int save_outside(const struct criu_options *o, pid_t pid, struct outside *out, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(4096);
	char path[PATH_MAX];

	for (int i = 0; i < 3; i++) {
		name_outside(pid, i, out->name[i]);
		buf_addf(&text, "%s\n", out->name[i]);
	}
	snprintf(path, sizeof(path), "%s/" OUTSIDE_FILE, o->images);
	int err = text.error ? text.error
			     : file_replace(AT_FDCWD, path, text.data, text.len, 0600, 0);

	return err ? err_sys(e, err, "%s", path) : 0;
}

static int load_outside(const struct criu_options *o, struct outside *out, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(4096);
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" OUTSIDE_FILE, o->images);
	int err = file_read(AT_FDCWD, path, &text);
	const char *s = buf_str(&text);

	if (err)
		return err_sys(e, err, "%s", path);
	for (int i = 0; i < 3; i++) {
		size_t n = strcspn(s, "\n");

		if (n >= sizeof(out->name[i]))
			return err_set(e, -EINVAL, "%s: line %d is too long", path, i + 1);
		memcpy(out->name[i], s, n);
		out->name[i][n] = '\0';
		s += n;
		s += *s == '\n';
	}
	return 0;
}

int criu_dump(const struct criu_options *o, pid_t pid, const char *root, struct err *e)
{
	struct args a = { .n = 0 };
	struct outside outside;
	char number[16], address[256];
	const char *port = o->page_server ? strrchr(o->page_server, ':') : NULL;

	snprintf(number, sizeof(number), "%d", (int)pid);
	add(&a, program_of(o->program));
	add(&a, o->pre_dump ? "pre-dump" : "dump");
	add_value(&a, "--tree", number);
	add_common(&a, o, root, "dump.log");
	int err = save_outside(o, pid, &outside, e);

	if (err)
		return err;
	for (int i = 0; i < 3; i++)
		if (str_after(outside.name[i], "file["))
			add_value(&a, "--external", outside.name[i]);
	add_value(&a, "--prev-images-dir", o->parent);
	if (o->parent || o->pre_dump)
		add(&a, "--track-mem");
	if (o->leave_running)
		add(&a, "--leave-running");
	add_value(&a, "--status-fd", o->status_fd);
	if (o->page_server) {
		if (!port || (size_t)(port - o->page_server) >= sizeof(address))
			return err_set(e, -EINVAL, "--page-server '%s': expected ADDRESS:PORT",
				       o->page_server);
		snprintf(address, sizeof(address), "%.*s", (int)(port - o->page_server),
			 o->page_server);
		add(&a, "--page-server");
		add_value(&a, "--address", address);
		add_value(&a, "--port", port + 1);
	}
	return run(&a, "criu dump", e) ? explain(o, "dump.log", e) : 0;
}

int criu_enter(const char *root, struct err *e)
{
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(e, -errno, "mount namespace");
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0 ||
	    mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_sys(e, -errno, "root '%s'", root);
	return 0;
}

int criu_restore(const struct criu_options *o, const char *root, pid_t *pid, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(64);
	struct args a = { .n = 0 };
	char file[PATH_MAX], inherit[3][96];
	int ours[3] = { -1, -1, -1 };
	struct outside outside;
	int64_t number = 0;

	if ((size_t)snprintf(file, sizeof(file), "%s/restore.pid", o->work ? o->work : o->images) >=
	    sizeof(file))
		return err_sys(e, -ENAMETOOLONG, "--work-path");
	unlink(file);
	int err = load_outside(o, &outside, e);

	if (err)
		return err;
	add(&a, program_of(o->program));
	add(&a, "restore");
	add_common(&a, o, root, "restore.log");
	for (int i = 0; i < 3; i++) {
		if (!str_after(outside.name[i], "file[") && !str_after(outside.name[i], "pipe:["))
			continue;
		/* criu has its own descriptors 0 to 2. */
		ours[i] = fcntl(i, F_DUPFD, 10);
		snprintf(inherit[i], sizeof(inherit[i]), "fd[%d]:%s", ours[i], outside.name[i]);
		add_value(&a, "--inherit-fd", inherit[i]);
	}
	add(&a, "--restore-detached");
	add(&a, "--restore-sibling");
	add_value(&a, "--pidfile", file);
	err = run(&a, "criu restore", e);
	for (int i = 0; i < 3; i++)
		close_fd(&ours[i]);
	if (err)
		return explain(o, "restore.log", e);
	err = file_read(AT_FDCWD, file, &text);
	unlink(file);
	if (!err)
		err = str_to_i64(buf_str(&text), &number);
	if (err || number <= 1 || number > INT32_MAX)
		return err_set(e, -EPROTO, "criu restore: no process number in '%s'", file);
	*pid = (pid_t)number;
	return 0;
}
