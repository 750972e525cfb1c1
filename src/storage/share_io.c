/*
 * The shared directory: files and directories that are open.
 *
 * Only regular files and directories are ever opened; the guest's kernel serves its own fifos and sockets.
 *
 * Trust: see share.c; sizes are bounded by what a reply holds.
 * #syscalls: openat pread64 pwrite64 fsync fdatasync lseek fallocate getdents64 close
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "storage/share_int.h"

enum { OPEN_FLAGS = O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC };

static bool wants_write(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

static int reply_open(struct share_call *c, int fd, bool directory, struct fuse_open_out *out)
{
	return share_handle_add(c->s, fd, directory, &out->fh);
}

static int open_node(struct share_call *c, bool directory)
{
	const struct share_node *n = share_node_get(c->s, c->h.nodeid);
	uint32_t flags = c->in.open.flags;

	if (!n)
		return -ESTALE;
	if (c->s->config.read_only && wants_write(flags))
		return -EROFS;
	int fd = share_reopen(c->s, n->fd,
			      directory ? O_RDONLY | O_DIRECTORY : (int)(flags & OPEN_FLAGS));

	if (fd < 0)
		return fd;
	return reply_open(c, fd, directory, share_reply(c, sizeof(struct fuse_open_out)));
}

int share_open(struct share_call *c)
{
	return open_node(c, false);
}

int share_opendir(struct share_call *c)
{
	return open_node(c, true);
}

/* A new file, or the one that is there unless O_EXCL. */
static int create_file(struct share_call *c, int parent, const char *name)
{
	uint32_t flags = c->in.create.flags;
	mode_t mode = c->in.create.mode;
	int fd = openat(parent, name,
			(int)(flags & OPEN_FLAGS) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			mode & 0777);

	if (fd >= 0) {
		int r = share_give_away(c, parent, fd, mode);

		if (!r)
			return fd;
		unlinkat(parent, name, 0);
		close(fd);
		return r;
	}
	if (errno != EEXIST || flags & O_EXCL)
		return -errno;
	cleanup_fd int path = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return path < 0 ? -errno : share_reopen(c->s, path, (int)(flags & OPEN_FLAGS));
}

int share_create(struct share_call *c)
{
	const struct share_node *parent = share_node_get(c->s, c->h.nodeid);
	const char *name = share_take_name(c);
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} * out;

	if (!parent)
		return -ESTALE;
	if (!name)
		return -EINVAL;
	/* The tables may move when a node is added. */
	int dir = parent->fd, fd = create_file(c, dir, name);

	if (fd < 0)
		return fd;
	out = share_reply(c, sizeof(*out));
	int r = share_entry(c->s, dir, name, &out->entry);

	if (r) {
		close(fd);
		return r;
	}
	r = reply_open(c, fd, false, &out->open);
	if (r)
		share_node_forget(c->s, out->entry.nodeid, 1);
	return r;
}

int share_read(struct share_call *c)
{
	const struct share_handle *h = share_handle_get(c->s, c->in.read.fh, false);

	if (!h)
		return -EBADF;
	ssize_t n = pread(h->fd, c->out, MIN(c->in.read.size, (uint32_t)SHARE_WRITE_MAX),
			  (off_t)c->in.read.offset);

	if (n < 0)
		return -errno;
	c->out_n = (size_t)n;
	return 0;
}

int share_write(struct share_call *c)
{
	const struct share_handle *h = share_handle_get(c->s, c->in.write.fh, false);

	if (!h)
		return -EBADF;
	if (c->in.write.size != c->body_n || c->body_n > SHARE_WRITE_MAX)
		return -EINVAL;
	ssize_t n = pwrite(h->fd, c->body, c->body_n, (off_t)c->in.write.offset);

	if (n < 0)
		return -errno;
	struct fuse_write_out *out = share_reply(c, sizeof(*out));

	out->size = (uint32_t)n;
	return 0;
}

static int release(struct share_call *c, bool directory)
{
	if (!share_handle_get(c->s, c->in.release.fh, directory))
		return -EBADF;
	share_handle_drop(c->s, c->in.release.fh);
	return 0;
}

int share_release(struct share_call *c)
{
	return release(c, false);
}

