/*
 * The record: one table says how each member is called in JSON and of which kind it is; loading and
 * storing walk the table.
 *
 * Trust: state.json is our own and only its owner may write it, but it may be of an older version: unknown
 * members are dropped, missing ones keep their default. Threads: any, one record each.
 * #syscalls: clock_gettime
 */
#include "run/record.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "wire/logline.h"

enum kind { STR, LIST, INT, BOOL };

#define MEMBER(kind, member, json)                          \
	{                                                   \
		kind, offsetof(struct record, member), json \
	}

static const struct {
	enum kind kind;
	size_t offset;
	const char *json;
} members[] = {
	MEMBER(STR, name, "name"),
	MEMBER(STR, image, "image"),
	MEMBER(STR, image_id, "imageId"),
	MEMBER(STR, image_data, "imageData"),
	MEMBER(LIST, command, "command"),
	MEMBER(LIST, labels, "labels"),
	MEMBER(LIST, binds, "binds"),
	MEMBER(LIST, volumes, "volumes"),
	MEMBER(LIST, ports, "ports"),
	MEMBER(STR, network, "network"),
	MEMBER(STR, stop_signal, "stopSignal"),
	MEMBER(STR, disk, "disk"),
	MEMBER(STR, log, "log"),
	MEMBER(STR, rootfs, "rootfs"),
	MEMBER(STR, hostname, "hostname"),
	MEMBER(STR, user, "user"),
	MEMBER(STR, workdir, "workdir"),
	MEMBER(STR, isolation_wish, "isolationWish"),
	MEMBER(BOOL, tty, "tty"),
	MEMBER(BOOL, open_stdin, "openStdin"),
	MEMBER(BOOL, stdin_once, "stdinOnce"),
	MEMBER(BOOL, auto_remove, "autoRemove"),
	MEMBER(BOOL, publish_all, "publishAll"),
	MEMBER(BOOL, privileged, "privileged"),
	MEMBER(BOOL, read_only, "readOnly"),
	MEMBER(INT, stop_timeout_ms, "stopTimeoutMs"),
	MEMBER(INT, timeout_ms, "timeoutMs"),
	MEMBER(INT, memory, "memory"),
	MEMBER(INT, nano_cpus, "nanoCpus"),
	MEMBER(INT, pids_limit, "pidsLimit"),
	MEMBER(INT, log_max_size, "logMaxSize"),
	MEMBER(INT, log_max_file, "logMaxFile"),
	MEMBER(INT, restart_policy, "restartPolicy"),
	MEMBER(INT, restart_max, "restartMax"),
	MEMBER(STR, started, "started"),
	MEMBER(STR, finished, "finished"),
	MEMBER(STR, error, "error"),
	MEMBER(LIST, health_test, "healthTest"),
	MEMBER(INT, health_interval_ms, "healthIntervalMs"),
	MEMBER(INT, health_timeout_ms, "healthTimeoutMs"),
	MEMBER(INT, health_start_period_ms, "healthStartPeriodMs"),
	MEMBER(INT, health_start_interval_ms, "healthStartIntervalMs"),
	MEMBER(INT, health_retries, "healthRetries"),
	MEMBER(STR, health_status, "healthStatus"),
	MEMBER(LIST, health_log, "healthLog"),
	MEMBER(INT, health_streak, "healthStreak"),
	MEMBER(INT, exit_code, "exitCode"),
	MEMBER(INT, restarts, "restarts"),
	MEMBER(BOOL, oom_killed, "oomKilled"),
	MEMBER(BOOL, restarting, "restarting"),
	MEMBER(BOOL, manual_stop, "manualStop"),
	MEMBER(BOOL, remove_volumes, "removeVolumes"),
	MEMBER(BOOL, removing, "removing"),
};

static void *at(const struct record *r, size_t offset)
{
	return (char *)(uintptr_t)r + offset;
}

void record_init(struct record *r)
{
	*r = (struct record){ .stop_timeout_ms = 10000 };
}

void record_fini(struct record *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		if (members[i].kind == STR)
			free(*(char **)at(r, members[i].offset));
		else if (members[i].kind == LIST)
			strlist_fini(at(r, members[i].offset));
	}
	record_init(r);
}

