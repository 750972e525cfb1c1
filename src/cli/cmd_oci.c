/*
 * warren oci: the runtime that podman, containerd and scripts drive (runtime.md of the runtime-spec, and
 * runc's command line). Options stand before the verb; errors also go to --log, one JSON object a line with
 * --log-format json, which is where callers look for the reason.
 *
 * Trust: the caller is trusted, config.json is parsed as hostile. Threads: none. #syscalls: openat write
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "cli/oci.h"
#include "wire/json.h"

struct oci_globals oci;

static const struct opt opts[] = {
	OPT_STRING(0, "root", "DIR", struct oci_globals, root,
		   "Keep the containers' state in DIR (/run/warren)", .complete = COMPLETE_DIR),
	OPT_STRING(0, "log", "FILE", struct oci_globals, log, "Append errors and warnings to FILE",
		   .complete = COMPLETE_FILE),
	OPT_STRING(0, "log-format", "FORMAT", struct oci_globals, log_format,
		   "How lines in the log look: text or json", .choices = "text|json"),
	OPT_BOOL(0, "systemd-cgroup", struct oci_globals, systemd_cgroup,
		 "Let systemd make the control groups: cgroupsPath is slice:prefix:name"),
	OPT_STRING(0, "cgroup-manager", "NAME", struct oci_globals, cgroup_manager,
		   "The same as a name: cgroupfs or systemd",
		   .choices = "cgroupfs|systemd|disabled"),
	OPT_BOOL(0, "debug", struct oci_globals, debug, "Log more"),
	OPT_STRING(0, "rootless", "BOOL", struct oci_globals, rootless,
		   "Accepted for compatibility: the user decides"),
	OPT_STRING(0, "criu", "PATH", struct oci_globals, criu,
		   "The criu to use for checkpoint and restore", .complete = COMPLETE_FILE),
	OPT_BOOL('v', "version", struct oci_globals, version,
		 "Print the version, and nothing else"),
	OPT_END,
};

static int log_fd = -1;

static void log_line(const char *level, const char *text)
{
	struct buf line = BUF_INIT(8192);
	struct timespec now;
	struct tm tm;
	char stamp[32];

	if (log_fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (oci.log_format && streq(oci.log_format, "json")) {
		buf_addf(&line, "{\"level\":\"%s\",\"msg\":", level);
		json_put_string(&line, text);
		buf_addf(&line, ",\"time\":\"%s\"}\n", stamp);
	} else {
		buf_addf(&line, "time=\"%s\" level=%s msg=", stamp, level);
		json_put_string(&line, text);
		buf_addc(&line, '\n');
	}
	if (!line.error && write(log_fd, line.data, line.len) < 0)
		fprintf(stderr, "warning: %s: %s\n", oci.log, strerror(errno));
	buf_fini(&line);
}

static void on_error(const char *text)
{
	log_line("error", text);
}

static void on_log(enum log_level level, const char *line, void *arg)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };

	(void)arg;
	if (log_fd < 0 || strcmp(oci.log, "/dev/stderr") == 0)
		fprintf(stderr, "%s: %s\n", names[level], line);
	log_line(names[level], line);
}

static int open_log(struct err *e)
{
	if (oci.log && *oci.log) {
		log_fd = open(oci.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
		if (log_fd < 0)
			return err_sys(e, -errno, "--log '%s'", oci.log);
	}
	log_set_sink(on_log, NULL, oci.debug ? LEVEL_DEBUG : LEVEL_WARN);
	cli_on_error(on_error);
	return 0;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const char *wall = oci.wall;

	oci = *(struct oci_globals *)settings;
	oci.wall = wall;
	if (oci.cgroup_manager && streq(oci.cgroup_manager, "systemd"))
		oci.systemd_cgroup = true;
	if (oci.version) {
		cli_print_version();
		return 0;
	}
	if (!argc) {
		help_command(stderr, "warren oci", &cmd_oci);
		return EXIT_WARREN;
	}
	int err = open_log(e);

	if (err)
		return err;
	const struct command *verb = cli_find(oci_commands, argv[0]);

	if (!verb)
		return err_set(e, -EINVAL, "oci: unknown command '%s'. See 'warren oci --help'",
			       argv[0]);
	return cli_run(verb, "warren oci", argc, argv);
}

const struct command cmd_oci = {
	.name = "oci",
	.args = "COMMAND [ARG...]",
	.summary = "Act as an OCI runtime for podman, containerd and others",
	.text = "The options stand before COMMAND. As warren-oci, warren-oci-pv and warren-oci-vm "
		"the "
		"program takes the same words without 'oci', and the name chooses the wall.",
	.opts = opts,
	.settings_size = sizeof(struct oci_globals),
	.run = run,
	.stop_at_arg = true,
	.max_args = -1,
	.subs = oci_commands,
};
