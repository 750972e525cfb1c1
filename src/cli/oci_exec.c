/*
 * warren oci exec: a further process in a running container, from a process.json (--process) or from words on the
 * command line and the container's own process.
 *
 * #syscalls: none of its own
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "cli/oci.h"
#include "os/file.h"
#include "wire/caps.h"

struct settings {
	const char *console_socket, *pid_file, *cwd, *user, *process, *apparmor, *label, *cgroup;
	struct strlist env, gids, caps;
	bool tty, detach, no_new_privs, ignore_paused, no_subreaper;
	int64_t preserve_fds;
};

static const struct opt opts[] = {
	OPT_STRING('p', "process", "FILE", struct settings, process,
		   "Take the process from this JSON file", .complete = COMPLETE_FILE),
	OPT_STRING(0, "console-socket", "SOCKET", struct settings, console_socket,
		   "Send the terminal's master to this socket", .complete = COMPLETE_FILE),
	OPT_STRING(0, "pid-file", "FILE", struct settings, pid_file,
		   "Write the process's id to FILE", .complete = COMPLETE_FILE),
	OPT_STRING(0, "cwd", "DIR", struct settings, cwd, "Working directory in the container"),
	OPT_LIST('e', "env", "NAME=VALUE", struct settings, env, "Set an environment variable"),
	OPT_BOOL('t', "tty", struct settings, tty, "Give it a terminal"),
	OPT_STRING('u', "user", "UID[:GID]", struct settings, user, "Run as this user"),
	OPT_LIST('g', "additional-gids", "GID", struct settings, gids, "Further groups"),
	OPT_BOOL('d', "detach", struct settings, detach, "Return as soon as the command runs"),
	OPT_STRING(0, "process-label", "LABEL", struct settings, label, "SELinux label"),
	OPT_STRING(0, "apparmor", "PROFILE", struct settings, apparmor, "AppArmor profile"),
	OPT_BOOL(0, "no-new-privs", struct settings, no_new_privs, "Gain no rights by programs"),
	OPT_LIST('c', "cap", "CAP", struct settings, caps, "Add a capability"),
	OPT_INT(0, "preserve-fds", "N", struct settings, preserve_fds,
		"Hand N descriptors from 3 on to the command"),
	OPT_BOOL(0, "ignore-paused", struct settings, ignore_paused,
		 "Also when the container is paused"),
	OPT_STRING(0, "cgroup", "PATH", struct settings, cgroup, "Accepted for compatibility"),
	OPT_BOOL(0, "no-subreaper", struct settings, no_subreaper, "Accepted for compatibility"),
	OPT_END,
};

static int set_user(const char *text, struct oci_process *p, struct err *e)
{
	char uid[16];
	size_t n = strcspn(text, ":");
	uint64_t v[2] = { 0, 0 };

	snprintf(uid, sizeof(uid), "%.*s", (int)n, text);
	if (n >= sizeof(uid) || str_to_u64(uid, &v[0]) || v[0] > UINT32_MAX ||
	    (text[n] && (str_to_u64(text + n + 1, &v[1]) || v[1] > UINT32_MAX)))
		return err_set(e, -EINVAL, "--user: '%s' is not UID[:GID]", text);
	p->uid = (uint32_t)v[0];
	p->gid = (uint32_t)v[1];
	return 0;
}

static int add_caps(const struct strlist *names, struct oci_process *p, struct oci_caps *caps,
		    struct err *e)
{
	if (p->caps)
		*caps = *p->caps;
	for (size_t i = 0; i < names->n; i++) {
		int cap = cap_from_name(names->v[i]);

		if (cap < 0)
			return err_set(e, cap, "--cap: '%s' is no capability", names->v[i]);
		caps->bounding |= 1ULL << cap;
		caps->permitted |= 1ULL << cap;
		caps->effective |= 1ULL << cap;
	}
	p->caps = caps;
	return 0;
}

/* The container's own process, changed by the options. Lists live in `memory`, which the caller frees. */
struct built {
	struct oci_process process;
	struct oci_caps caps;
	const char **env;
	uint32_t *gids;
};