int record_set(char **member, const char *value)
{
	char *copy = value ? strdup(value) : NULL;

	if (value && !copy)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

static int load_list(struct strlist *l, json_object *v)
{
	size_t n = json_object_array_length(v);

	for (size_t i = 0; i < n; i++) {
		json_object *s = json_object_array_get_idx(v, i);

		if (!json_object_is_type(s, json_type_string))
			return -EINVAL;
		int r = strlist_add(l, json_object_get_string(s));

		if (r)
			return r;
	}
	return 0;
}

static int load_member(struct record *r, size_t i, json_object *v)
{
	void *p = at(r, members[i].offset);

	switch (members[i].kind) {
	case STR:
		return json_object_is_type(v, json_type_string)
			       ? record_set(p, json_object_get_string(v))
			       : -EINVAL;
	case LIST:
		return json_object_is_type(v, json_type_array) ? load_list(p, v) : -EINVAL;
	case INT:
		if (!json_object_is_type(v, json_type_int))
			return -EINVAL;
		*(int64_t *)p = json_object_get_int64(v);
		return 0;
	case BOOL:
		if (!json_object_is_type(v, json_type_boolean))
			return -EINVAL;
		*(bool *)p = json_object_get_boolean(v);
		return 0;
	}
	return -EINVAL;
}

static void put_json(json_object **o)
{
	json_object_put(*o);
}

int record_load(struct record *r, const struct instance *in, struct err *e)
{
	record_init(r);
	if (!in->keeper_state)
		return 0;
	cleanup_with(put_json) json_object *o = json_tokener_parse(in->keeper_state);

	if (!json_object_is_type(o, json_type_object))
		return err_set(e, -EPROTO, "instance '%s': state.json: keeper: not an object",
			       in->id);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		json_object *v;

		if (!json_object_object_get_ex(o, members[i].json, &v))
			continue;
		int s = load_member(r, i, v);

		if (s) {
			record_fini(r);
			return err_set(e, s, "instance '%s': state.json: keeper.%s: wrong type",
				       in->id, members[i].json);
		}
	}
	return 0;
}

static json_object *store_list(const struct strlist *l)
{
	json_object *a = json_object_new_array_ext((int)l->n);

	for (size_t i = 0; i < l->n; i++)
		json_object_array_add(a, json_object_new_string(l->v[i]));
	return a;
}

int record_store(const struct record *r, struct instance *in, struct err *e)
{
	cleanup_with(put_json) json_object *o = json_object_new_object();

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const void *p = at(r, members[i].offset);
		json_object *v = NULL;

		switch (members[i].kind) {
		case STR:
			if (*(char *const *)p)
				v = json_object_new_string(*(char *const *)p);
			break;
		case LIST:
			if (((const struct strlist *)p)->n)
				v = store_list(p);
			break;
		case INT:
			if (*(const int64_t *)p)
				v = json_object_new_int64(*(const int64_t *)p);
			break;
		case BOOL:
			if (*(const bool *)p)
				v = json_object_new_boolean(true);
			break;
		}
		if (v)
			json_object_object_add(o, members[i].json, v);
	}
	if (!r->stop_timeout_ms)
		json_object_object_add(o, "stopTimeoutMs", json_object_new_int64(0));
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	int s = text ? record_set(&in->keeper_state, text) : -ENOMEM;

	return s ? err_sys(e, s, "instance '%s'", in->id) : 0;
}

static const char *const policies[] = {
	[CONTROL_POLICY_NO] = "no",
	[CONTROL_POLICY_ON_FAILURE] = "on-failure",
	[CONTROL_POLICY_ALWAYS] = "always",
	[CONTROL_POLICY_UNLESS_STOPPED] = "unless-stopped",
};

const char *restart_policy_name(int64_t policy)
{
	return policy >= 0 && policy < (int64_t)ARRAY_SIZE(policies) ? policies[policy] : "no";
}

int restart_policy_parse(const char *s, int64_t *policy, int64_t *max, struct err *e)
{
	const char *count = str_after(s, "on-failure:");
	uint64_t n;

	*max = 0;
	if (count) {
		int r = str_to_u64(count, &n);

		if (r || n > INT32_MAX)
			return err_set(e, -EINVAL, "restart policy '%s': not a number of retries",
				       s);
		*policy = CONTROL_POLICY_ON_FAILURE;
		*max = (int64_t)n;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		if (streq(s, policies[i])) {
			*policy = (int64_t)i;
			return 0;
		}
	}
	return err_set(e, -EINVAL,
		       "restart policy '%s' is none of no, on-failure[:N], always, unless-stopped",
		       s);
}

char *time_now_rfc3339(void)
{
	struct timespec t;
	char s[31];

	clock_gettime(CLOCK_REALTIME, &t);
	time_rfc3339_format(t, s);
	return strdup(s);
}
