/*
 * The shared-directory server: one FUSE request in, one reply out.
 *
 * A guest mounts a directory of the host. Its kernel sends what it would ask a disk file system (look this name
 * up, read that file) as FUSE messages; we answer from a tree of O_PATH descriptors that begins at the shared
 * directory. A name is one component, never "." or "..", and is opened without following links; links are
 * read as text and followed by the guest in its own tree. So no request can name a file outside the directory,
 * whatever the guest or another writer on the host does meanwhile.
 *
 *	share.c		messages and the table of operations
 *	share_table.c	what the guest has looked up and opened
 *	share_ops.c	names, attributes, extended attributes
 *	share_io.c	files and directories that are open
 *
 * Trust: every byte of a request is the guest's: lengths are checked against the message, node and handle
 * numbers against the tables, fixed parts are copied before they are judged. Device nodes are never made.
 * Only extended attributes of the user namespace pass. Threads: one at a time. #syscalls: none
 */
#include "storage/share.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"
#include "storage/share_int.h"

enum { NO_REPLY = 1 };

static int op_init(struct share_call *c)
{
	struct fuse_init_in *in = &c->in.init;
	struct fuse_init_out *out;

	if (in->major < FUSE_KERNEL_VERSION || (in->major == 7 && in->minor < 31))
		return -EPROTO;
	out = share_reply(c, sizeof(*out));
	out->major = FUSE_KERNEL_VERSION;
	if (in->major > FUSE_KERNEL_VERSION) /* the peer asks again with ours */
		return 0;
	c->s->minor = in->minor;
	c->s->started = true;
	out->minor = FUSE_KERNEL_MINOR_VERSION;
	out->max_readahead = in->max_readahead;
	out->flags = in->flags & (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
				  FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |
				  FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES);
	out->max_background = 64;
	out->congestion_threshold = 48;
	out->max_write = SHARE_WRITE_MAX;
	out->time_gran = 1;
	out->max_pages = SHARE_WRITE_MAX / 4096;
	return 0;
}

static int op_destroy(struct share_call *c)
{
	struct share *s = c->s;

	/* What the guest held goes; a new INIT may follow. */
	for (uint32_t i = 0; i < s->handles_n; i++)
		if (s->handles[i].fd >= 0)
			share_handle_drop(s, i);
	for (uint32_t i = 2; i < s->nodes_n; i++)
		if (s->nodes[i].fd >= 0)
			share_node_forget(s, i, UINT64_MAX);
	s->started = false;
	return 0;
}

static int op_forget(struct share_call *c)
{
	share_node_forget(c->s, c->h.nodeid, c->in.forget.nlookup);
	return NO_REPLY;
}

static int op_batch_forget(struct share_call *c)
{
	struct fuse_forget_one one;

	for (uint32_t i = 0; i < c->in.batch_forget.count && c->body_n >= sizeof(one); i++) {
		memcpy(&one, c->body, sizeof(one));
		c->body += sizeof(one);
		c->body_n -= sizeof(one);
		share_node_forget(c->s, one.nodeid, one.nlookup);
	}
	return NO_REPLY;
}

static int op_interrupt(struct share_call *c)
{
	(void)c;
	return NO_REPLY; /* requests are short */
}

enum op_flags { CHANGES = 1 /* refused on a read-only share */ };

