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

/* The last line of criu's log that tells of an error; better than what it prints at its end. */
static int explain(const struct criu_options *o, const char *log, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(LOG_MAX);
	char path[PATH_MAX];
	const char *found = NULL;

	snprintf(path, sizeof(path), "%s/%s", o->work ? o->work : o->images, log);
	if (!file_read(AT_FDCWD, path, &text))
		for (const char *s = buf_str(&text); (s = strstr(s, "Error (")); s++)
			if (!found)
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

int criu_dump(const struct criu_options *o, pid_t pid, const char *root, struct err *e)
{
	struct args a = { .n = 0 };
	char number[16], address[256];
	const char *port = o->page_server ? strrchr(o->page_server, ':') : NULL;

	snprintf(number, sizeof(number), "%d", (int)pid);
	add(&a, program_of(o->program));
	add(&a, o->pre_dump ? "pre-dump" : "dump");
	add_value(&a, "--tree", number);
	add_common(&a, o, root, "dump.log");
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
	char file[PATH_MAX];
	int64_t number = 0;

	if ((size_t)snprintf(file, sizeof(file), "%s/restore.pid", o->work ? o->work : o->images) >=
	    sizeof(file))
		return err_sys(e, -ENAMETOOLONG, "--work-path");
	unlink(file);
	add(&a, program_of(o->program));
	add(&a, "restore");
	add_common(&a, o, root, "restore.log");
	add(&a, "--restore-detached");
	add(&a, "--restore-sibling");
	add_value(&a, "--pidfile", file);
	if (run(&a, "criu restore", e))
		return explain(o, "restore.log", e);
	int err = file_read(AT_FDCWD, file, &text);

	unlink(file);
	if (!err)
		err = str_to_i64(buf_str(&text), &number);
	if (err || number <= 1 || number > INT32_MAX)
		return err_set(e, -EPROTO, "criu restore: no process number in '%s'", file);
	*pid = (pid_t)number;
	return 0;
}
