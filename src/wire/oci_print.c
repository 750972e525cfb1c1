/*
 * The way back from struct oci_process to the specification's JSON, for processes that are sent into a
 * guest. Scheduling classes and CPU affinity are those of the guest's virtual CPUs and are left out.
 *
 * Trust: our own structs. Threads: none. #syscalls: none
 */
#include <sys/resource.h>

#include "base/util.h"
#include "wire/caps.h"
#include "wire/json.h"
#include "wire/oci.h"

static const char *const rlimit_names[] = {
	[RLIMIT_CPU] = "RLIMIT_CPU",	       [RLIMIT_FSIZE] = "RLIMIT_FSIZE",
	[RLIMIT_DATA] = "RLIMIT_DATA",	       [RLIMIT_STACK] = "RLIMIT_STACK",
	[RLIMIT_CORE] = "RLIMIT_CORE",	       [RLIMIT_RSS] = "RLIMIT_RSS",
	[RLIMIT_NPROC] = "RLIMIT_NPROC",       [RLIMIT_NOFILE] = "RLIMIT_NOFILE",
	[RLIMIT_MEMLOCK] = "RLIMIT_MEMLOCK",   [RLIMIT_AS] = "RLIMIT_AS",
	[RLIMIT_LOCKS] = "RLIMIT_LOCKS",       [RLIMIT_SIGPENDING] = "RLIMIT_SIGPENDING",
	[RLIMIT_MSGQUEUE] = "RLIMIT_MSGQUEUE", [RLIMIT_NICE] = "RLIMIT_NICE",
	[RLIMIT_RTPRIO] = "RLIMIT_RTPRIO",     [RLIMIT_RTTIME] = "RLIMIT_RTTIME",
};

static void put_strings(struct buf *out, const char *key, const struct oci_strings *l)
{
	json_put_key(out, key);
	buf_addc(out, '[');
	for (size_t i = 0; i < l->n; i++) {
		if (i)
			buf_addc(out, ',');
		json_put_string(out, l->v[i]);
	}
	buf_addc(out, ']');
}

static void put_caps(struct buf *out, const char *key, uint64_t set)
{
	bool first = true;

	json_put_key(out, key);
	buf_addc(out, '[');
	for (int i = 0; i < cap_count(); i++) {
		if (!(set >> i & 1))
			continue;
		if (!first)
			buf_addc(out, ',');
		json_put_string(out, cap_name(i));
		first = false;
	}
	buf_addc(out, ']');
}

static void put_user(struct buf *out, const struct oci_process *p)
{
	json_put_key(out, "user");
	buf_addf(out, "{\"uid\":%u,\"gid\":%u", p->uid, p->gid);
	if (p->umask.set)
		buf_addf(out, ",\"umask\":%lld", (long long)p->umask.v);
	if (p->additional_gids_n) {
		buf_adds(out, ",\"additionalGids\":[");
		for (size_t i = 0; i < p->additional_gids_n; i++)
			buf_addf(out, "%s%u", i ? "," : "", p->additional_gids[i]);
		buf_addc(out, ']');
	}
	buf_addc(out, '}');
}

static void put_rlimits(struct buf *out, const struct oci_process *p)
{
	bool first = true;

	json_put_key(out, "rlimits");
	buf_addc(out, '[');
	for (size_t i = 0; i < p->rlimits_n; i++) {
		const struct oci_rlimit *l = &p->rlimits[i];

		if (l->resource < 0 || (size_t)l->resource >= ARRAY_SIZE(rlimit_names))
			continue;
		buf_addf(out, "%s{\"type\":\"%s\",\"soft\":%llu,\"hard\":%llu}", first ? "" : ",",
			 rlimit_names[l->resource], (unsigned long long)l->soft,
			 (unsigned long long)l->hard);
		first = false;
	}
	buf_addc(out, ']');
}

int oci_process_print(const struct oci_process *p, struct buf *out)
{
	buf_addc(out, '{');
	json_put_key(out, "terminal");
	buf_adds(out, p->terminal ? "true" : "false");
	if (p->rows || p->cols) {
		json_put_key(out, "consoleSize");
		buf_addf(out, "{\"height\":%u,\"width\":%u}", p->rows, p->cols);
	}
	put_user(out, p);
	put_strings(out, "args", &p->args);
	put_strings(out, "env", &p->env);
	json_put_key(out, "cwd");
	json_put_string(out, p->cwd ? p->cwd : "/");
	if (p->caps) {
		json_put_key(out, "capabilities");
		buf_addc(out, '{');
		put_caps(out, "bounding", p->caps->bounding);
		put_caps(out, "effective", p->caps->effective);
		put_caps(out, "inheritable", p->caps->inheritable);
		put_caps(out, "permitted", p->caps->permitted);
		put_caps(out, "ambient", p->caps->ambient);
		buf_addc(out, '}');
	}
	put_rlimits(out, p);
	json_put_key(out, "noNewPrivileges");
	buf_adds(out, p->no_new_privileges ? "true" : "false");
	if (p->oom_score_adj.set) {
		json_put_key(out, "oomScoreAdj");
		buf_addf(out, "%lld", (long long)p->oom_score_adj.v);
	}
	return buf_addc(out, '}');
}

static void put_num(struct buf *out, const char *key, const struct oci_num *n)
{
	if (!n->set)
		return;
	json_put_key(out, key);
	buf_addf(out, "%lld", (long long)n->v);
}

int oci_resources_print(const struct oci_resources *r, struct buf *out)
{
	buf_addc(out, '{');
	json_put_key(out, "memory");
	buf_addc(out, '{');
	put_num(out, "limit", &r->memory.limit);
	put_num(out, "reservation", &r->memory.reservation);
	put_num(out, "swap", &r->memory.swap);
	buf_addc(out, '}');
	json_put_key(out, "cpu");
	buf_addc(out, '{');
	put_num(out, "shares", &r->cpu.shares);
	put_num(out, "quota", &r->cpu.quota);
	put_num(out, "period", &r->cpu.period);
	if (r->cpu.cpus) {
		json_put_key(out, "cpus");
		json_put_string(out, r->cpu.cpus);
	}
	buf_addc(out, '}');
	if (r->pids_limit.set) {
		json_put_key(out, "pids");
		buf_addf(out, "{\"limit\":%lld}", (long long)r->pids_limit.v);
	}
	json_put_key(out, "unified");
	buf_addc(out, '{');
	for (size_t i = 0; i < r->unified.n; i++) {
		json_put_key(out, r->unified.v[i].key);
		json_put_string(out, r->unified.v[i].value);
	}
	buf_addc(out, '}');
	return buf_addc(out, '}');
}
