/*
 * linux.resources and devices: how much and which hardware.
 *
 * Trust: the options are the user's; device numbers come from stat(2) of what they name. Threads: none.
 * #syscalls: newfstatat openat getdents64 close
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "bundle/make_int.h"

#define CPU_PERIOD   100000
#define PRIV_DEVICES 512

/* "1.5" -> thousandths of a percent would be lost: microseconds of quota a period. */
static int cpu_quota(struct make *m, const char *cpus, int64_t *quota)
{
	uint64_t ns;

	/* The parser of durations reads decimal numbers exactly: 1.5 "seconds" a second. */
	if (cpus[strspn(cpus, "0123456789.")] || str_to_duration(cpus, &ns))
		return err_set(m->e, -EINVAL, "--cpus '%s': expected a number such as 1.5", cpus);
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (ns < 10000000 || ns > (uint64_t)MAX(online, 1) * 1000000000)
		return err_set(m->e, -EINVAL,
			       "--cpus '%s': range of CPUs is from 0.01 to %ld.00, as this host "
			       "has %ld",
			       cpus, MAX(online, 1), MAX(online, 1));
	*quota = (int64_t)(ns / (1000000000 / CPU_PERIOD));
	return 0;
}

/* The largest number of a list. */
static unsigned long highest(const char *s)
{
	unsigned long top = 0;

	for (; *s; s += strcspn(s, "0123456789")) {
		char *end;
		unsigned long v = strtoul(s, &end, 10);

		top = MAX(top, v);
		if (end == s)
			break;
		s = end;
	}
	return top;
}

/* `online`: the file of the host that lists what there is. */
static int check_cpuset(struct make *m, const char *option, const char *s, const char *online)
{
	if (!*s || s[strspn(s, "0123456789,-")] || strstr(s, "--") || strstr(s, ",,"))
		return err_set(m->e, -EINVAL, "%s '%s': expected a list like 0-3,7", option, s);
	unsigned long top = highest(s), last;
	char have[256] = "";
	cleanup_fclose FILE *f = fopen(online, "re");

	/* Where the host does not say, the kernel judges. */
	if (!f || !fgets(have, sizeof(have), f))
		return 0;
	have[strcspn(have, "\n")] = '\0';
	last = highest(have);
	if (top > last)
		return err_set(m->e, -EINVAL, "%s '%s': this host has only %s", option, s, have);
	return 0;
}

static int make_cpu(struct make *m)
{
	const struct bundle_options *o = m->o;
	int64_t quota = o->cpu_quota, period = o->cpu_period;
	int r;

	if (o->cpus) {
		if (quota || period)
			return err_set(m->e, -EINVAL,
				       "--cpus and --cpu-period/--cpu-quota exclude each other");
		if ((r = cpu_quota(m, o->cpus, &quota)))
			return r;
		period = CPU_PERIOD;
	}
	if ((o->cpuset_cpus && (r = check_cpuset(m, "--cpuset-cpus", o->cpuset_cpus,
						 "/sys/devices/system/cpu/online"))) ||
	    (o->cpuset_mems && (r = check_cpuset(m, "--cpuset-mems", o->cpuset_mems,
						 "/sys/devices/system/node/online"))))
		return r;
	if (!quota && !period && !o->cpu_shares && !o->cpuset_cpus && !o->cpuset_mems)
		return 0;
	struct json_object *cpu = make_object(m, m->resources, "cpu");

	if (o->cpu_shares)
		make_number(m, cpu, "shares", o->cpu_shares);
	if (quota)
		make_number(m, cpu, "quota", quota);
	if (period)
		make_number(m, cpu, "period", period);
	if (o->cpuset_cpus)
		make_string(m, cpu, "cpus", o->cpuset_cpus);
	if (o->cpuset_mems)
		make_string(m, cpu, "mems", o->cpuset_mems);
	return 0;
}

static int make_memory(struct make *m)
{
	const struct bundle_options *o = m->o;
	uint64_t swap = 0;

	if (!o->memory && !o->memory_swap && !o->memory_reservation && !o->memory_swappiness &&
	    !o->oom_kill_disable)
		return 0;
	if (o->memory && o->memory < 6u << 20)
		return err_set(m->e, -EINVAL, "--memory %llu: less than 6 MiB",
			       (unsigned long long)o->memory);
	if (o->memory_swap && !streq(o->memory_swap, "-1")) {
		if (str_to_size(o->memory_swap, &swap))
			return err_set(m->e, -EINVAL, "--memory-swap '%s': not a size",
				       o->memory_swap);
		if (!o->memory || swap < o->memory)
			return err_set(m->e, -EINVAL,
				       "--memory-swap '%s': memory and swap together, so it must "
				       "be at least --memory",
				       o->memory_swap);
	}
	struct json_object *mem = make_object(m, m->resources, "memory");

	if (o->memory)
		make_number(m, mem, "limit", (int64_t)o->memory);
	if (o->memory_reservation)
		make_number(m, mem, "reservation", (int64_t)o->memory_reservation);
	if (o->memory_swap && !swap)
		make_number(m, mem, "swap", -1);
	else if (swap)
		make_number(m, mem, "swap", (int64_t)swap);
	if (o->memory_swappiness)
		make_number(m, mem, "swappiness", o->memory_swappiness - 1);
	if (o->oom_kill_disable)
		make_bool(m, mem, "disableOOMKiller", true);
	return 0;
}

