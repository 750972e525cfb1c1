/*
 * warren oci checkpoint, warren oci restore: a container's processes into files and back, by the program criu.
 *
 * After a checkpoint the container is gone, unless it was left running; restore makes an instance of the same bundle
 * whose first process is not started but brought back.
 *
 * Trust: the images are the caller's. Threads: none. #syscalls: mkdir
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/oci.h"
#include "container/criu.h"

struct criu_settings {
	struct criu_options criu;
	const char *images, *work;
};

static const struct opt criu_opts[] = {
	OPT_STRING(0, "image-path", "DIR", struct criu_settings, images,
		   "Directory of the images (./checkpoint)", .complete = COMPLETE_DIR),
	OPT_STRING(0, "work-path", "DIR", struct criu_settings, work, "Directory of criu's logs",
		   .complete = COMPLETE_DIR),
	OPT_STRING(0, "manage-cgroups-mode", "MODE", struct criu_settings, criu.manage_cgroups,
		   "What criu does with cgroups", .choices = "soft|full|strict|ignore"),
	OPT_STRING(0, "empty-ns", "NAMESPACE", struct criu_settings, criu.empty_ns,
		   "Do not save what this namespace has: network", .choices = "network"),
	OPT_BOOL(0, "tcp-established", struct criu_settings, criu.tcp_established,
		 "Allow open TCP connections"),
	OPT_BOOL(0, "ext-unix-sk", struct criu_settings, criu.ext_unix_sk,
		 "Allow UNIX sockets to the outside"),
	OPT_BOOL(0, "shell-job", struct criu_settings, criu.shell_job,
		 "Allow a terminal of the outside"),
	OPT_BOOL(0, "file-locks", struct criu_settings, criu.file_locks, "Allow file locks"),
	OPT_BOOL(0, "auto-dedup", struct criu_settings, criu.auto_dedup,
		 "Free pages in images when they are read"),
	OPT_BOOL(0, "lazy-pages", struct criu_settings, criu.lazy_pages,
		 "Leave memory to be fetched on demand"),
	OPT_END,
};

/* Fills the absolute paths; the directory of the images is made by `checkpoint`. */
static int find_places(struct criu_settings *s, char images[PATH_MAX], char work[PATH_MAX],
		       bool make, struct err *e)
{
	const char *wish = s->images ? s->images : "checkpoint";

	if (make && mkdir(wish, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "--image-path '%s'", wish);
	if (!realpath(wish, images))
		return err_sys(e, -errno, "--image-path '%s'", wish);
	if (s->work && make && mkdir(s->work, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "--work-path '%s'", s->work);
	if (s->work && !realpath(s->work, work))
		return err_sys(e, -errno, "--work-path '%s'", s->work);
	s->criu.images = images;
	s->criu.work = s->work ? work : NULL;
	s->criu.program = oci.criu;
	if (!s->criu.manage_cgroups)
		s->criu.manage_cgroups = "soft";
	return criu_check(oci.criu, e);
}

static int root_of(const struct oci_spec *spec, const char *bundle, char out[PATH_MAX],
		   struct err *e)
{
	char path[PATH_MAX];
	const char *root = spec->root_path ? spec->root_path : "rootfs";
	int n = *root == '/' ? snprintf(path, sizeof(path), "%s", root)
			     : snprintf(path, sizeof(path), "%s/%s", bundle, root);

	if (n < 0 || (size_t)n >= sizeof(path) || !realpath(path, out))
		return err_sys(e, n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG : -errno,
			       "root '%s'", root);
	return 0;
}

struct checkpoint_settings {
	struct criu_settings common;
};

static const struct opt checkpoint_opts[] = {
	OPT_GROUP(criu_opts, struct checkpoint_settings, common),
	OPT_STRING(0, "parent-path", "DIR", struct checkpoint_settings, common.criu.parent,
		   "Images of an earlier --pre-dump, relative to --image-path"),
	OPT_STRING(0, "page-server", "ADDRESS:PORT", struct checkpoint_settings,
		   common.criu.page_server, "Send the memory to this page server"),
	OPT_STRING(0, "status-fd", "N", struct checkpoint_settings, common.criu.status_fd,
		   "Tell on this descriptor when lazy pages can be fetched"),
	OPT_BOOL(0, "leave-running", struct checkpoint_settings, common.criu.leave_running,
		 "Let the container go on"),
	OPT_BOOL(0, "pre-dump", struct checkpoint_settings, common.criu.pre_dump,
		 "Only save the memory, for a later checkpoint"),
	OPT_END,
};

static int checkpoint(struct oci_created *c, struct criu_settings *s, struct err *e)
{
	char images[PATH_MAX], work[PATH_MAX], root[PATH_MAX];
	enum instance_status now = wall_status(&c->in);
	int err = 0;

	if (!streq(c->wall->name, "container"))
		return err_set(e, -EOPNOTSUPP, "the %s wall has no processes that criu could save",
			       c->wall->name);
	if (now != INSTANCE_RUNNING && now != INSTANCE_PAUSED)
		return err_set(e, -EINVAL, "it is %s", instance_status_name(now));
	err = find_places(s, images, work, true, e);
	if (!err)
		err = instance_load_config(&c->in, &c->spec, e);
	if (!err)
		err = root_of(c->spec, c->in.bundle, root, e);
	if (!err)
		err = criu_dump(&s->criu, c->in.pid, root, e);
	if (!err && !s->criu.leave_running && !s->criu.pre_dump)
		oci_destroy(c);
	return err;
}

static int run_checkpoint(void *settings, int argc, char **argv, struct err *e)
{
	struct checkpoint_settings *s = settings;
	struct oci_created c = { .in = INSTANCE_INIT, .process = WALL_PROCESS_INIT };
	int err = oci_open(&c.in, argv[0], true, &c.wall, e);

	if (!err)
		err = checkpoint(&c, &s->common, e);
	oci_created_fini(&c);
	if (err)
		err_wrap(e, "checkpoint '%s'", argv[0]);
	return err;
}

struct restore_settings {
	struct criu_settings common;
	struct oci_create_options create;
	bool detach;
};

static const struct opt restore_opts[] = {
	OPT_GROUP(criu_opts, struct restore_settings, common),
	OPT_GROUP(oci_create_opts, struct restore_settings, create),
	OPT_BOOL('d', "detach", struct restore_settings, detach,
		 "Return as soon as the container runs"),
	OPT_END,
};

/* criu made the cgroups anew where they were. */
static int adopt(struct oci_created *c, pid_t pid, const char *pid_file, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(1 << 20);
	cleanup_with(cgroup_fini) struct cgroup cg;

	const struct cgroup_wish wish = {
		.id = c->in.id,
		.path = c->spec->linux_ ? c->spec->linux_->cgroups_path : NULL,
		.rootless = geteuid() != 0,
	};
	int err = cgroup_adopt(&cg, &wish, e);

	if (!err && !cgroup_save(&cg, &text))
		c->in.cgroup = buf_steal(&text);
	if (!err)
		err = instance_set_pid(&c->in, pid, e);

	c->in.status = INSTANCE_RUNNING;
	if (!err)
		err = instance_save(&c->in, e);
	return err ? err : oci_write_pid(pid_file, pid, e);
}

static int restore(struct oci_created *c, struct restore_settings *s, const char *id, struct err *e)
{
	char images[PATH_MAX], work[PATH_MAX], root[PATH_MAX];
	int err = oci_prepare(c, &s->create, id, e);

	if (!err && !streq(c->wall->name, "container"))
		err = err_set(e, -EOPNOTSUPP, "the %s wall does not restore criu's images",
			      c->wall->name);
	if (!err)
		err = find_places(&s->common, images, work, false, e);
	if (!err)
		err = root_of(c->spec, c->in.bundle, root, e);
	if (!err)
		err = criu_enter(root, e);
	if (!err)
		err = criu_restore(&s->common.criu, root, &c->process.pid, e);
	if (!err)
		err = adopt(c, c->process.pid, s->create.pid_file, e);
	if (err)
		oci_destroy(c);
	return err;
}

static int run_restore(void *settings, int argc, char **argv, struct err *e)
{
	struct restore_settings *s = settings;
	struct oci_created c = { .in = INSTANCE_INIT, .process = WALL_PROCESS_INIT };

	if (!s->detach)
		oci_block_signals();
	int status = restore(&c, s, argv[0], e);

	if (status)
		err_wrap(e, "restore '%s'", argv[0]);
	if (!status && !s->detach) {
		c.process.pidfd = instance_pidfd(&c.in);
		status = oci_wait(&c.process);
		oci_destroy(&c);
	}
	oci_created_fini(&c);
	return status;
}

extern const struct command oci_cmd_checkpoint, oci_cmd_restore;
const struct command oci_cmd_checkpoint = {
	.name = "checkpoint",
	.args = "ID",
	.summary = "Save a running container's processes to files (needs criu)",
	.opts = checkpoint_opts,
	.settings_size = sizeof(struct checkpoint_settings),
	.run = run_checkpoint,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
const struct command oci_cmd_restore = {
	.name = "restore",
	.args = "ID",
	.summary = "Bring a container back from a checkpoint (needs criu)",
	.opts = restore_opts,
	.settings_size = sizeof(struct restore_settings),
	.run = run_restore,
	.min_args = 1,
	.max_args = 1,
};
