/*
 * warren oci spec: a config.json to start from, as other runtimes write it: a shell on a terminal in rootfs/, new
 * namespaces, few capabilities.
 *
 * Trust: nothing from outside. Threads: none. #syscalls: openat write fsync renameat
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/oci.h"
#include "os/file.h"

struct settings {
	const char *bundle;
	bool rootless;
};

static const struct opt opts[] = {
	OPT_STRING('b', "bundle", "DIR", struct settings, bundle,
		   "Write DIR/config.json instead of ./config.json", .complete = COMPLETE_DIR),
	OPT_BOOL(0, "rootless", struct settings, rootless,
		 "For an ordinary user: a user namespace for this user"),
	OPT_END,
};

#define CAPS "[\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"]"

static const char start[] =
	"{\n"
	"  \"ociVersion\": \"1.3.0\",\n"
	"  \"process\": {\n"
	"    \"terminal\": true,\n"
	"    \"user\": {\"uid\": 0, \"gid\": 0},\n"
	"    \"args\": [\"sh\"],\n"
	"    \"env\": [\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\", "
	"\"TERM=xterm\"],\n"
	"    \"cwd\": \"/\",\n"
	"    \"capabilities\": {\n"
	"      \"bounding\": " CAPS ",\n"
	"      \"effective\": " CAPS ",\n"
	"      \"permitted\": " CAPS "\n"
	"    },\n"
	"    \"rlimits\": [{\"type\": \"RLIMIT_NOFILE\", \"hard\": 1024, \"soft\": 1024}],\n"
	"    \"noNewPrivileges\": true\n"
	"  },\n"
	"  \"root\": {\"path\": \"rootfs\", \"readonly\": true},\n"
	"  \"hostname\": \"warren\",\n"
	"  \"mounts\": [\n"
	"    {\"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\"},\n"
	"    {\"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\",\n"
	"      \"options\": [\"nosuid\", \"strictatime\", \"mode=755\", \"size=65536k\"]},\n"
	"    {\"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", "
	"\"mode=0620\"%s]},\n"
	"    {\"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\"]},\n"
	"    {\"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"nodev\"]},\n";

static const char sys_of_root[] =
	"    {\"destination\": \"/sys\", \"type\": \"sysfs\", \"source\": \"sysfs\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"ro\"]},\n"
	"    {\"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"relatime\", \"ro\"]}\n"
	"  ],\n"
	"  \"linux\": {\n"
	"    \"resources\": {\"devices\": [{\"allow\": false, \"access\": \"rwm\"}]},\n"
	"    \"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"network\"}, {\"type\": \"ipc\"}, "
	"{\"type\": \"uts\"},\n"
	"      {\"type\": \"mount\"}, {\"type\": \"cgroup\"}],\n";

/* The host's /sys and network: a user namespace alone may not mount a sysfs for a network that is not its own. */
static const char sys_of_user[] =
	"    {\"destination\": \"/sys\", \"type\": \"none\", \"source\": \"/sys\",\n"
	"      \"options\": [\"rbind\", \"nosuid\", \"noexec\", \"nodev\", \"ro\"]}\n"
	"  ],\n"
	"  \"linux\": {\n"
	"    \"uidMappings\": [{\"containerID\": 0, \"hostID\": %u, \"size\": 1}],\n"
	"    \"gidMappings\": [{\"containerID\": 0, \"hostID\": %u, \"size\": 1}],\n"
	"    \"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"ipc\"}, {\"type\": \"uts\"}, "
	"{\"type\": \"mount\"},\n"
	"      {\"type\": \"cgroup\"}, {\"type\": \"user\"}],\n";

static const char end[] =
	"    \"maskedPaths\": [\"/proc/acpi\", \"/proc/asound\", \"/proc/kcore\", \"/proc/keys\", "
	"\"/proc/latency_stats\",\n"
	"      \"/proc/timer_list\", \"/proc/timer_stats\", \"/proc/sched_debug\", "
	"\"/sys/firmware\", "
	"\"/proc/scsi\"],\n"
	"    \"readonlyPaths\": [\"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\", "
	"\"/proc/sysrq-trigger\"]\n"
	"  }\n"
	"}\n";

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(1 << 16);
	const struct settings *s = settings;
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/config.json", s->bundle ? s->bundle : ".") >=
	    sizeof(path))
		return err_sys(e, -ENAMETOOLONG, "--bundle '%s'", s->bundle);
	if (access(path, F_OK) == 0)
		return err_set(e, -EEXIST, "spec: '%s' exists; remove it first", path);
	buf_addf(&text, start, s->rootless ? "" : ", \"gid=5\"");
	if (s->rootless)
		buf_addf(&text, sys_of_user, (unsigned int)geteuid(), (unsigned int)getegid());
	else
		buf_adds(&text, sys_of_root);
	buf_adds(&text, end);
	int err = text.error ? text.error
			     : file_replace(AT_FDCWD, path, text.data, text.len, 0666, 0);

	return err ? err_sys(e, err, "spec: '%s'", path) : 0;
}

extern const struct command oci_cmd_spec;
const struct command oci_cmd_spec = {
	.name = "spec",
	.summary = "Write a config.json to start from",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
};
