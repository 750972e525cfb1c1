/* What a container uses, and the line of JSON in which `events` and `events --stats` say it (the
 * members are those that runc prints, which containerd, CRI-O and scripts read). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { OCI_STATS_CPUS_MAX = 1024, OCI_STATS_HUGE_MAX = 8 };

/* Bytes, except failcnt: how often the limit was hit. UINT64_MAX: no limit. */
struct oci_mem_stats {
	bool set;
	uint64_t limit, usage, max, failcnt;
};

struct oci_io_entry {
	uint64_t major, minor, value;
	char op[16]; /* "Read", "Write", "Sync", "Async", "Discard", "Total"; "" for queue-less
			counters */
};

struct oci_io_list {
	struct oci_io_entry *v;
	size_t n;
};

struct oci_psi {
	bool set;
	struct {
		double avg10, avg60, avg300; /* per cent */
		uint64_t total;		     /* us */
	} some, full;
};

struct oci_raw_stat {
	char name[40];
	uint64_t value;
};

struct oci_stats {
	struct {
		bool set;
		uint64_t total, user, kernel; /* ns */
		uint64_t *percpu;	      /* ns; v1 only */
		size_t percpu_n;
		uint64_t periods, throttled_periods, throttled_ns;
		struct oci_psi psi;
	} cpu;
	struct {
		struct oci_mem_stats usage, swap, kernel, kernel_tcp;
		uint64_t cache;
		struct oci_raw_stat *raw; /* memory.stat, line for line */
		size_t raw_n;
		struct oci_psi psi;
	} memory;
	struct {
		bool set;
		uint64_t current, limit; /* limit 0: none */
	} pids;
	struct {
		bool set;
		struct oci_io_list bytes, ops;
		struct oci_psi psi;
	} io;
	struct {
		char page_size[16]; /* "2MB" */
		struct oci_mem_stats use;
	} huge[OCI_STATS_HUGE_MAX];
	size_t huge_n;
	char cpus[256], mems[64]; /* cpuset lists in effect, "" when there is no cpuset */
};

void oci_stats_fini(struct oci_stats *st);

/* Reads what oci_stats_print() writes. 0, or -errno with `e` set and nothing to free. */
int oci_stats_parse(const char *text, size_t n, struct oci_stats *st, struct err *e);

/* {"type":"stats","id":...,"data":{...}} without a newline. 0 or the buffer's -errno. */
int oci_stats_print(const struct oci_stats *st, const char *id, struct buf *out);

/* {"type":"oom","id":...} without a newline. */
int oci_event_print(const char *type, const char *id, struct buf *out);
