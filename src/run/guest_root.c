/*
 * The root disk of a guest, made by mkfs.erofs from the image's layers: uncompressed, since the host's page
 * cache keeps it and guests then read at the speed of memory. One file for each set of layers below the data
 * directory; it is made under a temporary name and renamed, so that two first starts at once both win.
 *
 * mkfs.erofs runs in a mount namespace of its own in which the layers are one overlay. An ordinary user's
 * layers belong to subordinate ids: there it runs as root of a user namespace with the user's map, which reads
 * every file and finds the owners that the image means.
 *
 * Trust: file names and content are the image's; mkfs.erofs reads them as data. Threads: none.
 * #syscalls: open mkdir rename unlink fork unshare mount statx symlink readlinkat execve wait4 getdents64
 */
#include "run/guest_root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/spawn.h"
#include "os/tree.h"
#include "run/inner.h"
#include "wire/sha256.h"

/* Lower directories are named relative to this many characters of mount options. */
#define OPTIONS_MAX 4000

void guest_space_mend(struct err *e, const char *dir)
{
	struct err why = *e;

	if (why.code && strstr(why.msg, "No space left"))
		err_set(e, why.code, "%s. Fix: free space below '%s', or set WARREN_DATA", why.msg,
			dir);
}

static int store_path(char *out, size_t size, struct err *e)
{
	char data[PATH_MAX];
	int r = paths_data(data, sizeof(data), e);

	if (r < 0)
		return r;
	if ((size_t)snprintf(out, size, "%s/guest-roots", data) >= size)
		return err_sys(e, -ENAMETOOLONG, "guest root");
	r = tree_make(out);
	return r < 0 ? err_sys(e, r, "create '%s'", out) : 0;
}

/* What mkfs.erofs is to do. */
struct making {
	const struct container_overlay *layers; /* or */
	const char *dir;
	char *scratch;
	const char *to;
	bool rootless;
};

/* In the child: several layers become one directory. Returns it, or NULL with errno. */
static const char *merge(const struct container_overlay *layers, char *scratch, bool rootless)
{
	struct buf options = BUF_INIT(OPTIONS_MAX);

	if (!layers->lower[1])
		return layers->lower[0];
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return NULL;
	buf_adds(&options, rootless ? "userxattr,lowerdir=" : "lowerdir=");
	for (size_t i = 0; layers->lower[i]; i++) {
		for (const char *s = layers->lower[i]; *s; s++) {
			if (*s == ':' || *s == ',' || *s == '\\')
				buf_addc(&options, '\\');
			buf_addc(&options, *s);
		}
		if (layers->lower[i + 1])
			buf_addc(&options, ':');
	}
	if (options.error) {
		errno = E2BIG;
		return NULL;
	}
	return mount("overlay", scratch, "overlay", MS_RDONLY, options.data) < 0 ? NULL : scratch;
}

static void __attribute__((noreturn)) child(const struct making *m, int stderr_fd)
{
	const char *from = m->dir ? m->dir : merge(m->layers, m->scratch, m->rootless);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, 0);
	dup2(null, 1);
	dup2(stderr_fd, 2);
	if (!from) {
		dprintf(2, "merge the layers: %s\n", strerrordesc_np(errno));
		_exit(1);
	}
	execlp("mkfs.erofs", "mkfs.erofs", "--quiet", "--preserve-mtime", m->to, from,
	       (char *)NULL);
	if (errno == ENOENT)
		dprintf(2, "not installed. Fix: apt-get install erofs-utils\n");
	else
		dprintf(2, "%s\n", strerrordesc_np(errno));
	_exit(127);
}

/* Makes the file. 0 or -errno. */
static int make_image(void *arg, struct err *e)
{
	const struct making *m = arg;
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "guest root: pipe");
	pid_t pid = fork();

	if (pid == 0)
		child(m, p[1]);
	close(p[1]);
	if (pid < 0) {
		close(p[0]);
		return err_sys(e, -errno, "guest root: fork");
	}
	return spawn_finish(pid, p[0], "mkfs.erofs", e);
}

/* A new image at a temporary name; renamed to `final` unless NULL. The descriptor or -errno. */
static int make_and_open(const struct container_overlay *layers, const char *dir, const char *store,
			 const char *final, struct err *e)
{
	char scratch[PATH_MAX + 32], to[PATH_MAX + 64];
	int fd = -1;

	snprintf(scratch, sizeof(scratch), "%s/.new-XXXXXX", store);
	if (!mkdtemp(scratch))
		return err_sys(e, -errno, "create '%s'", scratch);
	snprintf(to, sizeof(to), "%s.erofs", scratch);
	struct making m = { layers, dir, scratch, to, geteuid() != 0 };
	int r = inner_root(0, make_image, &m, e);

	if (r < 0)
		guest_space_mend(e, store);

	if (r == 0) {
		fd = open(to, O_RDONLY | O_CLOEXEC);
		r = fd < 0 ? err_sys(e, -errno, "open '%s'", to) : 0;
	}
	if (r == 0 && final && rename(to, final) < 0)
		r = err_sys(e, -errno, "rename to '%s'", final);
	if (r < 0 || !final)
		unlink(to);
	rmdir(scratch);
	if (r < 0)
		close_fd(&fd);
	return r < 0 ? r : fd;
}

