/* Tar streams (ustar, GNU long names, pax), pushed in pieces of any size. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define TAR_BLOCK 512u
/* Longest path or link target. */
#define TAR_NAME_MAX 4096u
/* Largest pax header or long name record. */
#define TAR_META_MAX (1u << 20)

enum tar_type {
	TAR_FILE = '0',
	TAR_HARDLINK = '1',
	TAR_SYMLINK = '2',
	TAR_CHAR = '3',
	TAR_BLOCK_DEVICE = '4',
	TAR_DIRECTORY = '5',
	TAR_FIFO = '6',
};

struct tar_entry {
	enum tar_type type;
	const char *path; /* as in the archive: may be absolute or hold ".."; judge before use */
	const char *link; /* HARDLINK, SYMLINK; else "" */
	uint32_t mode;	  /* 07777 */
	uint32_t uid, gid;
	uint64_t size; /* bytes that follow as data; only for TAR_FILE */
	int64_t mtime; /* s */
	uint32_t major, minor;
};

struct tar_parser {
	/* Called for each entry, then with its data in pieces. Non-zero ends the parse with it. */
	int (*entry)(void *arg, const struct tar_entry *t, struct err *e);
	int (*data)(void *arg, const uint8_t *p, size_t n, struct err *e);
	void *arg;

	/* private */
	uint8_t block[TAR_BLOCK];
	size_t fill;
	uint64_t left, padding;
	enum { TAR_S_HEADER, TAR_S_DATA, TAR_S_META, TAR_S_SKIP } state;
	char meta_type;
	struct buf meta, path, link; /* `path` and `link` override the next header's */
	bool has_size;
	uint64_t size;
	bool ended; /* two zero blocks, or one: the rest is ignored */
};

void tar_parser_init(struct tar_parser *t);
void tar_parser_fini(struct tar_parser *t);

/* 0, or what a callback returned, or -EBADMSG with `e` set. After an error it must not be fed again. */
int tar_parser_feed(struct tar_parser *t, const uint8_t *p, size_t n, struct err *e);
/* At the end of input: -EBADMSG when it stopped inside an entry. */
int tar_parser_end(const struct tar_parser *t, struct err *e);

/* Appends the header blocks of an entry (pax where a name is long or a number is large); the caller
 * appends the data and tar_pad(). The end of an archive is two zero blocks. 0 or the buffer's error. */
int tar_add_header(struct buf *out, const struct tar_entry *t);
/* Zero bytes that follow `size` bytes of data. */
static inline size_t tar_pad(uint64_t size)
{
	return (size_t)(-size & (TAR_BLOCK - 1));
}
