/* A disk as device back ends see it: sectors behind an ops table. A device never opens one; it is
 * handed a `struct block *` and moves data through block_submit or the synchronous helpers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

/* All offsets and lengths are multiples of this; so is the size. */
#define BLOCK_SECTOR 512u

struct block;
struct block_io;

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,   /* what was written before is on stable storage when it completes */
	BLOCK_DISCARD, /* the content is no longer needed; reads give zeroes or the old bytes */
	BLOCK_ZERO,    /* reads give zeroes; space may be given back when `unmap` */
};

/* One request, owned by the submitter until `done` was called. */
struct block_io {
	enum block_op op;
	bool unmap;		 /* ZERO: may deallocate */
	uint64_t offset;	 /* bytes */
	uint64_t len;		 /* bytes; for READ and WRITE the sum of `iov` */
	const struct iovec *iov; /* READ, WRITE: lives until `done` */
	int iov_n;
	int result; /* 0 or -errno, valid in `done` */
	/* Called exactly once, by the thread that submits or that calls block_reap, perhaps before
	 * block_submit returns. May submit again. */
	void (*done)(struct block_io *io);
	/* The back end's, from block_submit to `done`. */
	struct block_io *next;
	uint64_t moved; /* bytes done so far */
	struct iovec rest;
};

/* What a back end provides. Ranges, alignment and read-only were checked before. Each returns 0 or
 * -errno, never a part. A back end that completes later sets `submit` and `reap` (and `event_fd`)
 * as well, and then receives all requests there. */
struct block_ops {
	const char *name; /* "raw", "qcow2" */
	int (*readv)(struct block *b, uint64_t offset, const struct iovec *iov, int n, size_t len);
	int (*writev)(struct block *b, uint64_t offset, const struct iovec *iov, int n, size_t len);
	int (*flush)(struct block *b);
	int (*discard)(struct block *b, uint64_t offset, uint64_t len); /* NULL: ignored */
	int (*zero)(struct block *b, uint64_t offset, uint64_t len,
		    bool unmap);			      /* NULL, -EOPNOTSUPP: writes */
	void (*submit)(struct block *b, struct block_io *io); /* NULL: synchronous */
	void (*kick)(struct block *b); /* hands over what was submitted; NULL: submit does */
	void (*reap)(struct block *b); /* completes what is ready */
	void (*rush)(struct block *b); /* begins all that waits by its own will; may be NULL */
	void (*free)(struct block *b);
};

/* The base of every back end; filled by its opener, constant afterwards. */
struct block {
	const struct block_ops *ops;
	uint64_t size; /* bytes */
	bool read_only;
	bool can_discard;
	int event_fd; /* readable: call block_reap; -1 when everything is synchronous */
};

/* Starts a request; errors, also of arguments (-EINVAL, -EROFS), arrive in `done`. One thread at a
 * time for each disk, unless the back end says otherwise (raw does). */
void block_submit(struct block *b, struct block_io *io);
/* After the last of several block_submit: what was submitted need not begin before. */
void block_kick(struct block *b);
void block_reap(struct block *b);
/* What rate limits hold back begins now: its submitter wants to end. */
void block_rush(struct block *b);

/* The same, waiting. 0 or -errno. Beyond the end, or not in sectors: -EINVAL; write to a read-only
 * disk: -EROFS. */
int block_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n);
int block_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n);
int block_read(struct block *b, uint64_t offset, void *p, size_t len);
int block_write(struct block *b, uint64_t offset, const void *p, size_t len);
int block_flush(struct block *b);
int block_discard(struct block *b, uint64_t offset, uint64_t len);
int block_zero(struct block *b, uint64_t offset, uint64_t len, bool unmap);

/* Flushes nothing; NULL is fine. Closes the descriptors that the back end was handed. */
void block_free(struct block *b);

/* A regular file or block device as it is. Takes over `fd` (also on failure). NULL with `e` set. */
struct block *block_raw_new(int fd, bool read_only, struct err *e);

/* The same by io_uring: requests run side by side and begin with block_kick. Where the kernel has no io_uring or
 * forbids it, and for devices without it, this is block_raw_new. */
struct block *block_uring_new(int fd, bool read_only, struct err *e);

/* Requests and bytes a second; 0: any number. A second's worth may come at once. */
struct block_limits {
	uint64_t iops, bps;
};

/* Lets requests through at the limits' pace, flushes always. Takes over `inner`, also on failure. NULL with `e` set. */
struct block *block_limit_new(struct block *inner, const struct block_limits *limits,
			      struct err *e);

/* A qcow2 image (version 2 or 3). Takes over `fd` (also on failure). `backing` is the opened
 * backing disk or NULL; an image that names a backing file and is given none is refused, and so is
 * one that names none and is given one. Read-only `backing` is fine. Takes over `backing`, also on
 * failure. NULL with `e` set. */
struct block *block_qcow2_new(int fd, bool read_only, struct block *backing, struct err *e);
