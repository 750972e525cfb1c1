/*
 * Where an entry goes. Names are cleaned as text first (a leading slash is the root, "." and empty parts
 * vanish, ".." that would climb out is refused), then the directory part is opened with RESOLVE_IN_ROOT, so
 * that a link which an earlier entry made leads nowhere else. The last directory stays open: archives list a
 * directory's files together. It cannot go stale, because only what lies in it is ever replaced before the
 * next lookup.
 *
 * Trust: every name is hostile. Threads: one. #syscalls: openat2 mkdirat close
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "unpack.h"

void place_init(struct place *p, int root)
{
	*p = (struct place){ .root = root, .parent = -1 };
}

int place_open(const struct place *p, const char *dir, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_DIRECTORY | O_CLOEXEC),
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, p->root, *dir ? dir : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Cleans `path` into "a/b/c"; dies when it leads out or is too long. */
static void clean(const char *what, const char *entry, const char *path, char out[4096])
{
	size_t len = 0;

	for (const char *p = path; *p;) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");

		if (n == 0)
			break;
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			if (!len)
				helper_die("entry '%s': %s '%s' leads out of the archive by '..'",
					   entry, what, path);
			while (len && out[--len] != '/')
				;
		} else if (n != 1 || p[0] != '.') {
			if (n > 255)
				helper_die("entry '%.64s...': %s has a part longer than 255 bytes",
					   entry, what);
			if (len + n + 2 > 4096)
				helper_die("entry '%.64s...': %s is longer than 4095 bytes", entry,
					   what);
			if (len)
				out[len++] = '/';
			memcpy(out + len, p, n);
			len += n;
		}
		p += n;
	}
	out[len] = '\0';
}

/* Cuts "a/b" into directory "a" and name "b". */
static void split(char *path, char base[256])
{
	char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;

	memcpy(base, last, strlen(last) + 1);
	*(slash ? slash : path) = '\0';
}

/* Makes each missing directory on the way; they get their owner and mode when their entry comes. */
static int make_way(const struct place *p, const char *dir)
{
	char part[4096], base[256];
	size_t n = 0;

	for (;;) {
		n += strcspn(dir + n, "/");
		memcpy(part, dir, n);
		part[n] = '\0';
		int fd = place_open(p, part, O_PATH);

		if (fd == -ENOENT) {
			split(part, base);
			cleanup_fd int up = place_open(p, part, O_PATH);

			if (up < 0)
				return up;
			if (mkdirat(up, base, 0755) < 0)
				return errno == EEXIST ? -ENOTDIR : -errno;
			memcpy(part, dir, n);
			part[n] = '\0';
			fd = place_open(p, part, O_PATH);
		}
		if (fd < 0 || !dir[n])
			return fd;
		close(fd);
		n++;
	}
}

void place_find(struct place *p, const char *what, const char *path)
{
	char dir[4096];

	clean(what, path, path, dir);
	split(dir, p->base);
	if (p->parent >= 0 && strcmp(dir, p->dir) == 0)
		return;
	close_fd(&p->parent);
	memcpy(p->dir, dir, strlen(dir) + 1);
	p->parent = place_open(p, dir, O_PATH);
	if (p->parent == -ENOENT)
		p->parent = make_way(p, dir);
	if (p->parent < 0)
		helper_die("entry '%s': directory '%s': %s", path, dir,
			   strerrordesc_np(-p->parent));
}

int place_target(const struct place *p, const char *entry, const char *path, char base[256])
{
	char dir[4096];

	clean("link target", entry, path, dir);
	split(dir, base);
	if (!*base)
		helper_die("entry '%s': hard link to the root directory", entry);
	return place_open(p, dir, O_PATH);
}