static int build_lists(struct built *b, const struct settings *s, struct err *e)
{
	struct oci_process *p = &b->process;

	b->env = calloc(p->env.n + s->env.n + 1, sizeof(char *));
	b->gids = calloc(s->gids.n + 1, sizeof(uint32_t));
	if (!b->env || !b->gids)
		return err_sys(e, -ENOMEM, "process");
	for (size_t i = 0; i < p->env.n; i++)
		b->env[i] = p->env.v[i];
	for (size_t i = 0; i < s->env.n; i++)
		b->env[p->env.n + i] = s->env.v[i];
	p->env = (struct oci_strings){ b->env, p->env.n + s->env.n };
	for (size_t i = 0; i < s->gids.n; i++) {
		uint64_t gid;

		if (str_to_u64(s->gids.v[i], &gid) || gid > UINT32_MAX)
			return err_set(e, -EINVAL, "--additional-gids: '%s' is not a number",
				       s->gids.v[i]);
		b->gids[i] = (uint32_t)gid;
	}
	if (s->gids.n) {
		p->additional_gids = b->gids;
		p->additional_gids_n = s->gids.n;
	}
	return 0;
}

static int build(struct built *b, const struct settings *s, const struct oci_spec *spec, int argc,
		 char **argv, struct err *e)
{
	struct oci_process *p = &b->process;

	if (argc < 1)
		return err_set(e, -EINVAL, "a command is missing (or --process FILE)");
	if (!spec->process)
		return err_set(e, -EINVAL, "config.json: process: missing");
	*p = *spec->process;
	p->args = (struct oci_strings){ (const char **)(uintptr_t)argv, (size_t)argc };
	p->terminal = s->tty;
	p->rows = p->cols = 0;
	p->oom_score_adj.set = false;
	if (s->cwd)
		p->cwd = s->cwd;
	if (s->no_new_privs)
		p->no_new_privileges = true;
	if (s->apparmor)
		p->apparmor_profile = s->apparmor;
	if (s->label)
		p->selinux_label = s->label;
	int r = s->user ? set_user(s->user, p, e) : 0;

	if (!r && s->caps.n)
		r = add_caps(&s->caps, p, &b->caps, e);
	return r ? r : build_lists(b, s, e);
}

static int load_process(const char *path, struct oci_spec **out, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(8 << 20);
	int r = file_read(AT_FDCWD, path, &text);

	if (r)
		return err_sys(e, r, "--process '%s'", path);
	return oci_process_parse(buf_str(&text), text.len, path, out, e);
}

static int exec_in(struct instance *in, const struct wall_ops *wall, const struct oci_spec *spec,
		   const struct oci_process *process, const struct settings *s, struct err *e)
{
	struct wall_exec x = WALL_EXEC_INIT;
	struct wall_process p = WALL_PROCESS_INIT;
	int listen;

	x.spec = spec;
	x.process = process;
	if (process->terminal && s->detach && !s->console_socket)
		return err_set(e, -EINVAL, "a terminal with --detach needs --console-socket");
	int r = oci_preserved_fds(s->preserve_fds, &x.preserve_fds, &listen, e);

	if (!r)
		r = oci_console_connect(s->console_socket, &x.console_socket, e);
	if (r)
		return r;
	if (!s->detach)
		oci_block_signals();
	r = wall->exec(in, &x, &p, e);
	close_fd(&x.console_socket);
	if (!r)
		r = oci_write_pid(s->pid_file, p.pid, e);
	if (!r && !s->detach)
		r = oci_wait(&p);
	wall_process_fini(&p);
	return r;
}

static int check_status(struct instance *in, const struct settings *s, struct err *e)
{
	enum instance_status now = wall_status(in);

	if (now == INSTANCE_PAUSED && !s->ignore_paused)
		return err_set(e, -EBUSY, "it is paused");
	if (now == INSTANCE_STOPPED || now == INSTANCE_CREATING)
		return err_set(e, -ESRCH, "container not running");
	return 0;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(instance_fini) struct instance in;
	struct settings *s = settings;
	const struct wall_ops *wall;
	struct oci_spec *spec = NULL, *given = NULL;
	struct built b = { .env = NULL };
	int r = oci_open(&in, argv[0], false, &wall, e);

	if (!r)
		r = check_status(&in, s, e);
	if (!r)
		r = instance_load_config(&in, &spec, e);
	if (!r)
		r = s->process ? load_process(s->process, &given, e)
			       : build(&b, s, spec, argc - 1, argv + 1, e);
	if (!r && given && s->tty)
		given->process->terminal = true;
	if (!r)
		r = exec_in(&in, wall, spec, given ? given->process : &b.process, s, e);
	oci_spec_free(spec);
	oci_spec_free(given);
	free(b.env);
	free(b.gids);
	if (r >= 0)
		return r;
	err_wrap(e, "exec in '%s'", argv[0]);
	cli_complain(e);
	return oci_exec_status(r);
}

extern const struct command oci_cmd_exec;
const struct command oci_cmd_exec = {
	.name = "exec",
	.args = "ID [COMMAND [ARG...]]",
	.summary = "Run a further process in a container",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.stop_at_arg = true,
	.min_args = 1,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};
