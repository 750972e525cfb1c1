/*
 * What `run` and `create` have in common: one option table, and from settings to an instance.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: openat write close
 */
#include "cli/opt_run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "cli/run_options.h"
#include "os/file.h"
#include "run/guest.h"
#include "wire/xldisk.h"

#define T struct run_settings

/* Wishes for guests travel to the wall as annotations of config.json. */
static int annotate(struct strlist *annotations, const char *key, const char *value, struct err *e)
{
	cleanup_free char *text = NULL;

	if (asprintf(&text, "%s=%s", key, value) < 0)
		return err_sys(e, -ENOMEM, "annotation");
	int r = strlist_add(annotations, text);

	return r ? err_sys(e, r, "annotation") : 0;
}

static int wish_kernel(const char *value, void *dest, struct err *e)
{
	cleanup_free char *path = strchr(value, '/') ? realpath(value, NULL) : NULL;

	return annotate(dest, GUEST_KERNEL, path ? path : value, e);
}

static int wish_append(const char *value, void *dest, struct err *e)
{
	return annotate(dest, GUEST_APPEND, value, e);
}

static int wish_initrd(const char *value, void *dest, struct err *e)
{
	cleanup_free char *path = realpath(value, NULL);

	if (!path)
		return err_sys(e, -errno, "'%s'", value);
	return annotate(dest, GUEST_INITRD, path, e);
}

static int wish_cpu(const char *value, void *dest, struct err *e)
{
	return annotate(dest, GUEST_CPU, value, e);
}

static int wish_vcpus(const char *value, void *dest, struct err *e)
{
	return annotate(dest, GUEST_VCPUS, value, e);
}

static int wish_pv_memory(const char *value, void *dest, struct err *e)
{
	return annotate(dest, GUEST_PV_MEMORY, value, e);
}

/* A path of the user's working directory becomes absolute; each disk has an annotation of its own. */
static int wish_disk(const char *value, void *dest, struct err *e)
{
	struct strlist *annotations = dest;
	static struct xl_disk d;
	char key[sizeof(GUEST_DISK) + 16], path[PATH_MAX];
	unsigned n = 0;
	int r = xl_disk_parse(value, &d, e);

	if (r)
		return r;
	if (!realpath(d.path, path))
		return err_sys(e, -errno, "'%s'", d.path);
	for (size_t i = 0; i < annotations->n; i++)
		n += str_after(annotations->v[i], GUEST_DISK ".") != NULL;
	snprintf(key, sizeof(key), GUEST_DISK ".%u", n);
	cleanup_free char *text = xl_disk_format(&d, path);

	return text ? annotate(annotations, key, text, e) : err_sys(e, -ENOMEM, "disk");
}

