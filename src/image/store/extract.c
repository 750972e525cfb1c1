/*
 * Files out of an image: into a volume that begins with them, or for a build's next stage. What the layers show is mounted
 * in a mount namespace that ends with this process; trees go through warren-pack and warren-unpack, single files are copied
 * here.
 *
 * Trust: the image's content is hostile: names are resolved inside its root, only regular files and directories are taken,
 * and files are written through descriptors that follow no link. Threads: one.
 * #syscalls: openat openat2 mkdirat fchown fchmod umount2 lseek fstat
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/store/commit.h"
#include "os/file.h"

/* Below an image's root, links followed inside it. */
static int open_inside(int root, const char *path, struct err *e)
{
	struct open_how how = { .flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? err_sys(e, -errno, "'%s' of the image", path) : fd;
}

/* An image's files, mounted; mounted_fini() takes it away. */
struct mounted {
	struct store *s;
	struct scratch t;
	char at[80];
	int root;
};

static void mounted_fini(struct mounted *m)
{
	if (m->root >= 0)
		close(m->root);
	if (*m->at)
		umount2(m->at, MNT_DETACH);
	store_scratch_drop(m->s, &m->t);
}

static int mount_image(struct mounted *m, struct store *s, const char *image, struct err *e)
{
	char id[DIGEST_SIZE], name[1024], empty[128];

	*m = (struct mounted){ .s = s, .t = SCRATCH_NONE, .root = -1 };
	int r = image_find(s, image, id, name, e);

	if (!r)
		r = store_scratch(s, &m->t, e);
	if (r)
		return r;
	snprintf(empty, sizeof(empty), "%s/empty", m->t.name);
	if (mkdirat(m->t.fd, "tree", 0700) < 0 || mkdirat(m->t.fd, "empty", 0700) < 0)
		return err_sys(e, -errno, "%s/%s", s->path, m->t.name);
	snprintf(m->at, sizeof(m->at), "%s/tree", m->t.name);
	r = store_mount_tree(s, id, empty, m->at, e);
	if (r) {
		*m->at = '\0';
		return r;
	}
	m->root = open(m->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return m->root < 0 ? err_sys(e, -errno, "%s/%s", s->path, m->at) : 0;
}

static int dress(int from, int to, struct err *e)
{
	struct stat st;

	if (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 ||
	    fchmod(to, st.st_mode & 07777) < 0)
		return err_sys(e, -errno, "copy owner and mode");
	return 0;
}

/* From the mounted tree through a tar in the scratch directory, so that both sides are confined helpers. */
static int copy_tree(struct store *s, int from, int scratch, int to, struct err *e)
{
	cleanup_fd int tar = openat(scratch, "tar", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = tar < 0 ? err_sys(e, -errno, "scratch file")
			: store_pack("tree", from, tar, "files", e);

	if (!r && lseek(tar, 0, SEEK_SET) < 0)
		r = -errno;
	if (!r)
		r = tree_unpack(s, tar, "files", to, e);
	/* The directory itself. */
	return r ? r : dress(from, to, e);
}

static int copy_file(int from, int dir, const char *name, struct err *e)
{
	static char piece[256 << 10];
	char caps[256];
	ssize_t n;

	unlinkat(dir, name, 0);
	cleanup_fd int to = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = to < 0 ? -errno : 0;

	while (!r && (n = read_full(from, piece, sizeof(piece))) != 0)
		r = n < 0 ? (int)n : write_full(to, piece, (size_t)n);
	if (r)
		return err_sys(e, r, "'%s'", name);
	r = dress(from, to, e);
	n = r ? 0 : fgetxattr(from, "security.capability", caps, sizeof(caps));
	if (n > 0 && fsetxattr(to, "security.capability", caps, (size_t)n, 0) < 0)
		r = err_sys(e, -errno, "'%s': capabilities", name);
	return r;
}

int image_fill(struct store *s, const char *image, const char *path, const char *volume,
	       struct err *e)
{
	cleanup_with(mounted_fini) struct mounted m = { .s = s, .t = SCRATCH_NONE, .root = -1 };
	char to[PATH_MAX];

	if (strchr(volume, '/') || volume[0] == '.')
		return err_set(e, -EINVAL, "volume '%s'", volume);
	snprintf(to, sizeof(to), "volumes/%s/_data", volume);
	cleanup_fd int target = openat(s->dir, to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = target < 0 ? err_sys(e, -errno, "volume '%s'", volume)
			   : mount_image(&m, s, image, e);
	cleanup_fd int from = r ? -1 : open_inside(m.root, path, e);

	return r ? r : from < 0 ? from : copy_tree(s, from, m.t.fd, target, e);
}

/* mkdir -p below `dir`, entering no link. A descriptor of the last one, or -errno. */
static int make_below(int dir, const char *path, struct err *e)
{
	cleanup_fd int at = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (const char *p = path + strspn(path, "/"); at >= 0 && *p; p += strspn(p, "/")) {
		size_t n = strcspn(p, "/");
		char name[NAME_MAX + 1];

		if (n > NAME_MAX || (n == 2 && p[0] == '.' && p[1] == '.'))
			return err_set(e, -EINVAL, "'%s': '..' or a long name in it", path);
		snprintf(name, sizeof(name), "%.*s", (int)n, p);
		p += n;
		if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "'%s'", path);
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		close(at);
		at = next;
	}
	return at < 0 ? err_sys(e, -errno, "'%s'", path) : steal_fd(&at);
}

int image_extract(struct store *s, const char *image, const char *path, const char *to,
		  struct err *e)
{
	cleanup_with(mounted_fini) struct mounted m = { .s = s, .t = SCRATCH_NONE, .root = -1 };
	const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
	char above[PATH_MAX];
	struct stat st;
	/* By path before the namespace changes: `to` is the caller's. */
	cleanup_fd int target = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = target < 0 ? err_sys(e, -errno, "'%s'", to) : mount_image(&m, s, image, e);
	cleanup_fd int from = r ? -1 : open_inside(m.root, path, e);

	if (r || from < 0)
		return r ? r : from;
	if (fstat(from, &st) < 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
		return err_set(e, -EINVAL, "'%s' of the image is neither file nor directory", path);
	snprintf(above, sizeof(above), "%.*s",
		 (int)(S_ISDIR(st.st_mode) ? (long)strlen(path) : last - path), path);
	cleanup_fd int dir = make_below(target, above, e);

	return dir < 0		     ? dir
	       : S_ISDIR(st.st_mode) ? copy_tree(s, from, m.t.fd, dir, e)
				     : copy_file(from, dir, last, e);
}

int file_unpack(struct store *s, const char *source, const char *to, struct err *e)
{
	cleanup_fd int from = open(source, O_RDONLY | O_CLOEXEC);
	cleanup_fd int dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err none = ERR_INIT;
	char kind[16];

	if (from < 0 || dir < 0)
		return err_sys(e, -errno, "'%s'", from < 0 ? source : to);
	/* A packed file that is no archive is a file. */
	if (archive_kind(from, source, kind, &none))
		return 0;
	int r = tree_unpack(s, from, source, dir, e);

	return r ? r : 1;
}
