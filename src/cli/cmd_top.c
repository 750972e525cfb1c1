/*
 * warren top: the processes of an instance, as the host sees them; without an argument a live table of all
 * instances. With arguments for ps(1), that program is asked and its lines are filtered.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: those of run/usage.c, and of popen
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/live.h"
#include "cli/table.h"
#include "os/spawn.h"
#include "run/usage.h"

static const struct column columns[] = {
	{ "UID", "UID" },     { "PID", "PID" }, { "PPID", "PPID" }, { "C", "C" },
	{ "STIME", "STIME" }, { "TTY", "TTY" }, { "TIME", "TIME" }, { "CMD", "CMD" },
};

static int builtin_top(struct subject *s, struct err *e)
{
	json_object *rows = NULL;
	int r = processes_list(s, &rows, e);

	if (!r)
		r = table_print(stdout, NULL, columns, ARRAY_SIZE(columns), ARRAY_SIZE(columns),
				rows, e);
	json_object_put(rows);
	return r;
}

/* In which word of the heading PID stands; -1: in none. */
static int pid_column(const char *heading)
{
	int n = 0;

	for (const char *p = heading + strspn(heading, " "); *p && *p != '\n'; n++) {
		size_t len = strcspn(p, " \n");

		if (len == 3 && strncmp(p, "PID", 3) == 0)
			return n;
		p += len;
		p += strspn(p, " ");
	}
	return -1;
}

static bool line_has_pid(const char *line, int column, const pid_t *pids, int n)
{
	const char *p = line + strspn(line, " ");

	for (; column && *p; column--) {
		p += strcspn(p, " ");
		p += strspn(p, " ");
	}
	long pid = strtol(p, NULL, 10);

	for (int i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

static int filter_lines(int fd, const pid_t *pids, int n, struct err *e)
{
	cleanup_fclose FILE *f = fdopen(fd, "r");
	cleanup_free char *line = NULL;
	size_t cap = 0;
	int column = -1;

	if (!f)
		return err_sys(e, -errno, "ps");
	if (getline(&line, &cap, f) <= 0 || (column = pid_column(line)) < 0)
		return err_set(e, -EINVAL, "top: ps shows no PID column with these arguments");
	fputs(line, stdout);
	while (getline(&line, &cap, f) > 0)
		if (line_has_pid(line, column, pids, n))
			fputs(line, stdout);
	return 0;
}

static int host_ps(struct subject *s, int argc, char **argv, struct err *e)
{
	const char *words[64] = { "ps" };
	pid_t *pids = NULL, child;
	int pipes[2], status;

	if (argc >= (int)ARRAY_SIZE(words) - 1)
		return err_set(e, -E2BIG, "top: too many arguments");
	for (int i = 0; i < argc; i++)
		words[i + 1] = argv[i];
	if (s->wall->top)
		return err_set(e, -EOPNOTSUPP,
			       "top: ps of this host does not see into a %s guest. Fix: leave its "
			       "options out, or run ps inside with exec",
			       s->wall->name);
	if (!s->wall->pids)
		return err_set(e, -EOPNOTSUPP, "the %s wall cannot list processes", s->wall->name);
	int n = s->wall->pids(&s->in, &pids, e);
	cleanup_free pid_t *owned = pids;

	(void)owned;
	if (n < 0)
		return n;
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "pipe");
	int r = spawn_program(&child, "/bin/ps", words,
			      (const int[3]){ -1, pipes[1], STDERR_FILENO }, e);

	close(pipes[1]);
	if (r) {
		close(pipes[0]);
		return r;
	}
	r = filter_lines(pipes[0], pids, n, e);
	waitpid(child, &status, 0);
	return r;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e);

	(void)settings;
	if (!r && !argc)
		return stats_show(&(struct stats_settings){ 0 }, root, NULL, 0, e);
	if (!r)
		r = subject_open(&s, root, argv[0], false, e);
	if (!r && !subject_alive(&s))
		r = err_set(e, -ESRCH, "'%s' is not running", s.rec.name);
	if (r)
		return r;
	return argc > 1 ? host_ps(&s, argc - 1, argv + 1, e) : builtin_top(&s, e);
}

extern const struct command cmd_top;
const struct command cmd_top = {
	.name = "top",
	.args = "[INSTANCE [PS-OPTION...]]",
	.summary = "Show the processes of an instance",
	.run = run,
	.stop_at_arg = true,
	.max_args = -1,
	.complete_args = COMPLETE_INSTANCE,
};
