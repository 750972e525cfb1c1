/*
 * What several verbs of `warren oci` do: find an instance, make one from a bundle, write pid files.
 *
 * Trust: paths are the caller's. Threads: none. #syscalls: openat read write renameat socket connect fcntl
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/oci.h"
#include "os/file.h"

enum { CONFIG_MAX = 8 << 20 };

const struct opt oci_create_opts[] = {
	OPT_STRING('b', "bundle", "DIR", struct oci_create_options, bundle,
		   "Directory of config.json (the current one)", .complete = COMPLETE_DIR),
	OPT_STRING(0, "console-socket", "SOCKET", struct oci_create_options, console_socket,
		   "Send the terminal's master to this socket", .complete = COMPLETE_FILE),
	OPT_STRING(0, "pid-file", "FILE", struct oci_create_options, pid_file,
		   "Write the first process's id to FILE", .complete = COMPLETE_FILE),
	OPT_INT(0, "preserve-fds", "N", struct oci_create_options, preserve_fds,
		"Hand N descriptors from 3 on to the command"),
	OPT_BOOL(0, "no-pivot", struct oci_create_options, no_pivot,
		 "Move the root instead of pivoting, for a host that runs from an initramfs"),
	OPT_BOOL(0, "no-new-keyring", struct oci_create_options, no_new_keyring,
		 "Keep the caller's session keyring"),
	OPT_BOOL(0, "no-subreaper", struct oci_create_options, no_subreaper,
		 "Accepted for compatibility"),
	OPT_END,
};

int oci_root(char **root, struct err *e)
{
	return instance_root(oci.root, root, e);
}

int oci_open(struct instance *in, const char *id, bool lock, const struct wall_ops **wall,
	     struct err *e)
{
	cleanup_free char *root = NULL;
	int r = oci_root(&root, e);

	*in = (struct instance)INSTANCE_INIT;
	if (r)
		return r;
	r = instance_open(in, root, id, lock, e);
	if (r == -ENOENT)
		return err_set(e, r, "container '%s' does not exist", id);
	return r || !wall ? r : wall_of(in, wall, e);
}

int oci_wall(const struct oci_spec *spec, const struct wall_ops **wall, struct err *e)
{
	const char *name = oci.wall;

	if (!name)
		name = oci_annotation(spec, "dev.warren.isolation");
	if (spec->vm && spec->vm->hypervisor_path) {
		/* It is this program; its one parameter is the wall. */
		const char *slash = strrchr(spec->vm->hypervisor_path, '/');

		if (!slash || !str_after(slash + 1, "warren"))
			return err_set(
				e, -EINVAL,
				"config.json: vm.hypervisor.path: '%s' is not used: Warren is the "
				"hypervisor. Fix: leave vm.hypervisor out",
				spec->vm->hypervisor_path);
		if (!name && spec->vm->hypervisor_parameters.n)
			name = spec->vm->hypervisor_parameters.v[0];
	}
	if (!name && spec->vm)
		name = "vm";
	return wall_find(name, wall, e);
}

int oci_console_connect(const char *path, int *fd, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	*fd = -1;
	if (!path)
		return 0;
	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path) >=
	    sizeof(addr.sun_path))
		return err_sys(e, -ENAMETOOLONG, "--console-socket '%s'", path);
	cleanup_fd int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (s < 0 || connect(s, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(e, -errno, "--console-socket '%s'", path);
	*fd = steal_fd(&s);
	return 0;
}

int oci_preserved_fds(int64_t wish, int *preserve, int *listen, struct err *e)
{
	const char *text = getenv("LISTEN_FDS");
	uint64_t n = 0;

	if (wish < 0 || wish > 1024)
		return err_set(e, -EINVAL, "--preserve-fds: expected a number between 0 and 1024");
	if (text && (str_to_u64(text, &n) || n > 1024))
		return err_set(e, -EINVAL, "LISTEN_FDS='%s': expected a number", text);
	*listen = (int)n;
	*preserve = (int)wish + (int)n;
	/* What closes at an exec did not come through ours: it is no file of the caller's, but one that we opened. */
	for (int i = 3; i < 3 + *preserve; i++)
		if (fcntl(i, F_GETFD) != 0)
			return err_set(e, -EBADF,
				       "descriptor %d is to be preserved, but is not open", i);
	return 0;
}

int oci_write_pid(const char *path, pid_t pid, struct err *e)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", (int)pid);

	if (!path)
		return 0;
	int r = file_replace(AT_FDCWD, path, text, (size_t)n, 0644, 0);

	return r ? err_sys(e, r, "--pid-file '%s'", path) : 0;
}

