/* An image layout in a directory (image-spec, image-layout.md) or the unpacked form of docker save. */
#pragma once

#include "image/store/store.h"

struct layout {
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
