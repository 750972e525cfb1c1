/*
 * The features document: which words of config.json this program knows. Callers (containerd, CRI-O) read it instead of
 * trying.
 *
 * Every list comes from the table that does the work, so that it cannot claim what is not there.
 *
 * Trust: nothing from outside. Threads: any. #syscalls: none
 */
#include "container/features.h"

#include <linux/seccomp.h>
#include <stdbool.h>

#include "container/mount_int.h"
#include "generated/version.h"
#include "wire/caps.h"
#include "wire/json.h"
#include "wire/oci_words.h"

static void item(const char *word, void *arg)
{
	struct buf *out = arg;

	if (out->len && out->data[out->len - 1] != '[')
		buf_addc(out, ',');
	json_put_string(out, word);
}

static void begin(struct buf *out, const char *key, char bracket)
{
	json_put_key(out, key);
	buf_addc(out, bracket);
}

static void words(struct buf *out, const char *key, const char *const *list)
{
	begin(out, key, '[');
	for (; *list; list++)
		item(*list, out);
	buf_adds(out, "]");
}

static void table(struct buf *out, const char *key, const struct json_word *w)
{
	begin(out, key, '[');
	for (; w->word; w++)
		item(w->word, out);
	buf_adds(out, "]");
}

static void flag(struct buf *out, const char *key, bool v)
{
	json_put_key(out, key);
	buf_adds(out, v ? "true" : "false");
}

static void enabled(struct buf *out, const char *key, bool v)
{
	begin(out, key, '{');
	flag(out, "enabled", v);
	buf_adds(out, "}");
}

static void seccomp(struct buf *out)
{
	static const char *const archs[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
					     NULL };
	static const char *const flags[] = { "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
					     "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
					     "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL };

	begin(out, "seccomp", '{');
	flag(out, "enabled", true);
	table(out, "actions", oci_seccomp_action_words);
	table(out, "operators", oci_seccomp_op_words);
	words(out, "archs", archs);
	words(out, "knownFlags", flags);
	words(out, "supportedFlags", flags);
	buf_adds(out, "}");
}

static void linux_part(struct buf *out)
{
	begin(out, "linux", '{');
	table(out, "namespaces", oci_ns_words);
	begin(out, "capabilities", '[');
	for (int i = 0; i < cap_count(); i++)
		item(cap_name(i), out);
	buf_adds(out, "]");
	begin(out, "cgroup", '{');
	flag(out, "v1", true);
	flag(out, "v2", true);
	flag(out, "systemd", true);
	flag(out, "systemdUser", true);
	flag(out, "rdma", true);
	buf_adds(out, "}");
	seccomp(out);
	enabled(out, "apparmor", true);
	enabled(out, "selinux", true);
	enabled(out, "intelRdt", false);
	begin(out, "memoryPolicy", '{');
	table(out, "modes", oci_mpol_words);
	table(out, "flags", oci_mpol_flag_words);
	buf_adds(out, "}");
	begin(out, "mountExtensions", '{');
	enabled(out, "idmap", true);
	buf_adds(out, "}");
	enabled(out, "netDevices", true);
	buf_adds(out, "}");
}

int container_features(struct buf *out)
{
	static const char *const hooks[] = { "prestart",
					     "createRuntime",
					     "createContainer",
					     "startContainer",
					     "poststart",
					     "poststop",
					     NULL };

	/* They choose what is mounted as the root, and what PID 1 is. */
	static const char *const unsafe[] = { "dev.warren.", NULL };

	buf_adds(out, "{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"1.3.0\"");
	words(out, "hooks", hooks);
	begin(out, "mountOptions", '[');
	mount_opts_each(item, out);
	buf_adds(out, "]");
	linux_part(out);
	words(out, "potentiallyUnsafeConfigAnnotations", unsafe);
	begin(out, "annotations", '{');
	json_put_key(out, "dev.warren.version");
	json_put_string(out, WARREN_VERSION);
	return buf_adds(out, "}}");
}
