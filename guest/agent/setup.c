/*
 * PID 1's first duties in a guest: the kernel's file systems, the modules that the initramfs carries, and
 * the container's root: the image as a read-only disk under an overlay whose upper side is a second disk
 * or memory.
 *
 * Trust: the host's command line and disks are trusted; the guest has nothing to defend from the host.
 * Threads: none.
 * #syscalls: mount umount2 finit_module mkdir reboot sync ioctl kill
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "os/file.h"

/* A device that the host promised appears within this. */
#define DEVICE_WAIT_NS (10ull * 1000000000)

static int mount_at(const char *type, const char *source, const char *target, unsigned long flags,
		    const char *data, struct err *e)
{
	if (mkdir(target, 0755) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "guest: create '%s'", target);
	if (mount(source, target, type, flags, data) < 0)
		return err_sys(e, -errno, "guest: mount %s '%s' on '%s'", type, source, target);
	return 0;
}

/* "warren.KEY=VALUE" words of the command line. */
static void read_option(const char *word, size_t n, struct agent_options *o)
{
	const struct {
		const char *key;
		char *dest;
	} keys[] = {
		{ "warren.control=", o->control }, { "warren.root=", o->root },
		{ "warren.upper=", o->upper },	   { "warren.net=", o->net },
		{ "warren.rootdir=", o->lower },
	};

	const char *share = str_after(word, "warren.share="),
		   *disk = str_after(word, "warren.disk=");

	if (disk && o->disks_n < AGENT_DISKS_MAX) {
		n -= (size_t)(disk - word);
		if (n < sizeof(o->disk[0])) {
			memcpy(o->disk[o->disks_n], disk, n);
			o->disk[o->disks_n++][n] = '\0';
		}
		return;
	}

	if (share && o->shares_n < AGENT_SHARES_MAX) {
		n -= (size_t)(share - word);
		if (n < sizeof(o->share[0])) {
			memcpy(o->share[o->shares_n], share, n);
			o->share[o->shares_n++][n] = '\0';
		}
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t k = strlen(keys[i].key);

		if (n > k && n - k < sizeof(o->root) && memcmp(word, keys[i].key, k) == 0) {
			memcpy(keys[i].dest, word + k, n - k);
			keys[i].dest[n - k] = '\0';
		}
	}
}

static int read_options(struct agent_options *o, struct err *e)
{
	struct buf line = BUF_INIT(4096);
	int r = file_read(AT_FDCWD, "/proc/cmdline", &line);

	if (r < 0)
		return err_sys(e, r, "guest: /proc/cmdline");
	for (const char *s = buf_str(&line); *s;) {
		size_t n = strcspn(s, " \n");

		read_option(s, n, o);
		s += n + (s[n] != '\0');
	}
	buf_fini(&line);
	return 0;
}

/* The kernel's first root cannot be pivoted away from, as containers do: a root in memory takes its place
 * (what switch_root does). */
static int leave_initramfs(struct err *e)
{
	int r = mount_at("tmpfs", "root", "/root", 0, "mode=755", e);

	if (r == 0 && (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
		       chroot(".") < 0 || chdir("/") < 0))
		r = err_sys(e, -errno, "guest: leave the initramfs");
	return r;
}

int setup_early(struct err *e)
{
	int r = leave_initramfs(e);

	if (r == 0)
		r = mount_at("devtmpfs", "dev", "/dev", MS_NOSUID, "mode=755", e);
	if (r == 0)
		r = mount_at("proc", "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, e);
	if (r == 0)
		r = mount_at("sysfs", "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, e);
	if (r == 0)
		r = mount_at("tmpfs", "tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755", e);
	return r;
}

static int insert(const char *name, struct err *e)
{
	char path[128];

	snprintf(path, sizeof(path), "/modules/%.80s.ko", name);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "guest: module '%s'", name);
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST && errno != ENODEV)
		return err_sys(e, -errno, "guest: load module '%s'", name);
	unlink(path); /* its memory is the guest's */
	return 0;
}

/* The block driver of Xen does not return before its disks are connected, and looks for that ten times a second. We
 * need not wait with it: who needs a disk waits for that. */
static int insert_aside(const char *name, struct err *e)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(e, -errno, "guest: fork");
	if (pid > 0)
		return 0;
	if (insert(name, e) < 0)
		fprintf(stderr, "warren-agent: %s\n", e->msg);
	_exit(0);
}

static bool has_xen_device(const char *kind)
{
	cleanup_closedir DIR *d = opendir("/sys/bus/xen/devices");
	bool found = false;

	for (const struct dirent *one; d && !found && (one = readdir(d));)
		found = str_after(one->d_name, kind) != NULL;
	return found;
}

/* Each costs a few milliseconds: those that this guest has no use for stay where they are. */
static bool is_wanted(const char *name, const struct agent_options *o)
{
	if (streq(name, "fuse") || streq(name, "virtiofs"))
		return o->shares_n > 0;
	if (streq(name, "virtio_net"))
		return o->net[0] != '\0';
	return !streq(name, "xen_netfront") || has_xen_device("vif-");
}

