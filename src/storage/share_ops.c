/*
 * The shared directory: names, attributes, extended attributes.
 *
 * Everything is done relative to O_PATH descriptors. What needs a real descriptor (chmod, extended attributes,
 * reading) goes through /proc/self/fd, which reaches exactly the file that the descriptor pins.
 *
 * Trust: see share.c. #syscalls: newfstatat openat fchmodat fchownat utimensat ftruncate readlinkat symlinkat
 * mknodat mkdirat unlinkat renameat2 linkat fstatfs fsetxattr fgetxattr flistxattr fremovexattr fstat close
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "storage/share_int.h"

enum { VALID_SECONDS = 1, XATTR_MAX = 65536 };

void share_fill_attr(const struct stat *st, struct fuse_attr *a)
{
	*a = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = (uint32_t)st->st_rdev,
		.blksize = (uint32_t)st->st_blksize,
	};
}

static int stat_fd(int fd, struct stat *st)
{
	return fstatat(fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int share_reopen(struct share *s, int fd, int flags)
{
	char name[16];
	struct stat st;
	int r = stat_fd(fd, &st);

	if (r)
		return r;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -ENXIO;
	snprintf(name, sizeof(name), "%d", fd);
	int out = openat(s->config.proc, name, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return out < 0 ? -errno : out;
}

int share_entry(struct share *s, int parent, const char *name, struct fuse_entry_out *out)
{
	struct stat st;
	int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == EMFILE ? -ENFILE : -errno;
	int r = stat_fd(fd, &st);

	if (r) {
		close(fd);
		return r;
	}
	r = share_node_add(s, fd, &st, &out->nodeid);
	if (r)
		return r;
	out->generation = 1;
	out->entry_valid = out->attr_valid = VALID_SECONDS;
	share_fill_attr(&st, &out->attr);
	return 0;
}

/* The node that the request is about. */
static struct share_node *own_node(struct share_call *c)
{
	return share_node_get(c->s, c->h.nodeid);
}

static int reply_entry(struct share_call *c, int parent, const char *name)
{
	return share_entry(c->s, parent, name, share_reply(c, sizeof(struct fuse_entry_out)));
}

int share_lookup(struct share_call *c)
{
	const struct share_node *parent = own_node(c);
	const char *name = share_take_name(c);

	if (!parent)
		return -ESTALE;
	return name ? reply_entry(c, parent->fd, name) : -EINVAL;
}

static int reply_attr(struct share_call *c, int fd)
{
	struct fuse_attr_out *out = share_reply(c, sizeof(*out));
	struct stat st;
	int r = stat_fd(fd, &st);

	if (r)
		return r;
	out->attr_valid = VALID_SECONDS;
	share_fill_attr(&st, &out->attr);
	return 0;
}

int share_getattr(struct share_call *c)
{
	const struct share_node *n = own_node(c);

	return n ? reply_attr(c, n->fd) : -ESTALE;
}