int share_releasedir(struct share_call *c)
{
	return release(c, true);
}

static int sync_handle(struct share_call *c, bool directory)
{
	const struct share_handle *h = share_handle_get(c->s, c->in.fsync.fh, directory);
	bool data_only = c->in.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC;

	if (!h)
		return -EBADF;
	return (data_only ? fdatasync(h->fd) : fsync(h->fd)) < 0 ? -errno : 0;
}

int share_fsync(struct share_call *c)
{
	return sync_handle(c, false);
}

int share_fsyncdir(struct share_call *c)
{
	return sync_handle(c, true);
}

/* close(2) in the guest: what a network file system has to say about earlier writes is said now. */
int share_flush(struct share_call *c)
{
	const struct share_handle *h = share_handle_get(c->s, c->in.flush.fh, false);
	int copy = h ? fcntl(h->fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (!h)
		return -EBADF;
	return copy < 0 || close(copy) < 0 ? -errno : 0;
}

int share_lseek(struct share_call *c)
{
	const struct share_handle *h = share_handle_get(c->s, c->in.lseek.fh, false);

	if (!h)
		return -EBADF;
	if (c->in.lseek.whence != SEEK_DATA && c->in.lseek.whence != SEEK_HOLE)
		return -EINVAL;
	off_t at = lseek(h->fd, (off_t)c->in.lseek.offset, (int)c->in.lseek.whence);

	if (at < 0)
		return -errno;
	struct fuse_lseek_out *out = share_reply(c, sizeof(*out));

	out->offset = (uint64_t)at;
	return 0;
}

int share_fallocate(struct share_call *c)
{
	const struct fuse_fallocate_in *in = &c->in.fallocate;
	const struct share_handle *h = share_handle_get(c->s, in->fh, false);
	const uint32_t known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;

	if (!h)
		return -EBADF;
	if (in->mode & ~known)
		return -EOPNOTSUPP;
	return fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0 ? -errno
											 : 0;
}

/* What getdents64 writes. */
struct dent {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* Appends one entry when it fits: 1, or 0. */
static int add_dent(struct share_call *c, size_t limit, const struct dent *d, size_t name_n,
		    int dir, bool plus)
{
	size_t head = plus ? sizeof(struct fuse_direntplus) : sizeof(struct fuse_dirent);
	size_t need = FUSE_DIRENT_ALIGN(head + name_n);

	if (need > limit - c->out_n)
		return 0;
	uint8_t *at = c->out + c->out_n;

	memset(at, 0, need);
	struct fuse_dirent *out = (void *)at;

	if (plus) {
		struct fuse_direntplus *p = (void *)at;
		bool dots = strcmp(d->name, ".") == 0 || strcmp(d->name, "..") == 0;

		/* No node: the guest asks again when it needs one. */
		if (!dots && share_entry(c->s, dir, d->name, &p->entry_out))
			p->entry_out = (struct fuse_entry_out){ 0 };
		out = &p->dirent;
	}
	out->ino = d->ino;
	out->off = (uint64_t)d->off;
	out->namelen = (uint32_t)name_n;
	out->type = d->type;
	memcpy(out->name, d->name, name_n);
	c->out_n += need;
	return 1;
}

static int read_directory(struct share_call *c, bool plus)
{
	const struct share_handle *h = share_handle_get(c->s, c->in.read.fh, true);
	size_t limit = MIN(c->in.read.size, (uint32_t)SHARE_WRITE_MAX);
	_Alignas(8) char dents[8192];
	long n;

	if (!h)
		return -EBADF;
	int dir = h->fd;

	if (lseek(dir, (off_t)c->in.read.offset, SEEK_SET) < 0)
		return -errno;
	while ((n = syscall(SYS_getdents64, dir, dents, sizeof(dents))) > 0) {
		for (long i = 0; i < n;) {
			const struct dent *d = (const void *)(dents + i);

			if (!add_dent(c, limit, d, strlen(d->name), dir, plus))
				return 0;
			i += d->reclen;
		}
	}
	return n < 0 && !c->out_n ? -errno : 0;
}

int share_readdir(struct share_call *c)
{
	return read_directory(c, false);
}

int share_readdirplus(struct share_call *c)
{
	return read_directory(c, true);
}
