/* The image store as warren-store sees it: one directory, one database, one lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "wire/image.h"
#include "wire/reference.h"

struct sqlite3;

struct store {
	const char *path; /* the data directory */
	int dir;	  /* open on it */
	bool rootless;	  /* we are root of a user namespace: overlayfs wants user.* attributes */
	struct sqlite3 *db;
	int busy;      /* shared lock: nothing is collected meanwhile */
	int lock;      /* the exclusive one, while something changes; -1 otherwise */
	bool progress; /* the caller draws bars: store_progress() speaks */
	/* One JSON object to the caller. */
	void (*say)(void *arg, const char *json);
	void *say_arg;
};

/* Makes what is missing, repairs after an interrupted change, removes leftovers of dead processes. 0 or
 * -errno. */
int store_open(struct store *s, const char *path, bool rootless, struct err *e);
void store_close(struct store *s);

/* Says {"status": "..."}: progress for a person. */
void store_status(const struct store *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Says how far a blob is, when somebody wants to see it. */
void store_progress(const struct store *s, const char *digest, const char *state, uint64_t current,
		    uint64_t total);

/* A change: takes the lock, marks the store dirty, begins a transaction. store_change_end() commits when
 * `r` is 0 and then writes the records of image `id` (NULL: none); otherwise it rolls back. Returns r or
 * its own error. */
int store_change_begin(struct store *s, struct err *e);
int store_change_end(struct store *s, int r, const char *id, struct err *e);

/* A directory in tmp/ that is ours while we live; removed by store_scratch_drop() or, when we die, by the
 * next store_open(). */
struct scratch {
	char name[64]; /* "tmp/..." */
	int fd;	       /* on it, locked */
};

#define SCRATCH_NONE                 \
	{                            \
		.name = "", .fd = -1 \
	}

int store_scratch(struct store *s, struct scratch *t, struct err *e);
void store_scratch_drop(struct store *s, struct scratch *t);

/* blobs.c: contents by digest, blobs/sha256/<hex>. */
void blob_path(const char *digest, char out[96]);
bool blob_exists(const struct store *s, const char *digest);
/* Stores a small document. `digest` is set when it is empty, else checked. 0 or -errno. */
int blob_put(struct store *s, const void *p, size_t n, char digest[DIGEST_SIZE], struct err *e);
/* Reads one back, up to the buffer's maximum, and checks it. 0 or -errno. */
int blob_get(const struct store *s, const char *digest, struct buf *out, struct err *e);

/* layers.c */
struct layer_source {
	int fd;		     /* the packed layer, at its start */
	const char *name;    /* for errors */
	const char *digest;  /* what its bytes must hash to; NULL: not known */
	const char *diff_id; /* likewise, unpacked; NULL: not known */
	uint64_t size;	     /* what its size must be; 0: not known */
	bool whole;	     /* the tar must have its end mark */
};

struct layer {
	int64_t number; /* layers/<number>/fs */
	char diff_id[DIGEST_SIZE];
	char blob[DIGEST_SIZE]; /* the packed form that the store keeps */
	uint64_t blob_size;
	const char *media_type;
};

/* Finds a layer that is there already (with its blob). 1, 0, -errno. */
int layer_find(struct store *s, const char *diff_id, const char *blob, struct layer *out,
	       struct err *e);
/* Unpacks a layer into the store; when two processes bring the same one, one works and the other waits. 0
 * or -errno. */
int layer_add(struct store *s, const struct layer_source *src, struct layer *out, struct err *e);
/* Unpacks an archive of plain files into a directory, or says what kind of archive it is ("oci",
 * "docker", "rootfs"). 0 or -errno. */
int archive_unpack(struct store *s, int fd, const char *name, int dir, struct err *e);
/* Unpacks a tar with owners, modes and attributes into a directory. 0 or -errno. */
int tree_unpack(struct store *s, int fd, const char *name, int dir, struct err *e);
int archive_kind(int fd, const char *name, char kind[16], struct err *e);

/* images.c */
struct image_draft {
	const char *config;   /* digest: the image's id */
	const char *manifest; /* digest */
	const struct layer *layers;
	size_t layers_n;
};

/* Makes the image known and gives it the names (whole references). 0 or -errno. */
int image_add(struct store *s, const struct image_draft *d, const char *const *names,
	      size_t names_n, struct err *e);
/* The id of a name, an id or the start of one. 0, -ENOENT, -errno. */
int image_find(struct store *s, const char *what, char id[DIGEST_SIZE], char name[1024],
	       struct err *e);
int image_tag(struct store *s, const char *what, const char *name, struct err *e);
/* Takes a name away, or the image when it was the last. */
int image_remove(struct store *s, const char *what, bool force, struct err *e);
/* Says {"layerBytes": N} for each layer, lowest first. */
int image_layer_sizes(struct store *s, const char *what, struct err *e);
int image_list_all(struct store *s, struct err *e);
/* Removes images without a name (`all`: all that no instance uses), then everything that nothing refers
 * to. */
int image_prune(struct store *s, bool all, struct err *e);

/* records.c: the files that `run` reads. Need the lock. */
int records_write(struct store *s, const char *id, struct err *e);
int records_remove(struct store *s, const char *id, struct err *e);
int record_name_remove(struct store *s, const char *name, struct err *e);
/* All of them anew. */
int records_rebuild(struct store *s, struct err *e);

/* collect.c */
/* Removes what no image refers to. Does nothing while another process is bringing something. Bytes freed
 * go to `*freed`. 0 or -errno. */
int store_collect(struct store *s, uint64_t *freed, struct err *e);
/* The first instance that claims the image and still exists, "" when none does. */
void claims_find(struct store *s, const char *id, char *instance, size_t size);
int store_usage(struct store *s, struct err *e);

/* import.c */
struct import_request {
	const char *source; /* a path, or "oci:", "oci-archive:", "docker-archive:", "rootfs:" */
	const char *title;  /* what errors call the source; NULL: its path */
	const char *name;   /* NULL: what the source says */
	bool all;	    /* every image of the source, not one; a root file system is none */
	const char *os, *architecture, *variant;
	const char *cmd; /* of a plain root file system: its command; NULL: /bin/sh */
};

int image_import(struct store *s, const struct import_request *r, struct err *e);
/* save.c: an archive of images (names or ids) to a descriptor. 0 or -errno. */
int image_save(struct store *s, int out, const char *const *images, size_t n, struct err *e);

/* Stores configuration and manifest of an image that has none, and adds it. `config` is the whole
 * document. */
int image_add_made(struct store *s, const char *config, const struct layer *layers, size_t n,
		   const char *const *names, size_t names_n, struct err *e);
