/* What the parts of the shared-directory server share. */
#pragma once

#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/share.h"

/* One file that the guest has looked up. Slot 1 is the root; slot 0 is never used. */
struct share_node {
	int fd; /* O_PATH; -1: free slot */
	uint64_t dev, ino;
	uint64_t lookups; /* as FORGET counts them down */
	uint32_t next;	  /* in the hash chain or the free list */
};

struct share_handle {
	int fd; /* -1: free slot */
	bool directory;
	uint32_t next;
};

struct share {
	struct share_config config;
	struct share_node *nodes;
	uint32_t nodes_n, nodes_free;
	struct share_handle *handles;
	uint32_t handles_n, handles_free;
	uint32_t *buckets; /* of nodes, by device and inode */
	uint32_t buckets_n;
	uint32_t minor;
	bool started; /* after INIT */
};

/* A request being answered. */
struct share_call {
	struct share *s;
	struct fuse_in_header h;
	const uint8_t *body; /* behind the header and the fixed part */
	size_t body_n;
	union { /* the fixed part, copied */
		struct fuse_init_in init;
		struct fuse_forget_in forget;
		struct fuse_batch_forget_in batch_forget;
		struct fuse_getattr_in getattr;
		struct fuse_setattr_in setattr;
		struct fuse_mknod_in mknod;
		struct fuse_mkdir_in mkdir;
		struct fuse_rename_in rename;
		struct fuse_rename2_in rename2;
		struct fuse_link_in link;
		struct fuse_open_in open;
		struct fuse_create_in create;
		struct fuse_read_in read;
		struct fuse_write_in write;
		struct fuse_release_in release;
		struct fuse_flush_in flush;
		struct fuse_fsync_in fsync;
		struct fuse_setxattr_in setxattr;
		struct fuse_getxattr_in getxattr;
		struct fuse_lseek_in lseek;
		struct fuse_fallocate_in fallocate;
	} in;
	uint8_t *out; /* behind the reply's header, SHARE_MESSAGE_MAX - 16 bytes */
	size_t out_n;
};

/* share_table.c */
struct share_node *share_node_get(struct share *s,
				  uint64_t id); /* NULL: the guest has no such node */
/* Finds or makes the node of an opened O_PATH descriptor (taken over) and counts a lookup. 0 or -errno. */
int share_node_add(struct share *s, int fd, const struct stat *st, uint64_t *id);
void share_node_forget(struct share *s, uint64_t id, uint64_t n);
struct share_handle *share_handle_get(struct share *s, uint64_t fh, bool directory);
int share_handle_add(struct share *s, int fd, bool directory, uint64_t *fh); /* takes `fd` over */
void share_handle_drop(struct share *s, uint64_t fh);
int share_tables_init(struct share *s);
void share_tables_fini(struct share *s);

/* The next NUL-terminated name of the body as one path component; NULL when it is none. */
const char *share_take_name(struct share_call *c);
/* Any NUL-terminated string. */
const char *share_take_string(struct share_call *c);

/* share_ops.c, share_io.c: 0 or -errno; the reply is in `out`. */
typedef int share_op_fn(struct share_call *c);
share_op_fn share_lookup, share_getattr, share_setattr, share_readlink, share_symlink, share_mknod,
	share_mkdir, share_unlink, share_rmdir, share_rename, share_rename_flags, share_link,
	share_open, share_read, share_write, share_statfs, share_release, share_fsync,
	share_setxattr, share_getxattr, share_listxattr, share_removexattr, share_flush,
	share_opendir, share_readdir, share_readdirplus, share_releasedir, share_fsyncdir,
	share_create, share_lseek, share_fallocate;

/* What was made as us becomes the requester's: owner, group (the parent's where it has setgid), special mode
 * bits. `fd` may be O_PATH. 0 or -errno. */
int share_give_away(struct share_call *c, int parent, int fd, mode_t mode);
/* Fills a directory entry's answer for `name` in `parent` and counts a lookup. */
int share_entry(struct share *s, int parent, const char *name, struct fuse_entry_out *out);
void share_fill_attr(const struct stat *st, struct fuse_attr *a);
/* A new descriptor for what an O_PATH one points at; only regular files and directories, so that no open ever
 * waits or reaches a device. Or -errno. */
int share_reopen(struct share *s, int fd, int flags);
static inline void *share_reply(struct share_call *c, size_t n)
{
	memset(c->out, 0, n);
	c->out_n = n;
	return c->out;
}
