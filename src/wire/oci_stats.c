/*
 * The line of JSON of `events`, as runc prints it.
 *
 * Members that runc gives for every container are there also when the kernel has no such controller, as zero;
 * readers expect them.
 *
 * Trust: the numbers are the kernel's, the id was checked. Threads: any. #syscalls: none
 */
#include "wire/oci_stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"

void oci_stats_fini(struct oci_stats *st)
{
	free(st->cpu.percpu);
	free(st->memory.raw);
	free(st->io.bytes.v);
	free(st->io.ops.v);
	memset(st, 0, sizeof(*st));
}

static void put_psi(const struct oci_psi *psi, struct buf *out)
{
	const __typeof__(psi->some) *half[2] = { &psi->some, (const void *)&psi->full };

	if (!psi->set)
		return;
	json_put_key(out, "psi");
	buf_adds(out, "{");
	for (int i = 0; i < 2; i++)
		buf_addf(
			out,
			"%s\"%s\":{\"avg10\":%.2f,\"avg60\":%.2f,\"avg300\":%.2f,\"total\":%" PRIu64
			"}",
			i ? "," : "", i ? "full" : "some", half[i]->avg10, half[i]->avg60,
			half[i]->avg300, half[i]->total);
	buf_adds(out, "}");
}

static void put_cpu(const struct oci_stats *st, struct buf *out)
{
	buf_addf(out, "\"cpu\":{\"usage\":{\"total\":%" PRIu64, st->cpu.total);
	if (st->cpu.percpu_n) {
		buf_adds(out, ",\"percpu\":[");
		for (size_t i = 0; i < st->cpu.percpu_n; i++)
			buf_addf(out, "%s%" PRIu64, i ? "," : "", st->cpu.percpu[i]);
		buf_adds(out, "]");
	}
	buf_addf(out,
		 ",\"kernel\":%" PRIu64 ",\"user\":%" PRIu64
		 "},\"throttling\":{\"periods\":%" PRIu64 ",\"throttledPeriods\":%" PRIu64
		 ",\"throttledTime\":%" PRIu64 "}",
		 st->cpu.kernel, st->cpu.user, st->cpu.periods, st->cpu.throttled_periods,
		 st->cpu.throttled_ns);
	put_psi(&st->cpu.psi, out);
	buf_adds(out, "}");
}

/* "0-2,5" -> [0,1,2,5] */
static void put_cpulist(const char *key, const char *list, struct buf *out)
{
	const char *comma = "";

	json_put_key(out, key);
	buf_adds(out, "[");
	while (*list) {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (end == list)
			break;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (unsigned long i = first; i <= last && i - first < OCI_STATS_CPUS_MAX; i++) {
			buf_addf(out, "%s%lu", comma, i);
			comma = ",";
		}
		list = end + (*end == ',');
	}
	buf_adds(out, "]");
}

static void put_mem(const char *key, const struct oci_mem_stats *m, bool limit, struct buf *out)
{
	json_put_key(out, key);
	buf_adds(out, "{");
	if (limit)
		buf_addf(out, "\"limit\":%" PRIu64 ",", m->limit);
	buf_addf(out, "\"usage\":%" PRIu64 ",\"max\":%" PRIu64 ",\"failcnt\":%" PRIu64 "}",
		 m->usage, m->max, m->failcnt);
}

static void put_memory(const struct oci_stats *st, struct buf *out)
{
	buf_addf(out, ",\"memory\":{\"cache\":%" PRIu64, st->memory.cache);
	put_mem("usage", &st->memory.usage, true, out);
	put_mem("swap", &st->memory.swap, true, out);
	put_mem("kernel", &st->memory.kernel, true, out);
	put_mem("kernelTCP", &st->memory.kernel_tcp, true, out);
	buf_adds(out, ",\"raw\":{");
	for (size_t i = 0; i < st->memory.raw_n; i++) {
		json_put_key(out, st->memory.raw[i].name);
		buf_addf(out, "%" PRIu64, st->memory.raw[i].value);
	}
	buf_adds(out, "}");
	put_psi(&st->memory.psi, out);
	buf_adds(out, "}");
}

static void put_io(const char *key, const struct oci_io_list *l, struct buf *out)
{
	if (!l->n)
		return;
	json_put_key(out, key);
	buf_adds(out, "[");
	for (size_t i = 0; i < l->n; i++) {
		buf_addf(out, "%s{\"major\":%" PRIu64 ",\"minor\":%" PRIu64, i ? "," : "",
			 l->v[i].major, l->v[i].minor);
		json_put_key(out, "op");
		json_put_string(out, l->v[i].op);
		buf_addf(out, ",\"value\":%" PRIu64 "}", l->v[i].value);
	}
	buf_adds(out, "]");
}

int oci_stats_print(const struct oci_stats *st, const char *id, struct buf *out)
{
	buf_adds(out, "{\"type\":\"stats\",\"id\":");
	json_put_string(out, id);
	buf_adds(out, ",\"data\":{");
	put_cpu(st, out);
	buf_adds(out, ",\"cpuset\":{");
	put_cpulist("cpus", st->cpus, out);
	put_cpulist("mems", st->mems, out);
	buf_adds(out, "}");
	put_memory(st, out);
	buf_addf(out, ",\"pids\":{\"current\":%" PRIu64, st->pids.current);
	if (st->pids.limit)
		buf_addf(out, ",\"limit\":%" PRIu64, st->pids.limit);
	buf_adds(out, "},\"blkio\":{");
	put_io("ioServiceBytesRecursive", &st->io.bytes, out);
	put_io("ioServicedRecursive", &st->io.ops, out);
	put_psi(&st->io.psi, out);
	buf_adds(out, "},\"hugetlb\":{");
	for (size_t i = 0; i < st->huge_n; i++)
		put_mem(st->huge[i].page_size, &st->huge[i].use, false, out);
	return buf_adds(out, "},\"intel_rdt\":{},\"network_interfaces\":null}}");
}

int oci_event_print(const char *type, const char *id, struct buf *out)
{
	buf_adds(out, "{\"type\":");
	json_put_string(out, type);
	json_put_key(out, "id");
	json_put_string(out, id);
	return buf_adds(out, "}");
}