/* --device-read-bps /dev/sda:1mb */
static int throttle(struct make *m, struct json_object **blkio, const char *option, const char *key,
		    const struct strlist *wishes, bool bytes)
{
	struct json_object *list = NULL;

	for (size_t i = 0; i < wishes->n; i++) {
		const char *wish = wishes->v[i], *colon = strrchr(wish, ':');
		char path[PATH_MAX];
		uint64_t rate;
		struct stat st;

		if (!colon || (size_t)(colon - wish) >= sizeof(path) ||
		    (bytes ? str_to_size(colon + 1, &rate) : str_to_u64(colon + 1, &rate)))
			return err_set(m->e, -EINVAL, "%s '%s': expected DEVICE:RATE", option,
				       wish);
		snprintf(path, sizeof(path), "%.*s", (int)(colon - wish), wish);
		if (stat(path, &st) < 0)
			return err_sys(m->e, -errno, "%s '%s'", option, wish);
		if (!S_ISBLK(st.st_mode))
			return err_set(m->e, -ENOTBLK, "%s '%s': not a block device", option, wish);
		if (!*blkio)
			*blkio = make_object(m, m->resources, "blockIO");
		if (!list)
			list = make_list(m, *blkio, key);
		struct json_object *x = make_object(m, list, NULL);

		make_number(m, x, "major", major(st.st_rdev));
		make_number(m, x, "minor", minor(st.st_rdev));
		make_set(m, x, "rate", json_object_new_uint64(rate));
	}
	return 0;
}

static int make_blkio(struct make *m)
{
	const struct bundle_options *o = m->o;
	struct json_object *blkio = NULL;
	int r;

	if (o->blkio_weight) {
		if (o->blkio_weight < 10 || o->blkio_weight > 1000)
			return err_set(m->e, -ERANGE, "--blkio-weight %lld: not from 10 to 1000",
				       (long long)o->blkio_weight);
		blkio = make_object(m, m->resources, "blockIO");
		make_number(m, blkio, "weight", o->blkio_weight);
	}
	if ((r = throttle(m, &blkio, "--device-read-bps", "throttleReadBpsDevice",
			  &o->device_read_bps, true)) ||
	    (r = throttle(m, &blkio, "--device-write-bps", "throttleWriteBpsDevice",
			  &o->device_write_bps, true)) ||
	    (r = throttle(m, &blkio, "--device-read-iops", "throttleReadIOPSDevice",
			  &o->device_read_iops, false)))
		return r;
	return throttle(m, &blkio, "--device-write-iops", "throttleWriteIOPSDevice",
			&o->device_write_iops, false);
}

int make_limits(struct make *m)
{
	int r;

	if ((r = make_cpu(m)) || (r = make_memory(m)) || (r = make_blkio(m)))
		return r;
	if (m->o->pids_limit) {
		struct json_object *pids = make_object(m, m->resources, "pids");

		make_number(m, pids, "limit", m->o->pids_limit < 0 ? -1 : m->o->pids_limit);
	}
	return 0;
}

/* major or minor -1: any */
static void rule(struct make *m, struct json_object *list, bool allow, char type, int64_t maj,
		 int64_t min, const char *access)
{
	struct json_object *o = make_object(m, list, NULL);

	make_bool(m, o, "allow", allow);
	make_string(m, o, "type", (char[]){ type, 0 });
	if (maj >= 0)
		make_number(m, o, "major", maj);
	if (min >= 0)
		make_number(m, o, "minor", min);
	make_string(m, o, "access", access);
}

static void device(struct make *m, struct json_object *list, const char *path,
		   const struct stat *st)
{
	struct json_object *o = make_object(m, list, NULL);

	make_string(m, o, "path", path);
	make_string(m, o, "type", S_ISBLK(st->st_mode) ? "b" : "c");
	make_number(m, o, "major", major(st->st_rdev));
	make_number(m, o, "minor", minor(st->st_rdev));
	make_number(m, o, "fileMode", st->st_mode & 0777);
	make_number(m, o, "uid", m->user_ns ? 0 : st->st_uid);
	make_number(m, o, "gid", m->user_ns ? 0 : st->st_gid);
}