/* clang-format off */
#define BOTH \
	OPT_STRING(0, "name", "NAME", T, name, "Name of the instance"), \
	OPT_STRING(0, "rootfs", "DIR", T, rootfs, "Run from a directory; no image is named then", \
		   .complete = COMPLETE_DIR), \
	OPT_STRING(0, "isolation", "WALL[,WALL...]", T, isolation, \
		   "container, pv or vm; a list is tried in its order"), \
	OPT_BOOL(0, "vm", T, vm, "As --isolation vm"), \
	OPT_BOOL(0, "pv", T, pv, "As --isolation pv"), \
	OPT_CALL(0, "kernel", "NAME|FILE", T, bundle.annotations, \
		 "Guest kernel of warren kernel ls, or its file (default: warren kernel default)", \
		 .call = wish_kernel, .complete = COMPLETE_FILE), \
	OPT_CALL(0, "initrd", "FILE", T, bundle.annotations, \
		 "Files for a guest's initramfs, besides its agent", .call = wish_initrd, \
		 .complete = COMPLETE_FILE), \
	OPT_CALL(0, "cpu-template", "NAME", T, bundle.annotations, \
		 "vm: host, x86-64-v2 or x86-64-v3 (host)", .call = wish_cpu), \
	OPT_CALL(0, "append", "WORDS", T, bundle.annotations, "More for the guest kernel's command line", \
		 .call = wish_append), \
	OPT_CALL(0, "vcpus", "NUMBER", T, bundle.annotations, "Virtual CPUs of a guest (1)", \
		 .call = wish_vcpus), \
	OPT_CALL(0, "pv-memory", "MODE", T, bundle.annotations, \
		 "pv: merged or isolated address spaces", .choices = "auto|merged|isolated", \
		 .call = wish_pv_memory), \
	OPT_CALL(0, "disk", "FILE[,FORMAT[,DEVICE[,ACCESS]]]", T, bundle.annotations, \
		 "A disk for a guest: raw or qcow2, xvdc to xvdp, rw or ro; iops=N, bps=N limit it", .call = wish_disk, \
		 .complete = COMPLETE_FILE), \
	OPT_BOOL(0, "rm", T, rm, "Remove the instance when it has ended"), \
	OPT_STRING(0, "restart", "POLICY", T, restart, \
		   "no, on-failure[:N], always or unless-stopped"), \
	OPT_STRING(0, "stop-signal", "SIGNAL", T, stop_signal, "Signal that stops it (SIGTERM)"), \
	OPT_STRING(0, "stop-timeout", "SECONDS", T, stop_timeout, \
		   "Time until SIGKILL, -1: never (10)"), \
	OPT_DURATION(0, "timeout", "TIME", T, timeout_ns, "End it after this time, exit status 124"), \
	OPT_STRING(0, "health-cmd", "COMMAND", T, health.cmd, \
		   "Ask with this command how the instance is; none: do not ask"), \
	OPT_DURATION(0, "health-interval", "TIME", T, health.interval, "Time between checks (30s)"), \
	OPT_DURATION(0, "health-timeout", "TIME", T, health.timeout, \
		     "A check that takes longer has failed (30s)"), \
	OPT_STRING(0, "health-retries", "NUMBER", T, health.retries, \
		   "Failures in a row that make it unhealthy (3)"), \
	OPT_DURATION(0, "health-start-period", "TIME", T, health.start_period, \
		     "Failures do not count this long after the start"), \
	OPT_DURATION(0, "health-start-interval", "TIME", T, health.start_interval, \
		     "Time between checks in the start period (5s)"), \
	OPT_BOOL(0, "no-healthcheck", T, health.none, "Without the image's check"), \
	OPT_STRING(0, "cidfile", "FILE", T, cidfile, "Write the instance's id to a new file", \
		   .complete = COMPLETE_FILE), \
	OPT_STRING(0, "log-driver", "DRIVER", T, log_driver, "json-file or none"), \
	OPT_LIST(0, "log-opt", "NAME=VALUE", T, log_opts, "max-size=SIZE, max-file=NUMBER"), \
	OPT_LIST('p', "publish", "[HOST:]PORT", T, publish, "Publish a port"), \
	OPT_BOOL('P', "publish-all", T, publish_all, "Publish every port that the image exposes"), \
	OPT_STRING(0, "pull", "always|missing|never", T, pull, "When to pull the image (missing)", \
		   .choices = "always|missing|never"), \
	OPT_STRING(0, "platform", "OS/ARCH", T, platform, "Platform of the image"), \
	OPT_LIST('a', "attach", "STREAM", T, attach, "Attach only stdin, stdout or stderr"), \
	OPT_GROUP(run_bundle_opts, T, bundle)

const struct opt run_opts[] = {
	OPT_BOOL('d', "detach", T, detach, "Leave it running and print its id"),
	OPT_STRING(0, "detach-keys", "KEYS", T, detach_keys,
		   "Keys that leave an attached terminal (ctrl-p,ctrl-q)"),
	OPT_STRING(0, "sig-proxy", "true|false", T, sig_proxy, "Pass signals on (true)",
		   .choices = "true|false"),
	BOTH,
	OPT_END,
};

const struct opt run_create_opts[] = {
	BOTH,
	OPT_END,
};
/* clang-format on */