static int bundle_path(const char *wish, char **out, struct err *e)
{
	*out = realpath(wish ? wish : ".", NULL);
	return *out ? 0 : err_sys(e, -errno, "bundle '%s'", wish ? wish : ".");
}

static int read_config(struct oci_created *c, struct buf *text, struct err *e)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/config.json", c->in.bundle) >= sizeof(path))
		return err_sys(e, -ENAMETOOLONG, "bundle '%s'", c->in.bundle);
	/* A FIFO is an empty file, not a wait. */
	cleanup_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int r = fd < 0 ? -errno : read_all(fd, text);

	if (r)
		return err_sys(e, r, "'%s'", path);
	return oci_spec_parse(text->data ? text->data : "", text->len, path, &c->spec, e);
}

void oci_created_fini(struct oci_created *c)
{
	wall_process_fini(&c->process);
	instance_fini(&c->in);
	oci_spec_free(c->spec);
	c->spec = NULL;
}

void oci_destroy(struct oci_created *c)
{
	cleanup_free char *root = NULL;
	struct err e = ERR_INIT;

	if (c->in.dir < 0)
		return;
	if (c->in.pid && c->wall->cleanup(&c->in, c->spec, true, &e))
		fprintf(stderr, "warning: '%s': %s\n", c->in.id, e.msg);
	if (oci_root(&root, &e) || instance_remove(&c->in, root, &e))
		fprintf(stderr, "warning: '%s': %s\n", c->in.id, e.msg);
}

static int fill_wall_create(struct oci_created *c, const struct oci_create_options *o,
			    bool detached, struct wall_create *w, struct err *e)
{
	*w = (struct wall_create)WALL_CREATE_INIT;
	w->spec = c->spec;
	w->detached = detached;
	w->at_once = !detached;
	w->go_on = !detached && !o->pid_file;
	w->no_pivot = o->no_pivot;
	w->no_new_keyring = o->no_new_keyring;
	w->cgroup_manager = oci.systemd_cgroup ? CGROUP_MANAGER_SYSTEMD : CGROUP_MANAGER_CGROUPFS;
	int r = oci_preserved_fds(o->preserve_fds, &w->preserve_fds, &w->listen_fds, e);

	if (r)
		return r;
	bool terminal = c->spec->process && c->spec->process->terminal;

	if (terminal && detached && !o->console_socket)
		return err_set(e, -EINVAL, "process.terminal needs --console-socket");
	if (!terminal && o->console_socket)
		return err_set(e, -EINVAL, "--console-socket: process.terminal is false");
	return oci_console_connect(o->console_socket, &w->console_socket, e);
}

/* What the bundle says: config.json and the wall. -EINVAL for all that is wrong with it: -ENOENT and -EACCES are kept
 * for the program. */
static int load_bundle(struct oci_created *c, const struct oci_create_options *o, struct buf *text,
		       struct err *e)
{
	*c = (struct oci_created){ .in = INSTANCE_INIT, .process = WALL_PROCESS_INIT };
	int r = bundle_path(o->bundle, &c->in.bundle, e);

	if (!r)
		r = read_config(c, text, e);
	if (!r)
		r = oci_wall(c->spec, &c->wall, e);
	return r ? -EINVAL : 0;
}

static int new_instance(struct oci_created *c, const char *id, const struct buf *text,
			struct err *e)
{
	cleanup_free char *root = NULL;

	if (oci_root(&root, e))
		return -EINVAL;
	c->in.annotations = c->spec->annotations;
	c->in.wall = strdup(c->wall->name);
	int r = instance_new(&c->in, root, id, e);

	return r ? r : instance_save_config(&c->in, text->data, text->len, e);
}

int oci_prepare(struct oci_created *c, const struct oci_create_options *o, const char *id,
		struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(CONFIG_MAX);
	int r = load_bundle(c, o, &text, e);

	return r ? r : new_instance(c, id, &text, e);
}

int oci_create(struct oci_created *c, const struct oci_create_options *o, const char *id,
	       bool detached, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(CONFIG_MAX);
	struct wall_create w;
	int r = load_bundle(c, o, &text, e);

	if (!r && fill_wall_create(c, o, detached, &w, e))
		r = -EINVAL;
	if (r)
		return r;
	r = new_instance(c, id, &text, e);
	if (r == -EEXIST) {
		close_fd(&w.console_socket);
		return r;
	}
	if (!r)
		r = c->wall->create(&c->in, &w, &c->process, e);
	close_fd(&w.console_socket);
	if (!r)
		r = oci_write_pid(o->pid_file, c->in.pid, e);
	if (r)
		oci_destroy(c);
	return r;
}

int oci_exec_status(int err)
{
	return err == -ENOENT ? EXIT_NOT_FOUND : err == -EACCES ? EXIT_NOT_INVOCABLE : EXIT_WARREN;
}
