/*
 * warren oci list: the containers under --root. warren oci ps: the processes of one.
 *
 * Trust: state files are Warren's own; a half-written one is shown as it is, not hidden. Threads: none.
 * #syscalls: openat read write clone execve wait4
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/oci.h"
#include "os/file.h"
#include "wire/json.h"

struct list_settings {
	const char *format;
	bool quiet;
};

static const struct opt list_opts[] = {
	OPT_STRING('f', "format", "FORMAT", struct list_settings, format, "table or json",
		   .choices = "table|json"),
	OPT_BOOL('q', "quiet", struct list_settings, quiet, "Only the ids"),
	OPT_END,
};

static void owner_name(uid_t uid, char *out, size_t size)
{
	/* /etc/passwd itself: a static program has no name services. */
	FILE *f = fopen("/etc/passwd", "re");
	struct passwd *pw = NULL;

	while (f && (pw = fgetpwent(f)) && pw->pw_uid != uid)
		;
	if (pw)
		snprintf(out, size, "%s", pw->pw_name);
	else
		snprintf(out, size, "#%u", (unsigned int)uid);
	if (f)
		fclose(f);
}

static void put_text(struct buf *out, const char *key, const char *value)
{
	json_put_key(out, key);
	json_put_string(out, value ? value : "");
}

static void list_json(const struct instance *in, enum instance_status status, const char *owner,
		      struct buf *out)
{
	buf_adds(out, out->len > 1 ? ",{" : "{");
	put_text(out, "ociVersion", "1.3.0");
	put_text(out, "id", in->id);
	json_put_key(out, "pid");
	buf_addf(out, "%d", status == INSTANCE_STOPPED ? 0 : (int)in->pid);
	put_text(out, "status", instance_status_name(status));
	put_text(out, "bundle", in->bundle);
	put_text(out, "created", in->created);
	if (in->annotations.n) {
		json_put_key(out, "annotations");
		buf_adds(out, "{");
		for (size_t i = 0; i < in->annotations.n; i++)
			put_text(out, in->annotations.v[i].key, in->annotations.v[i].value);
		buf_adds(out, "}");
	}
	put_text(out, "owner", owner);
	buf_adds(out, "}");
}

static int run_list(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	cleanup_with(buf_fini) struct buf out = BUF_INIT(64 << 20);
	const struct list_settings *s = settings;
	bool json = s->format && streq(s->format, "json");
	cleanup_free char *root = NULL;
	int err = oci_root(&root, e);

	if (!err)
		err = instance_list(root, &ids, e);
	if (err)
		return err;
	if (json)
		buf_adds(&out, "[");
	else if (!s->quiet)
		printf("%-36s %-8s %-10s %-40s %-22s %s\n", "ID", "PID", "STATUS", "BUNDLE",
		       "CREATED", "OWNER");
	for (size_t i = 0; i < ids.n; i++) {
		cleanup_with(instance_fini) struct instance in = INSTANCE_INIT;
		char owner[64];

		/* Deleted since we looked: nothing to tell. */
		if (instance_open(&in, root, ids.v[i], false, NULL))
			continue;
		enum instance_status status = wall_status(&in);

		owner_name(in.owner, owner, sizeof(owner));
		if (s->quiet)
			puts(in.id);
		else if (json)
			list_json(&in, status, owner, &out);
		else
			printf("%-36s %-8d %-10s %-40s %-22s %s\n", in.id,
			       status == INSTANCE_STOPPED ? 0 : (int)in.pid,
			       instance_status_name(status), in.bundle ? in.bundle : "",
			       in.created ? in.created : "", owner);
	}
	if (json && !s->quiet) {
		buf_adds(&out, "]");
		puts(buf_str(&out));
	}
	return out.error ? err_sys(e, out.error, "list") : 0;
}

struct ps_settings {
	const char *format;
};

static const struct opt ps_opts[] = {
	OPT_STRING('f', "format", "FORMAT", struct ps_settings, format, "table or json",
		   .choices = "table|json"),
	OPT_END,
};

