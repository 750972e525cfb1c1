/* config.json: what is read, and a table of documents that are wrong in one way each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../test.h"
#include "base/err.h"
#include "base/util.h"
#include "wire/oci.h"

#define TOP(rest)     "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"}" rest "}"
#define PROCESS(rest) TOP(",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"]" rest "}")
#define LINUX(rest)   TOP(",\"linux\":{" rest "}")

static int parse(const char *text, struct oci_spec **s, struct err *e)
{
	*e = (struct err)ERR_INIT;
	*s = NULL;
	return oci_spec_parse(text, strlen(text), "config.json", s, e);
}

static void reads_a_whole_document(void **state)
{
	static const char text[] = TOP(
		",\"hostname\":\"h\",\"unknown\":{\"x\":[1,2]},\"annotations\":{\"a.b\":\"c\"},"
		"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","
		"\"options\":[\"nosuid\",\"ro\"]}],"
		"\"process\":{\"terminal\":true,\"consoleSize\":{\"height\":24,\"width\":80},"
		"\"user\":{\"uid\":4294967295,\"gid\":7,\"umask\":18,\"additionalGids\":[1,2]},"
		"\"args\":[\"sh\",\"-c\"],\"env\":[\"A=b\"],\"cwd\":\"/x\","
		"\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_NOT_YET\"],\"ambient\":null},"
		"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":5,\"hard\":18446744073709551615}"
		"],"
		"\"oomScoreAdj\":-1000},"
		"\"hooks\":{\"poststop\":[{\"path\":\"/bin/x\",\"args\":[\"x\"],\"timeout\":3}]},"
		"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/"
		"p\"}],"
		"\"uidMappings\":[{\"containerID\":0,\"hostID\":100000,\"size\":65536}],"
		"\"resources\":{\"devices\":[{\"allow\":false}],\"memory\":{\"limit\":-1},"
		"\"pids\":{\"limit\":9},\"unified\":{\"memory.high\":\"max\"}},"
		"\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":["
		"\"read\"],"
		"\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":5,\"value\":"
		"18446744073709551615,"
		"\"op\":\"SCMP_CMP_EQ\"}]}]}}");
	struct oci_spec *s;
	struct err e;

	(void)state;
	assert_int_equal(parse(text, &s, &e), 0);
	assert_string_equal(s->hostname, "h");
	assert_string_equal(oci_annotation(s, "a.b"), "c");
	assert_null(oci_annotation(s, "a"));
	assert_int_equal(s->mounts_n, 1);
	assert_int_equal(s->mounts[0].options.n, 2);
	assert_null(s->mounts[0].options.v[2]);
	assert_true(s->process->terminal);
	assert_int_equal(s->process->cols, 80);
	assert_int_equal(s->process->uid, UINT32_MAX);
	assert_int_equal(s->process->umask.v, 022);
	assert_int_equal(s->process->additional_gids[1], 2);
	assert_int_equal(s->process->caps->bounding, 1 << 5);
	assert_int_equal(s->process->rlimits[0].resource, RLIMIT_NOFILE);
	assert_true(s->process->rlimits[0].hard == UINT64_MAX);
	assert_int_equal(s->process->oom_score_adj.v, -1000);
	assert_int_equal(s->hooks[OCI_HOOK_POSTSTOP].v[0].timeout, 3);
	assert_true(s->linux_->ns[OCI_NS_PID].present);
	assert_string_equal(s->linux_->ns[OCI_NS_NETWORK].path, "/p");
	assert_false(s->linux_->ns[OCI_NS_USER].present);
	assert_int_equal(s->linux_->uid_mappings.v[0].size, 65536);
	assert_int_equal(s->linux_->resources->devices[0].type, 'a');
	assert_int_equal(s->linux_->resources->devices[0].minor, -1);
	assert_true(s->linux_->resources->devices[0].mknod);
	assert_int_equal(s->linux_->resources->memory.limit.v, -1);
	assert_string_equal(s->linux_->resources->unified.v[0].value, "max");
	assert_true(s->linux_->seccomp->rules[0].args[0].value == UINT64_MAX);
	oci_spec_free(s);
}

static const struct {
	const char *text, *error; /* `error`: how the message begins, after "config.json: " */
} wrong[] = {
	{ "", "ends in the middle" },
	{ "{", "ends in the middle" },
	{ "[]", "expected an object" },
	{ "{} x", "byte 3: something after" },
	{ "{\"ociVersion\":}", "byte 14: not JSON" },
	{ "{}", "ociVersion: missing" },
	{ "{\"ociVersion\":1}", "ociVersion: expected a string" },
	{ "{\"ociVersion\":\"2.0.0\"}", "ociVersion: '2.0.0' is not supported" },
	{ "{\"ociVersion\":\"1.0.0\"}", "root: missing" },
	{ "{\"ociVersion\":\"1.0.0\",\"root\":{}}", "root.path: missing" },
	{ "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"\"}}",
	  "root.path: expected a string that" },
	{ "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"a\\u0000b\"}}",
	  "root.path: expected a string without NUL" },
	{ TOP(",\"hostname\":[]"), "hostname: expected a string" },
	{ TOP(",\"annotations\":{\"a\":1}"), "annotations.a: expected a string" },
	{ TOP(",\"annotations\":[]"), "annotations: expected an object" },
	{ TOP(",\"mounts\":{}"), "mounts: expected an array" },
	{ TOP(",\"mounts\":[7]"), "mounts[0]: expected an object" },
	{ TOP(",\"mounts\":[{\"source\":\"x\"}]"), "mounts[0].destination: missing" },
	{ TOP(",\"mounts\":[{\"destination\":\"/a\",\"options\":[1]}]"),
	  "mounts[0].options[0]: expected a string" },
	{ TOP(",\"process\":{\"args\":[\"a\"]}"), "process.cwd: missing" },
	{ TOP(",\"process\":{\"cwd\":\"a\"}"), "process.cwd: 'a': expected an absolute path" },
	{ PROCESS(",\"terminal\":1"), "process.terminal: expected true or false" },
	{ PROCESS(",\"user\":{\"uid\":-1}"),
	  "process.user.uid: expected an integer between 0 and 4294967295" },
	{ PROCESS(",\"user\":{\"uid\":4294967296}"), "process.user.uid: expected an integer" },
	{ PROCESS(",\"user\":{\"uid\":1.5}"), "process.user.uid: expected an integer" },
	{ PROCESS(",\"user\":{\"uid\":\"0\"}"), "process.user.uid: expected an integer" },
	{ PROCESS(",\"user\":{\"umask\":512}"), "process.user.umask: expected an integer" },
	{ PROCESS(",\"user\":{\"additionalGids\":[0,-1]}"),
	  "process.user.additionalGids[1]: expected" },
	{ PROCESS(",\"env\":[\"A=b\",\"C\"]"), "process.env[1]: 'C': expected NAME=VALUE" },
	{ PROCESS(",\"env\":[\"=b\"]"), "process.env[0]: '=b': expected" },
	{ PROCESS(",\"capabilities\":{\"bounding\":\"x\"}"),
	  "process.capabilities.bounding: expected" },
	{ PROCESS(",\"oomScoreAdj\":1001"), "process.oomScoreAdj: expected an integer" },
	{ PROCESS(",\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]"),
	  "process.rlimits[0].type: 'RLIMIT_X' is none of" },
	{ PROCESS(",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":2,\"hard\":1}]"),
	  "process.rlimits[0]: soft is larger" },
	{ PROCESS(",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":1,\"hard\":1},"
		  "{\"type\":\"RLIMIT_AS\",\"soft\":1,\"hard\":1}]"),
	  "process.rlimits[1]: this type was given before" },
	{ PROCESS(",\"scheduler\":{}"), "process.scheduler.policy: missing" },
	{ PROCESS(",\"scheduler\":{\"policy\":\"SCHED_FIFO\",\"priority\":100}"),
	  "process.scheduler.priority: expected" },
	{ PROCESS(",\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":8}"),
	  "process.ioPriority.priority: expected" },
	{ PROCESS(",\"consoleSize\":{\"height\":65536,\"width\":1}"),
	  "process.consoleSize.height: expected" },
	{ TOP(",\"hooks\":{\"prestart\":[{\"path\":\"x\"}]}"),
	  "hooks.prestart[0].path: 'x': expected an abs" },
	{ TOP(",\"hooks\":{\"poststop\":[{\"path\":\"/x\",\"timeout\":0}]}"),
	  "hooks.poststop[0].timeout: expected" },
	{ LINUX("\"namespaces\":[{\"type\":\"net\"}]"),
	  "linux.namespaces[0].type: 'net' is none of pid, network" },
	{ LINUX("\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]"),
	  "linux.namespaces[1]: this type was given" },
	{ LINUX("\"namespaces\":[{\"type\":\"pid\",\"path\":\"x\"}]"),
	  "linux.namespaces[0]: path 'x': expected an absolute" },
	{ LINUX("\"uidMappings\":[{\"containerID\":0,\"hostID\":0}]"),
	  "linux.uidMappings[0].size: missing" },
	{ LINUX("\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":0}]"),
	  "linux.uidMappings[0].size: expected" },
	{ LINUX("\"uidMappings\":[{\"containerID\":0,\"hostID\":4294967295,\"size\":2}]"),
	  "linux.uidMappings[0]: the range ends" },
	{ LINUX("\"timeOffsets\":{\"boottime\":{\"secs\":1}}"),
	  "linux: timeOffsets: there is no new time" },
	{ LINUX("\"timeOffsets\":{\"boottime\":{\"nanosecs\":1000000000}}"),
	  "linux.timeOffsets.boottime.nanosecs: expected" },
	{ LINUX("\"devices\":[{\"type\":\"c\"}]"), "linux.devices[0].path: missing" },
	{ LINUX("\"devices\":[{\"path\":\"/x\",\"type\":\"a\"}]"), "linux.devices[0]: type 'a'" },
	{ LINUX("\"devices\":[{\"path\":\"/x\",\"type\":\"c\",\"major\":4096}]"),
	  "linux.devices[0].major: expected" },
	{ LINUX("\"netDevices\":{\"a-name-that-is-long\":{}}"),
	  "linux.netDevices.a-name-that-is-long: expected" },
	{ LINUX("\"resources\":{\"devices\":[{\"type\":\"c\"}]}"),
	  "linux.resources.devices[0].allow: missing" },
	{ LINUX("\"resources\":{\"devices\":[{\"allow\":true,\"access\":\"rx\"}]}"),
	  "linux.resources.devices[0].access: 'rx'" },
	{ LINUX("\"resources\":{\"devices\":[{\"allow\":true,\"major\":-2}]}"),
	  "linux.resources.devices[0].major: expected" },
	{ LINUX("\"resources\":{\"memory\":{\"limit\":9223372036854775808}}"),
	  "linux.resources.memory.limit: expected" },
	{ LINUX("\"resources\":{\"cpu\":{\"shares\":-1}}"),
	  "linux.resources.cpu.shares: expected" },
	{ LINUX("\"resources\":{\"blockIO\":{\"weight\":65536}}"),
	  "linux.resources.blockIO.weight: expected" },
	{ LINUX("\"resources\":{\"rdma\":{\"a\":{\"hcaHandles\":-1}}}"),
	  "linux.resources.rdma.a.hcaHandles: expected" },
	{ LINUX("\"resources\":{\"unified\":{\"a\":1}}"),
	  "linux.resources.unified.a: expected a string" },
	{ LINUX("\"rootfsPropagation\":\"loud\""), "linux.rootfsPropagation: 'loud'" },
	{ LINUX("\"personality\":{\"domain\":\"BSD\"}"),
	  "linux.personality.domain: 'BSD' is none of" },
	{ LINUX("\"personality\":{\"domain\":\"LINUX\",\"flags\":[\"x\"]}"),
	  "linux.personality: flags" },
	{ LINUX("\"memoryPolicy\":{\"mode\":\"x\"}"), "linux.memoryPolicy.mode: 'x' is none of" },
	{ LINUX("\"seccomp\":{}"), "linux.seccomp.defaultAction: missing" },
	{ LINUX("\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[],"
		"\"action\":\"SCMP_ACT_KILL\"}]}"),
	  "linux.seccomp.syscalls[0]: names: expected" },
	{ LINUX("\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"a\"]"
		","
		"\"action\":\"SCMP_ACT_KILL\",\"args\":[{\"index\":6,\"value\":0,\"op\":\"SCMP_CMP_"
		"EQ\"}]}]}"),
	  "linux.seccomp.syscalls[0].args[0].index: expected an integer between 0 and 5" },
	{ TOP(",\"vm\":{\"kernel\":{}}"), "vm.kernel.path: missing" },
	{ TOP(",\"vm\":{\"hwConfig\":{\"vcpus\":0}}"), "vm.hwConfig.vcpus: expected" },
};

