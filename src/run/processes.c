/*
 * The rows of `top`: processes as ps(1) -f shows them. For guests the rows are made inside, by the agent, from the same
 * code.
 *
 * Trust: names and arguments are the instance's own; they are shown as they are by who prints. Threads: any.
 * #syscalls: openat read
 */
#include "run/processes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"

static void add(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

/* What /proc/PID/stat says, from field 3 on, and who owns it. */
struct process {
	int ppid, tty;
	uint64_t utime, stime, start;
};

static int read_process(pid_t pid, struct process *p, char *name, size_t size)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(65536);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int r = file_read(AT_FDCWD, path, &b);
	const char *open = r ? NULL : strchr(buf_str(&b), '('),
		   *close = r ? NULL : strrchr(buf_str(&b), ')');

	if (!open || !close ||
	    sscanf(close + 1,
		   " %*c %d %*d %*d %d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
		   " %*d %*d %*d %*d %*d %*d %" SCNu64,
		   &p->ppid, &p->tty, &p->utime, &p->stime, &p->start) != 5)
		return -ESRCH;
	snprintf(name, size, "%.*s", (int)(close - open - 1), open + 1);
	return 0;
}

static void add_owner(json_object *o, pid_t pid)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(65536);
	char path[64], uid[24] = "?";
	unsigned int n = UINT_MAX;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	const char *line = file_read(AT_FDCWD, path, &b) ? NULL : strstr(buf_str(&b), "\nUid:");

	if (line && sscanf(line, "\nUid: %u", &n) == 1)
		snprintf(uid, sizeof(uid), "%u", n);
	add(o, "UID", n == 0 ? "root" : uid);
}

static void add_command(json_object *o, pid_t pid, const char *name)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(65536), shown = BUF_INIT(1024);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if (file_read(AT_FDCWD, path, &b) || !b.len) {
		buf_addf(&shown, "[%s]", name);
		add(o, "CMD", buf_str(&shown));
		return;
	}
	for (size_t i = 0; i + 1 < b.len; i++)
		if (!b.data[i])
			b.data[i] = ' ';
	add(o, "CMD", buf_str(&b));
}

static json_object *process_row(pid_t pid)
{
	json_object *o;
	struct process p;
	char name[64], text[64];
	struct timespec now, boot;
	long hz = sysconf(_SC_CLK_TCK);

	if (read_process(pid, &p, name, sizeof(name)))
		return NULL;
	o = json_object_new_object();
	add_owner(o, pid);
	snprintf(text, sizeof(text), "%d", (int)pid);
	add(o, "PID", text);
	snprintf(text, sizeof(text), "%d", p.ppid);
	add(o, "PPID", text);
	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	uint64_t used = (p.utime + p.stime) / (uint64_t)hz;
	int64_t age = boot.tv_sec - (int64_t)(p.start / (uint64_t)hz);
	time_t start = now.tv_sec - age;
	struct tm tm;

	snprintf(text, sizeof(text), "%" PRIu64, age > 0 ? used * 100 / (uint64_t)age : 0);
	add(o, "C", text);
	text[0] = '\0';
	if (localtime_r(&start, &tm))
		strftime(text, sizeof(text), "%H:%M", &tm);
	add(o, "STIME", text);
	if (p.tty)
		snprintf(text, sizeof(text), "pts/%d", p.tty & 0xff);
	else
		snprintf(text, sizeof(text), "?");
	add(o, "TTY", text);
	snprintf(text, sizeof(text), "%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64, used / 3600,
		 used / 60 % 60, used % 60);
	add(o, "TIME", text);
	add_command(o, pid, name);
	return o;
}

json_object *processes_rows(const pid_t *pids, int n)
{
	json_object *rows = json_object_new_array();

	for (int i = 0; i < n; i++) {
		json_object *row = process_row(pids[i]);

		/* It may just have ended. */
		if (row)
			json_object_array_add(rows, row);
	}
	return rows;
}