static bool among(pid_t pid, const pid_t *pids, int n)
{
	for (int i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* Prints ps's header and its lines about our processes. */
static int filter_lines(FILE *f, const pid_t *pids, int n, struct err *e)
{
	cleanup_free char *line = NULL;
	size_t size = 0;
	int column = -1;

	while (getline(&line, &size, f) > 0) {
		char *s = line, *end;
		int at = 0;

		if (column < 0) {
			for (s = line + strspn(line, " "); *s && *s != '\n';
			     s += strspn(s, " "), at++) {
				size_t len = strcspn(s, " \n");

				if (len == 3 && !strncmp(s, "PID", 3)) {
					column = at;
					break;
				}
				s += len;
			}
			if (column < 0)
				return err_set(e, -EINVAL,
					       "ps shows no column PID with these options");
			fputs(line, stdout);
			continue;
		}
		s += strspn(s, " ");
		for (at = 0; at < column; at++) {
			s += strcspn(s, " ");
			s += strspn(s, " ");
		}
		long pid = strtol(s, &end, 10);

		if (end != s && among((pid_t)pid, pids, n))
			fputs(line, stdout);
	}
	return 0;
}

/* The host's own ps, with the caller's options or -ef, and only our lines of it. */
static int ps_table(const pid_t *pids, int n, int argc, char **argv, struct err *e)
{
	char ps[] = "ps", all[] = "-ef";
	char *args[64] = { ps, all };
	int out[2];

	for (int i = 0; i < argc && i < 62; i++)
		args[i + 1] = argv[i];
	fflush(stdout);
	if (pipe(out) < 0)
		return err_sys(e, -errno, "pipe");
	pid_t child = fork();

	if (child == 0) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		execvp("ps", args);
		_exit(EXIT_NOT_FOUND);
	}
	close(out[1]);
	FILE *f = child < 0 ? NULL : fdopen(out[0], "r");
	int err = child < 0 ? err_sys(e, -errno, "fork")
		  : f	    ? filter_lines(f, pids, n, e)
			    : err_sys(e, -errno, "pipe");

	if (f)
		fclose(f);
	else
		close(out[0]);
	int status = 0;

	if (child > 0 && waitpid(child, &status, 0) == child && !err && status)
		err = WEXITSTATUS(status) == EXIT_NOT_FOUND
			      ? err_set(e, -ENOENT,
					"the program ps is not installed; use --format json")
			      : err_set(e, -EINVAL, "ps failed");
	return err;
}

static int run_ps(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(instance_fini) struct instance in = INSTANCE_INIT;
	const struct ps_settings *s = settings;
	cleanup_free pid_t *pids = NULL;
	const struct wall_ops *wall;
	int err = oci_open(&in, argv[0], false, &wall, e);

	if (!err && !wall->pids)
		err = err_set(e, -EOPNOTSUPP, "the %s wall has no processes on this host",
			      wall->name);
	int n = err ? err : wall->pids(&in, &pids, e);

	if (n >= 0 && s->format && streq(s->format, "json")) {
		putchar('[');
		for (int i = 0; i < n; i++)
			printf("%s%d", i ? "," : "", (int)pids[i]);
		puts("]");
		return 0;
	}
	err = n < 0 ? n : ps_table(pids, n, argc - 1, argv + 1, e);
	if (err)
		err_wrap(e, "ps '%s'", argv[0]);
	return err;
}

extern const struct command oci_cmd_list, oci_cmd_ps;
const struct command oci_cmd_list = {
	.name = "list",
	.summary = "List containers",
	.opts = list_opts,
	.settings_size = sizeof(struct list_settings),
	.run = run_list,
};
const struct command oci_cmd_ps = {
	.name = "ps",
	.args = "ID [PS-OPTION...]",
	.summary = "Show the processes of a container",
	.opts = ps_opts,
	.settings_size = sizeof(struct ps_settings),
	.run = run_ps,
	.stop_at_arg = true,
	.min_args = 1,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};