static int wish_isolation(const struct run_settings *set, const char **wish, struct err *e)
{
	if ((set->vm && set->pv) || ((set->vm || set->pv) && set->isolation))
		return err_set(e, -EINVAL, "--vm, --pv and --isolation exclude each other");
	*wish = set->vm ? "vm" : set->pv ? "pv" : set->isolation;
	return 0;
}

static int check_ports(const struct run_settings *set, struct err *e)
{
	if (!set->publish.n && !set->publish_all)
		return 0;
	return err_set(e, -EOPNOTSUPP,
		       "--publish: no port is forwarded here. Fix: leave it out, and use "
		       "--network host where the instance shall be reached");
}

static int stop_timeout(const char *s, int64_t *out, struct err *e)
{
	*out = LAUNCH_STOP_TIMEOUT_DEFAULT;
	if (!s)
		return 0;
	if (str_to_i64(s, out) || *out < -1 || *out > 1000000)
		return err_set(e, -EINVAL, "--stop-timeout '%s': expected seconds, or -1", s);
	return 0;
}

static int write_cidfile(const char *path, const char *id, struct err *e)
{
	if (!path)
		return 0;
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : write_full(fd, id, strlen(id));

	return r ? err_sys(e, r, "--cidfile '%s'", path) : 0;
}

int run_create(const struct run_settings *set, int argc, char **argv, const char *root,
	       struct subject *s, struct err *e)
{
	struct launch l = {
		.options = &set->bundle,
		.rootfs = set->rootfs,
		.id = set->id,
		.name = set->name,
		.platform = set->platform,
		.auto_remove = set->rm,
		.stdin_once = set->bundle.interactive && !set->detach,
		.stop_signal = set->stop_signal,
		.log_driver = set->log_driver,
		.log_opts = &set->log_opts,
		.publish = &set->publish,
		.timeout_ns = set->timeout_ns,
		.health = &set->health,
	};
	bool no_image = false;
	int r = wish_isolation(set, &l.isolation, e);

	*s = (struct subject)SUBJECT_INIT;
	if (!r)
		r = check_ports(set, e);
	if (!r)
		r = stop_timeout(set->stop_timeout, &l.stop_timeout, e);
	if (!r && set->restart)
		r = restart_policy_parse(set->restart, &l.restart_policy, &l.restart_max, e);
	if (!r && !set->rootfs && argc < 1)
		r = err_set(e, -EINVAL, "an image is needed, or --rootfs DIR");
	if (!r && set->cidfile && access(set->cidfile, F_OK) == 0)
		r = err_set(e, -EEXIST, "--cidfile '%s': exists already", set->cidfile);
	if (r)
		return r;
	l.image = set->rootfs ? NULL : argv[0];
	l.args = set->rootfs ? argv : argv + 1;
	const char *when = set->pull ? set->pull : "missing";

	if (l.image && streq(when, "always"))
		r = images_pull(l.image, set->platform, e);
	if (!r)
		r = launch_create(&l, root, s, &no_image, e);
	if (r == -ENOENT && no_image && streq(when, "missing")) {
		fprintf(stderr, "Unable to find image '%s'%s%s locally\n", l.image,
			l.platform ? " for " : "", l.platform ? l.platform : "");
		err_clear(e);
		r = images_pull(l.image, set->platform, e);
		if (!r)
			r = launch_create(&l, root, s, &no_image, e);
	}
	if (r == -ENOENT && no_image && !streq(when, "missing"))
		err_set(e, r,
			"image '%s': there is none of this name%s%s here. Fix: warren pull "
			"%s%s%s%s",
			l.image, l.platform ? " for " : "", l.platform ? l.platform : "",
			l.platform ? "--platform " : "", l.platform ? l.platform : "",
			l.platform ? " " : "", l.image);
	if (r)
		return r;
	r = write_cidfile(set->cidfile, s->in.id, e);
	if (r)
		subject_fini(s);
	return r;
}