/* --device HOST[:INSIDE[:rwm]] */
static int wished_device(struct make *m, const char *wish, struct json_object *list,
			 struct json_object *rules)
{
	cleanup_free char *host = strdup(wish);
	struct stat st;

	if (!host)
		return -ENOMEM;
	char *inside = strchr(host, ':'), *access = NULL;

	if (inside) {
		*inside++ = '\0';
		access = strchr(inside, ':');
		if (access)
			*access++ = '\0';
		if (!access && inside[0] != '/') {
			access = inside;
			inside = NULL;
		}
	}
	access = access && *access ? access : NULL;
	inside = inside && *inside ? inside : host;
	if (access && access[strspn(access, "rwm")])
		return err_set(m->e, -EINVAL, "--device '%s': '%s' is not made of r, w and m", wish,
			       access);
	if (inside[0] != '/' || strstr(inside, ".."))
		return err_set(m->e, -EINVAL, "--device '%s': '%s' is not an absolute path", wish,
			       inside);
	if (stat(host, &st) < 0)
		return err_sys(m->e, -errno, "--device '%s'", wish);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(m->e, -ENODEV, "--device '%s': not a device", wish);
	device(m, list, inside, &st);
	if (rules)
		rule(m, rules, true, S_ISBLK(st.st_mode) ? 'b' : 'c', major(st.st_rdev),
		     minor(st.st_rdev), access ? access : "rwm");
	return 0;
}

/* Every device of the host's /dev and its first level of directories, for --privileged. */
static void host_devices(struct make *m, const char *dir, int depth, struct json_object *list,
			 int *count)
{
	static const char *const skip[] = { "pts",  "shm",  "fd",    "mqueue", "console",
					    "null", "zero", "full",  "random", "urandom",
					    "tty",  "ptmx", "stdin", "stdout", "stderr" };
	cleanup_closedir DIR *d = opendir(dir);

	for (struct dirent *x; d && (x = readdir(d)) && *count < PRIV_DEVICES;) {
		char path[PATH_MAX];
		struct stat st;
		bool skipped = x->d_name[0] == '.';

		for (size_t i = 0; i < ARRAY_SIZE(skip) && depth == 0; i++)
			skipped |= streq(x->d_name, skip[i]);
		if (skipped || snprintf(path, sizeof(path), "%s/%s", dir, x->d_name) < 0 ||
		    lstat(path, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < 2)
			host_devices(m, path, depth + 1, list, count);
		else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
			device(m, list, path, &st);
			(*count)++;
		}
	}
}

/* --device-cgroup-rule "c 1:3 rwm" */
static int wished_rule(struct make *m, const char *wish, struct json_object *rules)
{
	char type, maj[16], min[16], access[8];
	int64_t a = -1, b = -1;

	if (sscanf(wish, "%c %15[0-9*]:%15[0-9*] %7[rwm]", &type, maj, min, access) != 4 ||
	    !strchr("abc", type) || (!streq(maj, "*") && str_to_i64(maj, &a)) ||
	    (!streq(min, "*") && str_to_i64(min, &b)))
		return err_set(m->e, -EINVAL,
			       "--device-cgroup-rule '%s': expected 'TYPE MAJOR:MINOR rwm'", wish);
	rule(m, rules, true, type, a, b, access);
	return 0;
}

int make_devices(struct make *m)
{
	static const struct {
		int64_t major, minor;
	} usual[] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 },	{ 1, 9 },
		      { 5, 0 }, { 5, 1 }, { 5, 2 }, { 136, -1 } };
	struct json_object *rules = NULL, *list = NULL;
	int count = 0, r = 0;

	if (!m->user_ns) {
		rules = make_list(m, m->resources, "devices");
		rule(m, rules, m->o->privileged, 'a', -1, -1, "rwm");
	}
	if (rules && !m->o->privileged) {
		rule(m, rules, true, 'c', -1, -1, "m");
		rule(m, rules, true, 'b', -1, -1, "m");
		for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
			rule(m, rules, true, 'c', usual[i].major, usual[i].minor, "rwm");
	}
	if (m->o->devices.n || (m->o->privileged && !m->user_ns))
		list = make_list(m, m->linux_, "devices");
	if (m->o->privileged && !m->user_ns)
		host_devices(m, "/dev", 0, list, &count);
	for (size_t i = 0; !r && i < m->o->devices.n; i++)
		r = wished_device(m, m->o->devices.v[i], list, rules);
	for (size_t i = 0; !r && rules && i < m->o->device_cgroup_rules.n; i++)
		r = wished_rule(m, m->o->device_cgroup_rules.v[i], rules);
	return r;
}
