/*
 * Numbers about running instances: from the wall's accounting and, for the network, from the /proc of the
 * first process.
 *
 * Trust: command lines are the instance's; whoever prints them makes them visible. Threads: any.
 * #syscalls: openat read clock_gettime sysinfo
 */
#include "run/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "os/file.h"
#include "os/loop.h"
#include "run/describe.h"

enum { PROC_MAX = 1 << 20 };

static void read_net(pid_t pid, struct usage *u)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(PROC_MAX);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/net/dev", (int)pid);
	if (file_read(AT_FDCWD, path, &b))
		return;
	for (const char *line = buf_str(&b); line; line = strchr(line, '\n')) {
		uint64_t in, out;
		char name[32];

		line += *line == '\n';
		if (sscanf(line, " %31[^:]: %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, name,
			   &in, &out) == 3 &&
		    !streq(name, "lo")) {
			u->net_in += in;
			u->net_out += out;
		}
	}
}

static void sum_io(const struct oci_stats *st, struct usage *u)
{
	for (size_t i = 0; st->io.set && i < st->io.bytes.n; i++) {
		const struct oci_io_entry *x = &st->io.bytes.v[i];

		if (strcasecmp(x->op, "Read") == 0)
			u->block_in += x->value;
		else if (strcasecmp(x->op, "Write") == 0)
			u->block_out += x->value;
	}
}

/* File pages that could go at once do not count, as docker has it. */
static uint64_t inactive_file(const struct oci_stats *st)
{
	uint64_t v = 0;

	for (size_t i = 0; i < st->memory.raw_n; i++) {
		if (streq(st->memory.raw[i].name, "total_inactive_file"))
			return st->memory.raw[i].value;
		if (streq(st->memory.raw[i].name, "inactive_file"))
			v = st->memory.raw[i].value;
	}
	return v;
}

int usage_read(struct subject *s, struct usage *u, struct err *e)
{
	struct oci_stats st = { 0 };
	struct sysinfo host = { 0 };
	pid_t *pids = NULL;

	*u = (struct usage){ 0 };
	if (!s->wall->stats)
		return err_set(e, -EOPNOTSUPP, "the %s wall has no statistics", s->wall->name);
	int r = s->wall->stats(&s->in, &st, e);

	if (r)
		return r;
	sysinfo(&host);
	u->at = now_ns();
	u->cpu = st.cpu.total;
	u->memory = st.memory.usage.usage;
	uint64_t idle = inactive_file(&st), all = (uint64_t)host.totalram * host.mem_unit;

	u->memory -= idle < u->memory ? idle : 0;
	u->memory_limit = st.memory.usage.set && st.memory.usage.limit < all ? st.memory.usage.limit
									     : all;
	u->pids = st.pids.current;
	if (!st.pids.set && s->wall->pids) {
		int n = s->wall->pids(&s->in, &pids, NULL);

		u->pids = n > 0 ? (uint64_t)n : 0;
		free(pids);
	}
	sum_io(&st, u);
	if (!s->wall->guest) /* else it is the host's */
		read_net(s->in.pid, u);
	oci_stats_fini(&st);
	return 0;
}

static void add(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static json_object *row_head(struct subject *s, bool no_trunc)
{
	json_object *o = json_object_new_object();
	char id[13];

	snprintf(id, sizeof(id), "%s", s->in.id);
	add(o, "ID", no_trunc ? s->in.id : id);
	add(o, "Container", s->rec.name ? s->rec.name : id);
	add(o, "Name", s->rec.name ? s->rec.name : "");
	return o;
}

static void add_two(json_object *o, const char *key, uint64_t a, uint64_t b, bool binary)
{
	char x[32], y[32], both[80];

	human_size((double)a, binary, x, sizeof(x));
	human_size((double)b, binary, y, sizeof(y));
	snprintf(both, sizeof(both), "%s / %s", x, y);
	add(o, key, both);
}

json_object *usage_row(struct subject *s, const struct usage *before, const struct usage *now,
		       bool no_trunc)
{
	json_object *o = row_head(s, no_trunc);
	double time = (double)(now->at - before->at), cpu = (double)(now->cpu - before->cpu);
	char text[32];

	snprintf(text, sizeof(text), "%.2f%%",
		 time > 0 && now->cpu > before->cpu ? cpu / time * 100 : 0.0);
	add(o, "CPUPerc", text);
	add_two(o, "MemUsage", now->memory, now->memory_limit, true);
	snprintf(text, sizeof(text), "%.2f%%",
		 now->memory_limit ? (double)now->memory / (double)now->memory_limit * 100 : 0.0);
	add(o, "MemPerc", text);
	add_two(o, "NetIO", now->net_in, now->net_out, false);
	add_two(o, "BlockIO", now->block_in, now->block_out, false);
	snprintf(text, sizeof(text), "%" PRIu64, now->pids);
	add(o, "PIDs", text);
	return o;
}

json_object *usage_row_none(struct subject *s, bool no_trunc)
{
	json_object *o = row_head(s, no_trunc);

	add(o, "CPUPerc", "--");
	add(o, "MemUsage", "-- / --");
	add(o, "MemPerc", "--");
	add(o, "NetIO", "--");
	add(o, "BlockIO", "--");
	add(o, "PIDs", "--");
	return o;
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

int processes_list(struct subject *s, json_object **rows, struct err *e)
{
	pid_t *pids = NULL;

	if (!s->wall->pids)
		return err_set(e, -EOPNOTSUPP, "the %s wall cannot list processes", s->wall->name);
	int n = s->wall->pids(&s->in, &pids, e);

	if (n < 0)
		return n;
	*rows = json_object_new_array();
	for (int i = 0; i < n; i++) {
		json_object *row = process_row(pids[i]);

		/* It may just have ended. */
		if (row)
			json_object_array_add(*rows, row);
	}
	free(pids);
	return 0;
}