static void names_what_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct oci_spec *s;
		struct err e;

		assert_true(parse(wrong[i].text, &s, &e) < 0);
		assert_null(s);
		if (strncmp(e.msg, "config.json: ", 13) != 0 ||
		    strncmp(e.msg + 13, wrong[i].error, strlen(wrong[i].error)) != 0)
			fail_msg("%s\n  gives    %s\n  expected config.json: %s", wrong[i].text,
				 e.msg, wrong[i].error);
	}
}

static void every_cut_is_refused(void **state)
{
	static const char text[] = PROCESS(",\"env\":[\"A=\\u00e9\"],\"rlimits\":[]");
	struct oci_spec *s;
	struct err e;

	(void)state;
	assert_int_equal(parse(text, &s, &e), 0);
	oci_spec_free(s);
	for (size_t n = 0; n < strlen(text); n++) {
		e = (struct err)ERR_INIT;
		assert_true(oci_spec_parse(text, n, "config.json", &s, &e) < 0);
		assert_non_null(strstr(e.msg, "config.json: "));
	}
}

static void size_and_depth_are_bounded(void **state)
{
	size_t n = (8 << 20) + 1;
	char *big = malloc(n + 1);
	struct oci_spec *s;
	struct err e = ERR_INIT;

	(void)state;
	memset(big, ' ', n);
	assert_int_equal(oci_spec_parse(big, n, "config.json", &s, &e), -EMSGSIZE);
	free(big);
	char nested[1000] = "{\"x\":";

	for (int i = 0; i < 40; i++)
		strcat(nested, "[");
	assert_true(parse(nested, &s, &e) < 0);
	assert_non_null(strstr(e.msg, "not JSON"));
}