static const struct {
	share_op_fn *fn;
	uint16_t fixed; /* bytes of the fixed part */
	uint16_t flags;
} operations[] = {
	[FUSE_LOOKUP] = { share_lookup, 0, 0 },
	[FUSE_FORGET] = { op_forget, sizeof(struct fuse_forget_in), 0 },
	[FUSE_GETATTR] = { share_getattr, sizeof(struct fuse_getattr_in), 0 },
	[FUSE_SETATTR] = { share_setattr, sizeof(struct fuse_setattr_in), CHANGES },
	[FUSE_READLINK] = { share_readlink, 0, 0 },
	[FUSE_SYMLINK] = { share_symlink, 0, CHANGES },
	[FUSE_MKNOD] = { share_mknod, sizeof(struct fuse_mknod_in), CHANGES },
	[FUSE_MKDIR] = { share_mkdir, sizeof(struct fuse_mkdir_in), CHANGES },
	[FUSE_UNLINK] = { share_unlink, 0, CHANGES },
	[FUSE_RMDIR] = { share_rmdir, 0, CHANGES },
	[FUSE_RENAME] = { share_rename, sizeof(struct fuse_rename_in), CHANGES },
	[FUSE_LINK] = { share_link, sizeof(struct fuse_link_in), CHANGES },
	[FUSE_OPEN] = { share_open, sizeof(struct fuse_open_in), 0 },
	[FUSE_READ] = { share_read, sizeof(struct fuse_read_in), 0 },
	[FUSE_WRITE] = { share_write, sizeof(struct fuse_write_in), CHANGES },
	[FUSE_STATFS] = { share_statfs, 0, 0 },
	[FUSE_RELEASE] = { share_release, sizeof(struct fuse_release_in), 0 },
	[FUSE_FSYNC] = { share_fsync, sizeof(struct fuse_fsync_in), 0 },
	[FUSE_SETXATTR] = { share_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE, CHANGES },
	[FUSE_GETXATTR] = { share_getxattr, sizeof(struct fuse_getxattr_in), 0 },
	[FUSE_LISTXATTR] = { share_listxattr, sizeof(struct fuse_getxattr_in), 0 },
	[FUSE_REMOVEXATTR] = { share_removexattr, 0, CHANGES },
	[FUSE_FLUSH] = { share_flush, sizeof(struct fuse_flush_in), 0 },
	[FUSE_INIT] = { op_init, offsetof(struct fuse_init_in, flags2), 0 },
	[FUSE_OPENDIR] = { share_opendir, sizeof(struct fuse_open_in), 0 },
	[FUSE_READDIR] = { share_readdir, sizeof(struct fuse_read_in), 0 },
	[FUSE_RELEASEDIR] = { share_releasedir, sizeof(struct fuse_release_in), 0 },
	[FUSE_FSYNCDIR] = { share_fsyncdir, sizeof(struct fuse_fsync_in), 0 },
	[FUSE_CREATE] = { share_create, sizeof(struct fuse_create_in), CHANGES },
	[FUSE_INTERRUPT] = { op_interrupt, sizeof(struct fuse_interrupt_in), 0 },
	[FUSE_DESTROY] = { op_destroy, 0, 0 },
	[FUSE_BATCH_FORGET] = { op_batch_forget, sizeof(struct fuse_batch_forget_in), 0 },
	[FUSE_FALLOCATE] = { share_fallocate, sizeof(struct fuse_fallocate_in), CHANGES },
	[FUSE_READDIRPLUS] = { share_readdirplus, sizeof(struct fuse_read_in), 0 },
	[FUSE_RENAME2] = { share_rename_flags, sizeof(struct fuse_rename2_in), CHANGES },
	[FUSE_LSEEK] = { share_lseek, sizeof(struct fuse_lseek_in), 0 },
};

const char *share_take_string(struct share_call *c)
{
	const char *s = (const char *)c->body;
	const char *end = c->body_n ? memchr(s, 0, c->body_n) : NULL;

	if (!end)
		return NULL;
	c->body_n -= (size_t)(end + 1 - s);
	c->body = (const uint8_t *)end + 1;
	return s;
}

const char *share_take_name(struct share_call *c)
{
	const char *s = share_take_string(c);

	if (!s || !*s || strchr(s, '/') || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		return NULL;
	return s;
}

static int run(struct share_call *c)
{
	uint32_t op = c->h.opcode;

	if (op >= ARRAY_SIZE(operations) || !operations[op].fn)
		return -ENOSYS;
	if (!c->s->started && op != FUSE_INIT)
		return -EPROTO;
	size_t fixed = operations[op].fixed;

	if (c->body_n < fixed)
		return -EINVAL;
	memcpy(&c->in, c->body, fixed);
	c->body += fixed;
	c->body_n -= fixed;
	if (operations[op].flags & CHANGES && c->s->config.read_only)
		return -EROFS;
	return operations[op].fn(c);
}

ssize_t share_request(struct share *s, const void *request, size_t n, void *reply)
{
	struct share_call c = { .s = s };

	if (n < sizeof(c.h))
		return -EBADMSG;
	memcpy(&c.h, request, sizeof(c.h));
	if (c.h.len != n)
		return -EBADMSG;
	c.body = (const uint8_t *)request + sizeof(c.h);
	c.body_n = n - sizeof(c.h);
	c.out = (uint8_t *)reply + sizeof(struct fuse_out_header);
	int r = run(&c);

	if (r == NO_REPLY || c.h.opcode == FUSE_FORGET || c.h.opcode == FUSE_BATCH_FORGET)
		return 0;
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + (r < 0 ? 0 : c.out_n)),
		.error = r < 0 ? r : 0,
		.unique = c.h.unique,
	};

	memcpy(reply, &out, sizeof(out));
	return (ssize_t)out.len;
}

struct share *share_new(const struct share_config *config, struct err *e)
{
	struct share *s = calloc(1, sizeof(*s));
	int r = s ? 0 : -ENOMEM;

	if (s) {
		s->config = *config;
		r = share_tables_init(s);
	}
	if (r) {
		err_sys(e, r, "shared directory");
		close(config->root);
		if (s)
			share_tables_fini(s);
		free(s);
		return NULL;
	}
	return s;
}

void share_free(struct share *s)
{
	if (!s)
		return;
	share_tables_fini(s);
	free(s);
}
