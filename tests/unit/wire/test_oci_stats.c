/* The line of `events`: members that its readers look for, and JSON that parses. */
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/cleanup.h"
#include "wire/json.h"
#include "wire/oci_stats.h"

static struct json_object *at(struct json_object *o, const char *path)
{
	char word[64];

	while (*path) {
		size_t n = strcspn(path, ".");

		memcpy(word, path, n);
		word[n] = '\0';
		if (!json_object_object_get_ex(o, word, &o))
			fail_msg("no member '%s'", word);
		path += n;
		path += *path == '.';
	}
	return o;
}

static void is_what_runc_prints(void **state)
{
	struct oci_stats st = {
		.cpu = { .set = true,
			 .total = 30,
			 .user = 20,
			 .kernel = 10,
			 .throttled_periods = 2 },
		.memory.usage = { .set = true,
				  .limit = UINT64_MAX,
				  .usage = 4096,
				  .max = 8192,
				  .failcnt = 1 },
		.pids = { .set = true, .current = 3, .limit = 9 },
		.huge = { { .page_size = "2MB", .use = { .set = true, .usage = 5 } } },
		.huge_n = 1,
		.cpus = "0-2,7",
		.mems = "0",
	};
	cleanup_with(buf_fini) struct buf out = BUF_INIT(65536);
	struct json_object *doc = NULL;
	struct err e = ERR_INIT;

	st.io.bytes.v = calloc(1, sizeof(*st.io.bytes.v));
	st.io.bytes.v[0] = (struct oci_io_entry){ .major = 8, .value = 77, .op = "Read" };
	st.io.bytes.n = 1;
	st.io.psi.set = true;
	st.io.psi.some.avg10 = 1.5;
	st.cpu.percpu = calloc(2, sizeof(*st.cpu.percpu));
	st.cpu.percpu_n = 2;
	assert_int_equal(oci_stats_print(&st, "we\"b", &out), 0);
	assert_int_equal(json_parse(out.data, out.len, 65536, "stats", &doc, &e), 0);
	assert_string_equal(json_object_get_string(at(doc, "type")), "stats");
	assert_string_equal(json_object_get_string(at(doc, "id")), "we\"b");
	assert_int_equal(json_object_get_int64(at(doc, "data.cpu.usage.total")), 30);
	assert_int_equal(json_object_array_length(at(doc, "data.cpu.usage.percpu")), 2);
	assert_int_equal(json_object_get_int64(at(doc, "data.cpu.throttling.throttledPeriods")), 2);
	assert_int_equal(json_object_get_uint64(at(doc, "data.memory.usage.limit")), UINT64_MAX);
	assert_int_equal(json_object_get_int64(at(doc, "data.memory.usage.failcnt")), 1);
	assert_int_equal(json_object_get_int64(at(doc, "data.pids.limit")), 9);
	assert_int_equal(json_object_get_int64(at(doc, "data.hugetlb.2MB.usage")), 5);
	assert_int_equal(json_object_array_length(at(doc, "data.cpuset.cpus")), 4);
	assert_int_equal(
		json_object_get_int64(json_object_array_get_idx(at(doc, "data.cpuset.cpus"), 3)),
		7);
	assert_int_equal(json_object_array_length(at(doc, "data.blkio.ioServiceBytesRecursive")),
			 1);
	assert_true(json_object_get_double(at(doc, "data.blkio.psi.some.avg10")) == 1.5);
	json_object_put(doc);
	oci_stats_fini(&st);
}

static void nothing_is_still_json(void **state)
{
	cleanup_with(buf_fini) struct buf out = BUF_INIT(65536);
	struct oci_stats st = { .cpu.set = false };
	struct json_object *doc = NULL;
	struct err e = ERR_INIT;

	st.cpu.psi.set = st.memory.psi.set = st.io.psi.set = true;
	assert_int_equal(oci_stats_print(&st, "x", &out), 0);
	assert_int_equal(json_parse(out.data, out.len, 65536, "stats", &doc, &e), 0);
	assert_int_equal(json_object_get_int64(at(doc, "data.memory.usage.usage")), 0);
	json_object_put(doc);
	buf_clear(&out);
	assert_int_equal(oci_event_print("oom", "x", &out), 0);
	assert_string_equal(out.data, "{\"type\":\"oom\",\"id\":\"x\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_what_runc_prints),
		cmocka_unit_test(nothing_is_still_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
