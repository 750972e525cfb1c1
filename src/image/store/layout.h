/* An image out of some source: a layout in a directory, the unpacked form of docker save, a registry. */
#pragma once

#include "image/store/store.h"

struct layout;

/* Where documents and layers come from. */
struct layout_ops {
	/* The document of a descriptor, its size and digest checked. 0 or -errno. */
	int (*document)(struct layout *l, const struct image_descriptor *d, struct buf *out);
	/* Puts all layers of the manifest into the store. 0 or -errno. */
	int (*layers)(struct layout *l, const struct image_manifest *m,
		      const struct image_config *c, struct layer *out);
};

struct layout {
	const struct layout_ops *ops;
	struct store *s;
	const struct import_request *r;
	int dir;
	const char *source; /* for errors */
	const char *tag;    /* which of several images, NULL: the only one */
	struct arena arena;
	struct err *e;
};

/* Imports what `dir` holds. 0 or -errno. */
int layout_import_oci(struct layout *l);
int layout_import_docker(struct layout *l);

/* Brings the image of a descriptor (of an index: the one for the wanted platform) and gives it the names (whole
 * references). 0 or -errno. */
int layout_bring(struct layout *l, const struct image_descriptor *d, const char *const *names,
		 size_t names_n);

/* Checks a document against its descriptor. 0 or -errno. */
int layout_check(const struct layout *l, const struct image_descriptor *d, const struct buf *text,
		 const char *what);
