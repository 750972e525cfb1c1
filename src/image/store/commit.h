/* From instances back to images. */
#pragma once

#include "image/store/store.h"

struct commit_request {
	const char *image;			   /* what the instance was made from */
	const char *upper;			   /* its overlay's upper directory */
	const char *name;			   /* of the new image, NULL: none */
	const char *author, *message, *created_by; /* NULL: none */
	const char *const *changes;		   /* "CMD [\"x\"]", as docker's --change */
	size_t changes_n;
};

/* 0 or -errno. */
int image_commit(struct store *s, const struct commit_request *c, struct err *e);
/* warren-pack: "layer" or "tree" of a directory to `out`. */
int store_pack(const char *mode, int dir, int out, const char *what, struct err *e);
/* Mounts what an image and an upper directory show, read-only, in a mount namespace of our own, which we enter; the
 * working directory is the store's afterwards. */
int store_mount_tree(struct store *s, const char *id, const char *upper, const char *at,
		     struct err *e);

/* extract.c */
/* Copies `path` of an image below the directory `to`, with the directories above it. 0 or -errno. */
int image_extract(struct store *s, const char *image, const char *path, const char *to,
		  struct err *e);
/* Unpacks a file into the directory `to` if it is an archive. 1: it was; 0: not; -errno. */
int file_unpack(struct store *s, const char *source, const char *to, struct err *e);
/* Copies what an image has at `path` into an empty volume, owners and modes too. 0 or -errno. */
int image_fill(struct store *s, const char *image, const char *path, const char *volume,
	       struct err *e);
/* The whole tree of an instance as a tar to `out`. 0 or -errno. */
int image_export(struct store *s, const char *image, const char *upper, int out, struct err *e);