static void null_is_absent_and_the_last_duplicate_counts(void **state)
{
	struct oci_spec *s;
	struct err e;

	(void)state;
	assert_int_equal(
		parse(TOP(",\"hostname\":null,\"process\":null,\"linux\":{\"seccomp\":null}"), &s,
		      &e),
		0);
	assert_null(s->hostname);
	assert_null(s->process);
	assert_null(s->linux_->seccomp);
	oci_spec_free(s);
	assert_int_equal(parse(TOP(",\"hostname\":\"a\",\"hostname\":\"b\""), &s, &e), 0);
	assert_string_equal(s->hostname, "b");
	oci_spec_free(s);
}

static void parts_stand_alone(void **state)
{
	static const char process[] = "{\"cwd\":\"/\",\"args\":[\"a\"]}";
	static const char resources[] = "{\"memory\":{\"limit\":5}}";
	static const char seccomp[] = "{\"defaultAction\":\"SCMP_ACT_LOG\"}";
	struct oci_spec *s;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(oci_process_parse(process, sizeof(process) - 1, "p", &s, &e), 0);
	assert_string_equal(s->process->args.v[0], "a");
	oci_spec_free(s);
	assert_int_equal(oci_resources_parse(resources, sizeof(resources) - 1, "r", &s, &e), 0);
	assert_int_equal(s->linux_->resources->memory.limit.v, 5);
	oci_spec_free(s);
	assert_int_equal(oci_seccomp_parse(seccomp, sizeof(seccomp) - 1, "s", &s, &e), 0);
	assert_int_equal(s->linux_->seccomp->default_action, OCI_SECCOMP_LOG);
	oci_spec_free(s);
	assert_true(oci_process_parse(resources, sizeof(resources) - 1, "p", &s, &e) < 0);
	assert_string_equal(e.msg, "p: cwd: missing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_whole_document),
		cmocka_unit_test(names_what_is_wrong),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(size_and_depth_are_bounded),
		cmocka_unit_test(null_is_absent_and_the_last_duplicate_counts),
		cmocka_unit_test(parts_stand_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
