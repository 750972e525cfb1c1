/* What the files of warren-unpack share. A failure ends the program with one line on stderr; the caller
 * throws away what was unpacked so far. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "os/confine.h"
#include "wire/reference.h"
#include "wire/sha256.h"

struct archive;

struct options {
	int dir;      /* where the entries go */
	int copy;     /* the input is copied there as it is, -1: not */
	int plain;    /* the decompressed stream is copied there, -1: not */
	uint64_t max; /* bytes that may come out, in all and of one file */
	bool one_id;  /* there is only one user here: owners are not kept */
	bool files;   /* an archive of plain files: no owners, devices, attributes, whiteouts */
	bool whole;   /* the stream must carry tar's end mark: nothing else vouches for it */
};

/* The input, counted and hashed on both sides of the decompressor. */
struct stream {
	const struct options *o;
	struct archive *filter; /* decompresses */
	struct sha256 in, out;
	uint64_t in_bytes, out_bytes;
	size_t zeros; /* zero bytes at the end so far */
	bool ended, padded;
	const char *packing; /* "gzip", "zstd", ...: libarchive's word */
	void *buffer;
};

void stream_open(struct stream *s, const struct options *o);
/* The next piece of the decompressed stream; 0 at its end. */
size_t stream_next(struct stream *s, const void **p);
/* Reads what is left on both sides, so that the digests cover all. */
void stream_drain(struct stream *s);

struct counts {
	uint64_t entries, bytes;      /* made; of their content */
	uint64_t devices, attributes; /* left out */
};

/* Unpacks the tar that `s` carries into o->dir. */
void extract_all(struct stream *s, const struct options *o, struct counts *c);

/* What the archive is by its first name: "oci" (an image layout), "docker" (docker save), "rootfs". */
const char *kind_of(struct stream *s);

/* place.c: where an entry goes. */
struct place {
	int root;
	int parent;	/* directory that holds the name, valid until the next call */
	char dir[4096]; /* its path, normalised, "" for the root */
	char base[256]; /* the last part; "" is the root itself */
};

void place_init(struct place *p, int root);
/* Finds the directory for `path` as the archive has it; makes missing ones. `what` and `path` are for
 * errors. */
void place_find(struct place *p, const char *what, const char *path);
/* The same for a link's target; nothing is made. The descriptor is the caller's; -1 when it is missing. */
int place_target(const struct place *p, const char *entry, const char *path, char base[256]);
/* Opens a directory by normalised path, inside the root whatever links there are; -errno. */
int place_open(const struct place *p, const char *dir, int flags);