static int load_module(const char *name, const struct agent_options *o, struct err *e)
{
	if (!is_wanted(name, o))
		return 0;
	return streq(name, "xen_blkfront") ? insert_aside(name, e) : insert(name, e);
}

int setup_modules(struct agent_options *o, struct err *e)
{
	struct buf order = BUF_INIT(64 << 10);
	struct err one = ERR_INIT;
	int r = mount_at("proc", "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, e);

	if (r == 0)
		r = mount_at("sysfs", "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, e);
	if (r == 0)
		r = read_options(o, e);
	if (r < 0)
		return r;
	r = file_read(AT_FDCWD, "/modules/order", &order);
	if (r < 0) {
		buf_fini(&order);
		return r == -ENOENT ? 0 : err_sys(e, r, "guest: /modules/order");
	}
	/* One that does not load is missed by whoever needs it, with its own message. */
	for (char *save, *name = strtok_r(order.data, "\n", &save); name;
	     name = strtok_r(NULL, "\n", &save)) {
		if (load_module(name, o, &one) < 0 && r == 0) {
			r = one.code;
			*e = one;
		}
	}
	buf_fini(&order);
	return r;
}

int setup_wait_device(const char *path, struct err *e)
{
	uint64_t end = now_ns() + DEVICE_WAIT_NS;
	struct timespec pause = { 0, 500000 };

	for (;;) {
		cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			return 0;
		/* A disk's name is there a moment before the disk. */
		if ((errno != ENOENT && errno != ENXIO) || now_ns() > end)
			return err_sys(e, -errno, "guest: device '%s'", path);
		nanosleep(&pause, NULL);
	}
}

static int mount_upper(const struct agent_options *o, struct err *e)
{
	if (!o->upper[0])
		return mount_at("tmpfs", "tmpfs", AGENT_UPPER, MS_NODEV, "mode=755", e);
	int r = setup_wait_device(o->upper, e);

	return r < 0 ? r : mount_at("ext4", o->upper, AGENT_UPPER, MS_NODEV, NULL, e);
}

int setup_root(const struct agent_options *o, struct err *e)
{
	static const char *const dirs[] = { AGENT_DIR, AGENT_BUNDLE, AGENT_ROOT };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (mkdir(dirs[i], 0755) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "guest: create '%s'", dirs[i]);
	}
	if (o->lower[0])
		return mount_at(NULL, o->lower, AGENT_ROOT, MS_BIND | MS_REC, NULL, e);
	if (!o->root[0])
		return err_set(e, -ENOENT, "guest: no root disk (warren.root=) was given");
	r = setup_wait_device(o->root, e);
	if (r == 0)
		r = mount_at("erofs", o->root, AGENT_IMAGE, MS_RDONLY, NULL, e);
	if (r == 0)
		r = mount_upper(o, e);
	if (r == 0 && mkdir(AGENT_UPPER "/data", 0755) < 0 && errno != EEXIST)
		r = err_sys(e, -errno, "guest: create '%s'", AGENT_UPPER "/data");
	if (r == 0 && mkdir(AGENT_UPPER "/work", 0755) < 0 && errno != EEXIST)
		r = err_sys(e, -errno, "guest: create '%s'", AGENT_UPPER "/work");
	if (r == 0)
		r = mount_at("overlay", "root", AGENT_ROOT, 0,
			     "lowerdir=" AGENT_IMAGE ",upperdir=" AGENT_UPPER
			     "/data,workdir=" AGENT_UPPER "/work",
			     e);
	return r;
}

void setup_cgroups(void)
{
	static const char *const controllers[] = { "+cpu", "+memory", "+io", "+pids", "+cpuset" };
	struct err ignored = ERR_INIT;

	/* What the kernel has: limits that cannot be set are reported when they are asked for. */
	if (mount_at("cgroup2", "cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL,
		     &ignored) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
		file_poke(AT_FDCWD, "/sys/fs/cgroup/cgroup.subtree_control", controllers[i]);
}

int setup_freeze(bool freeze, struct err *e)
{
	sync();
	cleanup_fd int fd = open(AGENT_UPPER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Memory cannot be frozen and need not be. */
	if (fd < 0 || ioctl(fd, freeze ? FIFREEZE : FITHAW, 0) == 0 || errno == EOPNOTSUPP)
		return 0;
	return err_sys(e, -errno, "guest: %s the file system", freeze ? "freeze" : "thaw");
}

void setup_shutdown(int mode)
{
	if (getpid() != 1)
		return;
	kill(-1, SIGKILL);
	sync();
	umount2(AGENT_ROOT, MNT_DETACH);
	umount2(AGENT_UPPER, 0);
	reboot(mode ? RB_AUTOBOOT : RB_POWER_OFF);
}