/* Which layers: their places may be used again for others, their inodes with these birth times not. */
static int layers_key(const struct container_overlay *layers, char *out, struct err *e)
{
	uint8_t digest[32];
	struct sha256 h;

	sha256_init(&h);
	for (size_t i = 0; layers->lower[i]; i++) {
		struct statx st;

		if (statx(AT_FDCWD, layers->lower[i], 0, STATX_INO | STATX_BTIME, &st) < 0)
			return err_sys(e, -errno, "guest root: layer '%s'", layers->lower[i]);
		const uint64_t id[4] = { st.stx_ino,
					 (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor,
					 (uint64_t)st.stx_btime.tv_sec, st.stx_btime.tv_nsec };

		sha256_add(&h, id, sizeof(id));
		sha256_add(&h, layers->lower[i], strlen(layers->lower[i]) + 1);
	}
	sha256_finish(&h, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

/* Whether the topmost layer that an image was made of is gone, by the link KEY.from: those below may be others' too. */
static bool layers_gone(int store, const char *key)
{
	char name[80], to[PATH_MAX];
	int n = snprintf(name, sizeof(name), "%s.from", key);
	ssize_t len = n < 0 ? -1 : readlinkat(store, name, to, sizeof(to) - 1);

	if (len <= 0)
		return len < 0 && errno == ENOENT;
	to[len] = '\0';
	return access(to, F_OK) < 0 && errno == ENOENT;
}

/* Images of layers that were collected go with them; guests that run keep theirs open. Bytes that came free. */
static uint64_t prune(const char *store)
{
	uint64_t freed = 0;

	cleanup_closedir DIR *d = opendir(store);

	for (struct dirent *de; d && (de = readdir(d));) {
		char key[65], name[80];

		if (strlen(de->d_name) != 64 + strlen(".erofs") || !str_ends(de->d_name, ".erofs"))
			continue;
		memcpy(key, de->d_name, 64);
		key[64] = '\0';
		if (!layers_gone(dirfd(d), key))
			continue;
		struct stat st;

		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    unlinkat(dirfd(d), de->d_name, 0) == 0)
			freed += (uint64_t)st.st_blocks * 512;
		snprintf(name, sizeof(name), "%s.from", key);
		unlinkat(dirfd(d), name, 0);
	}
	return freed;
}

uint64_t guest_roots_collect(void)
{
	char data[PATH_MAX], store[PATH_MAX + 16];

	/* No store: nothing to collect. */
	if (paths_data(data, sizeof(data), NULL) < 0)
		return 0;
	snprintf(store, sizeof(store), "%s/guest-roots", data);
	return prune(store);
}

/* The cached image of the layers, made when it is missing. */
static int open_cached(const struct container_overlay *layers, const char *store, struct err *e)
{
	char path[PATH_MAX + 80], from[PATH_MAX + 80], key[65];
	int r = layers_key(layers, key, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/%s.erofs", store, key);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : err_sys(e, -errno, "open '%s'", path);
	prune(store);
	/* The link first: an image without one would be pruned. */
	snprintf(from, sizeof(from), "%s/%s.from", store, key);
	if (symlink(layers->lower[0], from) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "create '%s'", from);
	return make_and_open(layers, NULL, store, path, e);
}

int guest_root_open(const struct container_overlay *layers, const char *root, const char *bundle,
		    struct err *e)
{
	char store[PATH_MAX], path[PATH_MAX * 2];
	int r = store_path(store, sizeof(store), e);

	if (r < 0)
		return r;
	if (layers && layers->lower && layers->lower[0]) {
		int fd = open_cached(layers, store, e);

		return fd < 0 ? err_wrap(e, "guest root") : fd;
	}
	if (!root)
		return err_set(e, -EINVAL, "guest root: config.json has no root.path");
	snprintf(path, sizeof(path), "%s%s%s", root[0] == '/' ? "" : bundle,
		 root[0] == '/' ? "" : "/", root);
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(e, -errno, "guest root: '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "guest root: '%s' is not a directory", path);
	int fd = make_and_open(NULL, path, store, NULL, e);

	return fd < 0 ? err_wrap(e, "guest root '%s'", path) : fd;
}
