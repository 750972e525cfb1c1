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
#include "run/processes.h"

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

/* A guest's rows are its agent's; only what `top` prints is taken over. */
static int guest_rows(struct subject *s, json_object **rows, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(16u << 20);
	int r = s->wall->top(&s->in, &text, e);

	if (r < 0)
		return r;
	*rows = json_tokener_parse(buf_str(&text));
	if (json_object_is_type(*rows, json_type_array))
		return 0;
	json_object_put(*rows);
	*rows = NULL;
	return err_set(e, -EPROTO, "top: the guest's agent gave no list");
}

int processes_list(struct subject *s, json_object **rows, struct err *e)
{
	pid_t *pids = NULL;

	if (s->wall->top)
		return guest_rows(s, rows, e);
	if (!s->wall->pids)
		return err_set(e, -EOPNOTSUPP, "the %s wall cannot list processes", s->wall->name);
	int n = s->wall->pids(&s->in, &pids, e);

	if (n < 0)
		return n;
	*rows = processes_rows(pids, n);
	free(pids);
	return 0;
}