static int set_mode(struct share *s, int fd, mode_t mode)
{
	char name[16];
	struct stat st;
	int r = stat_fd(fd, &st);

	if (r)
		return r;
	if (S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	snprintf(name, sizeof(name), "%d", fd);
	return fchmodat(s->config.proc, name, mode & 07777, 0) < 0 ? -errno : 0;
}

static int set_size(struct share_call *c, int fd)
{
	const struct fuse_setattr_in *in = &c->in.setattr;
	const struct share_handle *h = in->valid & FATTR_FH ? share_handle_get(c->s, in->fh, false)
							    : NULL;

	if (in->valid & FATTR_FH && !h)
		return -EBADF;
	if (h)
		return ftruncate(h->fd, (off_t)in->size) < 0 ? -errno : 0;
	cleanup_fd int w = share_reopen(c->s, fd, O_WRONLY);

	if (w < 0)
		return w;
	return ftruncate(w, (off_t)in->size) < 0 ? -errno : 0;
}

static struct timespec time_wish(uint32_t valid, uint32_t set, uint32_t now, uint64_t s,
				 uint32_t ns)
{
	if (!(valid & set))
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	if (valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	return (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = ns };
}

int share_setattr(struct share_call *c)
{
	const struct fuse_setattr_in *in = &c->in.setattr;
	const struct share_node *n = own_node(c);
	int r = 0;

	if (!n)
		return -ESTALE;
	if (in->valid & (FATTR_UID | FATTR_GID)) {
		uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
		gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

		if (fchownat(n->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	if (in->valid & FATTR_MODE)
		r = set_mode(c->s, n->fd, in->mode);
	if (!r && in->valid & FATTR_SIZE)
		r = set_size(c, n->fd);
	if (!r && in->valid & (FATTR_ATIME | FATTR_MTIME)) {
		const struct timespec t[2] = {
			time_wish(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime,
				  in->atimensec),
			time_wish(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime,
				  in->mtimensec),
		};

		if (utimensat(n->fd, "", t, AT_EMPTY_PATH) < 0)
			r = -errno;
	}
	return r ? r : reply_attr(c, n->fd);
}

int share_readlink(struct share_call *c)
{
	const struct share_node *n = own_node(c);

	if (!n)
		return -ESTALE;
	ssize_t len = readlinkat(n->fd, "", (char *)c->out, 4096);

	if (len < 0)
		return -errno;
	c->out_n = (size_t)len;
	return 0;
}

int share_give_away(struct share_call *c, int parent, int fd, mode_t mode)
{
	struct stat st;
	int r = c->s->config.set_owner ? stat_fd(parent, &st) : 0;

	if (r)
		return r;
	if (c->s->config.set_owner) {
		gid_t gid = st.st_mode & S_ISGID ? (gid_t)-1 : c->h.gid;

		if (fchownat(fd, "", c->h.uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	/* A change of owner takes setuid and setgid away: they come last. */
	return mode & 07000 ? set_mode(c->s, fd, mode) : 0;
}

/* After a name was made: gives it away and answers with it. What cannot be given away goes again. */
static int finish_new(struct share_call *c, int parent, const char *name, mode_t mode,
		      int unlink_flags)
{
	cleanup_fd int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : share_give_away(c, parent, fd, mode);

	if (r) {
		unlinkat(parent, name, unlink_flags);
		return r;
	}
	return reply_entry(c, parent, name);
}

int share_symlink(struct share_call *c)
{
	const struct share_node *parent = own_node(c);
	const char *name = share_take_name(c);
	const char *target = name ? share_take_string(c) : NULL;

	if (!parent)
		return -ESTALE;
	if (!target)
		return -EINVAL;
	if (symlinkat(target, parent->fd, name) < 0)
		return -errno;
	return finish_new(c, parent->fd, name, 0, 0);
}

int share_mknod(struct share_call *c)
{
	const struct share_node *parent = own_node(c);
	const char *name = share_take_name(c);
	mode_t mode = c->in.mknod.mode;

	if (!parent)
		return -ESTALE;
	if (!name)
		return -EINVAL;
	if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return -EPERM; /* a device node of the guest's making means nothing good here */
	if (mknodat(parent->fd, name, (mode & S_IFMT) | (mode & 0777), 0) < 0)
		return -errno;
	return finish_new(c, parent->fd, name, mode, 0);
}

int share_mkdir(struct share_call *c)
{
	const struct share_node *parent = own_node(c);
	const char *name = share_take_name(c);

	if (!parent)
		return -ESTALE;
	if (!name)
		return -EINVAL;
	if (mkdirat(parent->fd, name, c->in.mkdir.mode & 0777) < 0)
		return -errno;
	return finish_new(c, parent->fd, name, c->in.mkdir.mode, AT_REMOVEDIR);
}

static int unlink_name(struct share_call *c, int flags)
{
	const struct share_node *parent = own_node(c);
	const char *name = share_take_name(c);

	if (!parent)
		return -ESTALE;
	if (!name)
		return -EINVAL;
	return unlinkat(parent->fd, name, flags) < 0 ? -errno : 0;
}

int share_unlink(struct share_call *c)
{
	return unlink_name(c, 0);
}

int share_rmdir(struct share_call *c)
{
	return unlink_name(c, AT_REMOVEDIR);
}

static int rename_to(struct share_call *c, uint64_t newdir, uint32_t flags)
{
	const struct share_node *from = own_node(c), *to = share_node_get(c->s, newdir);
	const char *old = share_take_name(c);
	const char *new = old ? share_take_name(c) : NULL;

	if (!from || !to)
		return -ESTALE;
	/* A whiteout is a device node. */
	if (!new || flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	return renameat2(from->fd, old, to->fd, new, flags) < 0 ? -errno : 0;
}

int share_rename(struct share_call *c)
{
	return rename_to(c, c->in.rename.newdir, 0);
}

int share_rename_flags(struct share_call *c)
{
	return rename_to(c, c->in.rename2.newdir, c->in.rename2.flags);
}

int share_link(struct share_call *c)
{
	const struct share_node *parent = own_node(c),
				*old = share_node_get(c->s, c->in.link.oldnodeid);
	const char *name = share_take_name(c);
	char fd[16];

	if (!parent || !old)
		return -ESTALE;
	if (!name)
		return -EINVAL;
	snprintf(fd, sizeof(fd), "%d", old->fd);
	if (linkat(c->s->config.proc, fd, parent->fd, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return reply_entry(c, parent->fd, name);
}

int share_statfs(struct share_call *c)
{
	const struct share_node *n = own_node(c);
	struct fuse_statfs_out *out = share_reply(c, sizeof(*out));
	struct statfs st;

	if (!n)
		return -ESTALE;
	if (fstatfs(n->fd, &st) < 0)
		return -errno;
	out->st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.namelen = (uint32_t)st.f_namelen,
		.frsize = (uint32_t)st.f_frsize,
	};
	return 0;
}

/* Extended attributes of the `user` namespace only: the others mean something to the host. */
static bool xattr_allowed(const char *name)
{
	return name && str_after(name, "user.");
}

static int open_for_xattr(struct share_call *c)
{
	const struct share_node *n = own_node(c);
	int fd = n ? share_reopen(c->s, n->fd, O_RDONLY) : -ESTALE;

	return fd == -ENXIO ? -EOPNOTSUPP : fd;
}

int share_setxattr(struct share_call *c)
{
	const char *name = share_take_string(c);

	if (!xattr_allowed(name))
		return -EOPNOTSUPP;
	if (c->in.setxattr.size != c->body_n)
		return -EINVAL;
	cleanup_fd int fd = open_for_xattr(c);

	if (fd < 0)
		return fd;
	return fsetxattr(fd, name, c->body, c->body_n, (int)c->in.setxattr.flags) < 0 ? -errno : 0;
}

/* Size 0 asks how much room is needed. */
static int reply_xattr(struct share_call *c, ssize_t n)
{
	if (n < 0)
		return -errno;
	if (!c->in.getxattr.size) {
		struct fuse_getxattr_out *out = share_reply(c, sizeof(*out));

		out->size = (uint32_t)n;
	} else {
		c->out_n = (size_t)n;
	}
	return 0;
}

int share_getxattr(struct share_call *c)
{
	const char *name = share_take_string(c);

	if (!xattr_allowed(name))
		return -EOPNOTSUPP;
	cleanup_fd int fd = open_for_xattr(c);

	if (fd < 0)
		return fd;
	return reply_xattr(
		c, fgetxattr(fd, name, c->out, MIN(c->in.getxattr.size, (uint32_t)XATTR_MAX)));
}

int share_listxattr(struct share_call *c)
{
	cleanup_fd int fd = open_for_xattr(c);

	if (fd == -EOPNOTSUPP)
		return reply_xattr(c, 0);
	if (fd < 0)
		return fd;
	char *list = (char *)c->out;
	ssize_t n = flistxattr(fd, list, XATTR_MAX), kept = 0;

	for (ssize_t i = 0; i < n;) {
		size_t len = strlen(list + i) + 1;

		if (xattr_allowed(list + i)) {
			memmove(list + kept, list + i, len);
			kept += (ssize_t)len;
		}
		i += (ssize_t)len;
	}
	if (n >= 0 && c->in.getxattr.size && kept > (ssize_t)c->in.getxattr.size)
		return -ERANGE;
	return reply_xattr(c, n < 0 ? n : kept);
}

int share_removexattr(struct share_call *c)
{
	const char *name = share_take_string(c);

	if (!xattr_allowed(name))
		return -EOPNOTSUPP;
	cleanup_fd int fd = open_for_xattr(c);

	if (fd < 0)
		return fd;
	return fremovexattr(fd, name) < 0 ? -errno : 0;
}
