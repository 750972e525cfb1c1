/*
 * What a guest writes stays until the instance is removed, as behind the container wall: a sparse ext4 image
 * in the instance's own directory, the upper side of the overlay inside. It is made by mkfs.ext4 under
 * another name and renamed, so that a killed first start leaves none that is half made.
 *
 * For commit and export it is shown to the host again by fuse2fs, a process that reads ext4 by itself.
 *
 * Trust: the image belongs to the guest; the host's kernel never mounts it. Threads: none.
 * #syscalls: openat ftruncate renameat unlinkat mkdir umount2
 */
#include "run/guest_upper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/spawn.h"
#include "os/tree.h"
#include "run/guest_root.h"

/* Sparse: it takes what is written. */
#define UPPER_SIZE (16ll << 30)

static int format(const char *path, struct err *e)
{
	const char *const argv[] = {
		"mkfs.ext4",
		"-q",
		"-F",
		"-m",
		"0",
		"-i",
		"65536",
		"-G",
		"4096",
		"-J",
		"size=4",
		"-E",
		"lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0",
		path,
		NULL,
	};
	int stderr_fd;
	pid_t pid;
	int r = spawn_with_stderr(&pid, argv[0], argv, (const int[3]){ -1, -1, -1 }, &stderr_fd, e);

	/* An ordinary user's PATH often lacks the directory where distributions keep it. */
	if (r == -ENOENT) {
		err_clear(e);
		r = spawn_with_stderr(&pid, "/sbin/mkfs.ext4", argv, (const int[3]){ -1, -1, -1 },
				      &stderr_fd, e);
	}
	if (r == -ENOENT)
		return err_set(e, r, "mkfs.ext4: not installed. Fix: apt-get install e2fsprogs");
	return r < 0 ? r : spawn_finish(pid, stderr_fd, "mkfs.ext4", e);
}

static int make(const char *path, struct err *e)
{
	char fresh[PATH_MAX + 8];

	snprintf(fresh, sizeof(fresh), "%s.new", path);
	cleanup_fd int fd = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = 0;

	if (fd < 0 || ftruncate(fd, UPPER_SIZE) < 0)
		r = err_sys(e, -errno, "create '%s'", fresh);
	if (r == 0)
		r = format(fresh, e);
	if (r < 0)
		guest_space_mend(e, path);
	if (r == 0 && rename(fresh, path) < 0)
		r = err_sys(e, -errno, "rename to '%s'", path);
	if (r < 0)
		unlink(fresh);
	return r;
}

int guest_upper_open(const struct container_overlay *layers, int *fd, struct err *e)
{
	char path[PATH_MAX];

	*fd = -1;
	if (!layers || !layers->upper || layers->is_volatile)
		return 0;
	const char *slash = strrchr(layers->upper, '/');
	int n = snprintf(path, sizeof(path), "%.*s", slash ? (int)(slash - layers->upper) : 0,
			 layers->upper);
	int r = tree_make(path);

	if (r < 0)
		return err_sys(e, r, "create '%s'", path);
	if (n < 1 || (size_t)n + 12 > sizeof(path))
		return err_sys(e, -ENAMETOOLONG, "the guest's disk");
	snprintf(path + n, sizeof(path) - (size_t)n, "/guest.ext4");
	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd < 0 && errno == ENOENT) {
		r = make(path, e);
		if (r < 0)
			return err_wrap(e, "the guest's disk");
		*fd = open(path, O_RDWR | O_CLOEXEC);
	}
	return *fd < 0 ? err_sys(e, -errno, "open '%s'", path) : 0;
}

int guest_upper_show(struct subject *s, char *path, size_t size, struct err *e)
{
	char disk[PATH_MAX], view[PATH_MAX];
	const char *argv[] = { "fuse2fs", "-o", "ro,nosuid,nodev", disk, view, NULL };
	int complaint;
	pid_t pid;

	snprintf(disk, sizeof(disk), "%s/guest.ext4", s->rec.disk ? s->rec.disk : "");
	snprintf(view, sizeof(view), "%s/view", s->rec.disk ? s->rec.disk : "");
	if (!s->wall || !s->wall->guest) {
		int n = snprintf(path, size, "%s/upper", s->rec.disk ? s->rec.disk : "");

		return n < 0 || (size_t)n >= size ? err_sys(e, -ENAMETOOLONG, "'%s'", s->rec.disk)
						  : 0;
	}
	if (subject_alive(s))
		return err_set(
			e, -EBUSY,
			"'%s' runs: its files are the guest's until it has ended. Fix: warren "
			"stop %s",
			s->rec.name, s->rec.name);
	if (access(disk, F_OK) < 0)
		return err_set(e, -ENOENT, "'%s' has written nothing that was kept", s->rec.name);
	if (geteuid() != 0)
		return err_set(e, -EPERM, "the disk of guest '%s' is only shown to root",
			       s->rec.name);
	if (mkdir(view, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "'%s'", view);
	int r = spawn_with_stderr(&pid, argv[0], argv, (const int[3]){ -1, -1, -1 }, &complaint, e);

	if (r == -ENOENT)
		return err_set(e, r, "fuse2fs: not installed. Fix: apt-get install fuse2fs");
	/* It goes on in the background once the tree is there, and lets go of nothing before: its end is not waited for
	 * through its standard error. */
	r = r < 0 ? r : spawn_finish(pid, complaint, "fuse2fs", e);
	if (r)
		return r;
	if (snprintf(path, size, "%s/data", view) >= (int)size)
		return err_sys(e, -ENAMETOOLONG, "'%s'", view);
	/* The guest wrote this disk: a link here would lead into the host's own files. */
	struct stat st;

	if (lstat(path, &st) < 0)
		return err_sys(e, -errno, "'%s'", path);
	return S_ISDIR(st.st_mode) ? 0 : err_sys(e, -ENOTDIR, "'%s'", path);
}

void guest_upper_hide(const char *disk)
{
	char view[PATH_MAX];

	if (!*disk)
		return;
	snprintf(view, sizeof(view), "%s/view", disk);
	if (access(view, F_OK) == 0) {
		umount2(view, MNT_DETACH);
		rmdir(view);
	}
}
