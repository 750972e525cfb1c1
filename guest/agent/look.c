/*
 * What the host cannot see: names of users, processes, changed files. The answers are texts.
 *
 * Trust: the container's files and process names are hostile; its root is only entered by openat2 that cannot leave
 * it. Threads: none. #syscalls: openat openat2 read
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "os/file.h"
#include "os/sys.h"
#include "run/changes.h"
#include "run/processes.h"
#include "wire/passwd.h"

static int container_pid(struct agent *a, pid_t *pid, struct err *e)
{
	if (!a->container || a->container->exited)
		return err_set(e, -ESRCH, "the container is not running");
	*pid = a->container->c.pid;
	return 0;
}

/* What cannot be read names nobody. */
static void read_inside(int root, const char *path, struct buf *text)
{
	cleanup_fd int fd = sys_openat2(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0,
					RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);

	if (fd < 0 || read_all(fd, text) < 0)
		text->len = 0;
}

int look_user(struct agent *a, const char *wish, struct buf *text, struct err *e)
{
	cleanup_with(buf_fini) struct buf passwd = BUF_INIT(1 << 20), group = BUF_INIT(1 << 20);
	struct user_ids ids;
	char path[64];
	pid_t pid = 0;
	int r = container_pid(a, &pid, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	cleanup_fd int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return err_sys(e, -errno, "guest: the container's root");
	read_inside(root, "/etc/passwd", &passwd);
	read_inside(root, "/etc/group", &group);
	r = user_find(wish, buf_str(&passwd), passwd.len, buf_str(&group), group.len, &ids, e);
	if (r < 0)
		return r;
	buf_addf(text, "%u %u", ids.uid, ids.gid);
	for (size_t i = 0; i < ids.groups_n; i++)
		buf_addf(text, " %u", ids.groups[i]);
	return 0;
}

int look_processes(struct agent *a, struct buf *text, struct err *e)
{
	cleanup_free pid_t *pids = NULL;
	pid_t pid = 0;
	int n = container_pid(a, &pid, e);

	if (n == 0)
		n = cgroup_pids(&a->container->c.cgroup, &pids, e);
	if (n < 0)
		return n;
	json_object *rows = processes_rows(pids, n);

	buf_adds(text, json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PLAIN));
	json_object_put(rows);
	return 0;
}

int look_changes(struct agent *a, struct buf *text, struct err *e)
{
	cleanup_fd int upper = open(AGENT_UPPER "/data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int lower = open(AGENT_IMAGE, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (!a->spec || upper < 0 || lower < 0)
		return err_set(e, -EOPNOTSUPP, "guest: there is no image to compare with");
	int r = changes_walk(a->spec, upper, &lower, 1, text);

	return r < 0 ? err_sys(e, r, "guest: changed files") : 0;
}
