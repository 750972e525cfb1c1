/*
 * The line of `events --stats` back into figures: how a guest's agent tells what the container inside uses.
 * What the line lacks stays unset.
 *
 * Trust: the guest is hostile; numbers are only ever shown. Threads: none. #syscalls: none
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"
#include "wire/oci_stats.h"

#define TEXT_MAX    (1u << 20)
#define ENTRIES_MAX 4096

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, key, &v);
	return v;
}

static uint64_t number(struct json_object *o, const char *key)
{
	struct json_object *v = member(o, key);

	return v && json_object_is_type(v, json_type_int) ? json_object_get_uint64(v) : 0;
}

static void read_memory_part(struct json_object *memory, const char *key, struct oci_mem_stats *out)
{
	struct json_object *o = member(memory, key);

	if (!o)
		return;
	out->set = true;
	out->limit = member(o, "limit") ? number(o, "limit") : UINT64_MAX;
	out->usage = number(o, "usage");
	out->max = number(o, "max");
	out->failcnt = number(o, "failcnt");
}

static int read_raw(struct json_object *memory, struct oci_stats *st)
{
	struct json_object *raw = member(memory, "raw");

	if (!raw || !json_object_is_type(raw, json_type_object))
		return 0;
	size_t n = (size_t)json_object_object_length(raw);

	if (n > ENTRIES_MAX)
		return -EBADMSG;
	st->memory.raw = calloc(n ? n : 1, sizeof(*st->memory.raw));
	if (!st->memory.raw)
		return -ENOMEM;
	json_object_object_foreach(raw, key, value)
	{
		struct oci_raw_stat *one = &st->memory.raw[st->memory.raw_n++];

		snprintf(one->name, sizeof(one->name), "%s", key);
		one->value = json_object_get_uint64(value);
	}
	return 0;
}

static int read_io(struct json_object *blkio, const char *key, struct oci_io_list *out)
{
	struct json_object *list = member(blkio, key);

	if (!list || !json_object_is_type(list, json_type_array))
		return 0;
	size_t n = json_object_array_length(list);

	if (n > ENTRIES_MAX)
		return -EBADMSG;
	out->v = calloc(n ? n : 1, sizeof(*out->v));
	if (!out->v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i), *op = member(o, "op");
		struct oci_io_entry *one = &out->v[out->n++];

		one->major = number(o, "major");
		one->minor = number(o, "minor");
		one->value = number(o, "value");
		if (op && json_object_is_type(op, json_type_string))
			snprintf(one->op, sizeof(one->op), "%s", json_object_get_string(op));
	}
	return 0;
}

static int read_data(struct json_object *data, struct oci_stats *st)
{
	struct json_object *cpu = member(data, "cpu"), *memory = member(data, "memory");
	struct json_object *pids = member(data, "pids"), *io = member(data, "blkio");
	struct json_object *usage = member(cpu, "usage"), *throttling = member(cpu, "throttling");

	if (usage) {
		st->cpu.set = true;
		st->cpu.total = number(usage, "total");
		st->cpu.user = number(usage, "user");
		st->cpu.kernel = number(usage, "kernel");
		st->cpu.periods = number(throttling, "periods");
		st->cpu.throttled_periods = number(throttling, "throttledPeriods");
		st->cpu.throttled_ns = number(throttling, "throttledTime");
	}
	st->memory.cache = number(memory, "cache");
	read_memory_part(memory, "usage", &st->memory.usage);
	read_memory_part(memory, "swap", &st->memory.swap);
	st->pids.set = pids != NULL;
	st->pids.current = number(pids, "current");
	st->pids.limit = number(pids, "limit");
	st->io.set = io != NULL;
	int r = read_raw(memory, st);

	if (r == 0)
		r = read_io(io, "ioServiceBytesRecursive", &st->io.bytes);
	return r < 0 ? r : read_io(io, "ioServicedRecursive", &st->io.ops);
}

int oci_stats_parse(const char *text, size_t n, struct oci_stats *st, struct err *e)
{
	struct json_object *top = NULL;

	*st = (struct oci_stats){ 0 };
	int r = json_parse(text, n, TEXT_MAX, "statistics", &top, e);

	if (r < 0)
		return r;
	r = read_data(member(top, "data"), st);
	json_object_put(top);
	if (r < 0) {
		oci_stats_fini(st);
		return err_sys(e, r, "statistics");
	}
	return 0;
}
