/* Profile files in docker's form become the specification's, by capability, architecture and kernel. */
#include <errno.h>
#include <json-c/json.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../test.h"
#include "base/util.h"
#include "bundle/seccomp.h"
#include "wire/oci.h"

#define CAP(n) (UINT64_C(1) << (n))

static struct json_object *load(const char *text, uint64_t caps, int expected)
{
	char path[] = "/tmp/warren-profile-XXXXXX";
	struct json_object *o = NULL;
	struct err e = ERR_INIT;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	assert_int_equal(bundle_seccomp_file(path, caps, &o, &e), expected);
	unlink(path);
	return o;
}

/* The names of all rules, with a blank behind each. */
static const char *names(const struct oci_seccomp *p, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < p->rules_n; i++)
		for (size_t k = 0; k < p->rules[i].names.n; k++)
			n += (size_t)snprintf(out + n, size - n, "%s ", p->rules[i].names.v[k]);
	return out;
}

static void rules_depend(void **state)
{
	static const char text[] =
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"archMap\":[{\"architecture\":\"SCMP_ARCH_"
		"AARCH64\","
		"\"subArchitectures\":[\"SCMP_ARCH_ARM\"]},{\"architecture\":\"SCMP_ARCH_X86_64\","
		"\"subArchitectures\":[\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"]}],\"syscalls\":["
		"{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\"comment\":\"c\"},"
		"{\"name\":\"write\",\"action\":\"SCMP_ACT_ALLOW\"},"
		"{\"names\":[\"arm\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"arches\":["
		"\"arm64\"]}},"
		"{\"names\":[\"amd\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"arches\":["
		"\"arm\",\"amd64\"]}},"
		"{\"names\":[\"noamd\"],\"action\":\"SCMP_ACT_ALLOW\",\"excludes\":{\"arches\":["
		"\"amd64\"]}},"
		"{\"names\":[\"adm\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_"
		"SYS_ADMIN\"]}},"
		"{\"names\":[\"noadm\"],\"action\":\"SCMP_ACT_ALLOW\",\"excludes\":{\"caps\":["
		"\"CAP_SYS_ADMIN\"]}},"
		"{\"names\":[\"both\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_"
		"SYS_ADMIN\","
		"\"CAP_BPF\"]}},"
		"{\"names\":[\"old\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":"
		"\"4.8\"}},"
		"{\"names\":[\"new\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":"
		"\"99.1\"}}]}";
	static const struct {
		uint64_t caps;
		const char *names;
	} rows[] = {
		{ 0, "read write amd noadm old " },
		{ CAP(CAP_SYS_ADMIN), "read write amd adm old " },
		{ CAP(CAP_SYS_ADMIN) | CAP(CAP_BPF), "read write amd adm both old " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct json_object *o = load(text, rows[i].caps, 0);
		const char *json = json_object_to_json_string(o);
		struct oci_spec *spec;
		struct err e = ERR_INIT;
		char all[256];

		if (oci_seccomp_parse(json, strlen(json), "profile", &spec, &e))
			fail_msg("%s", e.msg);
		const struct oci_seccomp *p = spec->linux_->seccomp;

		assert_string_equal(names(p, all, sizeof(all)), rows[i].names);
		assert_int_equal(p->architectures.n, 3);
		assert_string_equal(p->architectures.v[2], "SCMP_ARCH_X32");
		assert_null(strstr(json, "includes"));
		assert_null(strstr(json, "archMap"));
		oci_spec_free(spec);
		json_object_put(o);
	}
}

static void wrong_files_are_refused(void **state)
{
	struct json_object *o = NULL;
	struct err e = ERR_INIT;

	(void)state;
	load("[]", 0, -EINVAL);
	load("{\"defaultAction\":", 0, -EINVAL);
	assert_true(bundle_seccomp_file("/nonexistent/profile", 0, &o, &e) < 0);
	assert_non_null(strstr(e.msg, "/nonexistent/profile"));
	/* Wrong inside: left for the reader of config.json, and no crash here. */
	json_object_put(
		load("{\"archMap\":[{\"architecture\":null},7],\"syscalls\":[3,{\"includes\":1,"
		     "\"excludes\":{\"caps\":[null,4],\"arches\":8,\"minKernel\":2}}]}",
		     0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_depend),
		cmocka_unit_test(wrong_files_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
