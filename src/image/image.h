/* Images by name: what `run` needs to start one. Everything that changes the store is in
 * image/manage.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "wire/image.h"

/* A resolved image. Owns its memory through the arena; image_fini() releases all. */
struct image {
	struct arena arena;
	const char *name; /* as people write it: "busybox:latest"; the id's start when untagged */
	const char *id;	  /* digest of the configuration: "sha256:..." */
	const char *manifest;	    /* digest of the manifest */
	const char *data;	    /* the store's directory */
	struct image_list layers;   /* absolute directories for overlayfs, lowest first */
	bool userxattr;		    /* layers were unpacked for a rootless overlay (userxattr) */
	struct image_config config; /* parsed */
	const char *config_json;    /* the document itself */
};

/* Finds `name` (a reference, an id, or at least 4 digits of an id) with one file read and no lock.
 * 0; -ENOENT when there is no such image here (then `run` may pull it); other -errno. Releases
 * nothing on failure that image_fini() would not release again. */
int image_resolve(const char *name, struct image *img, struct err *e);
void image_fini(struct image *img);

/* Says that `instance` (its id) uses the image, so that its layers stay until image_release(). The
 * claim counts as long as the directory `dir` exists: a claim whose instance is gone is dropped by
 * the next cleanup. 0 or -errno (-ENOENT: the image was removed just now). */
int image_hold(const struct image *img, const char *instance, const char *dir, struct err *e);
void image_release(const char *data, const char *image_id, const char *instance);

/* The directory for an instance's own disk data (overlay upper and work), <data>/instances/<id>;
 * made by the caller. 0 or -errno. */
int image_instance_dir(const char *instance, char *out, size_t size, struct err *e);
