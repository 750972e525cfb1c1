/* Volumes: directories that outlive instances, DATA/volumes/NAME/_data. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "bundle/bundle.h"
#include "image/image.h"

struct volume {
	char *name, *created, *mountpoint;
	struct strlist labels; /* "key=value" */
	bool anonymous;	       /* made for one instance, not by name */
	bool used;	       /* by an instance that exists */
};

void volume_fini(struct volume *v);

/* Makes a volume; one that exists stays as it is. `name` NULL invents one. The name is put into `out`, to be freed.
 * 0 or -errno. */
int volume_create(const char *name, const struct strlist *labels, bool anonymous, char **out,
		  struct err *e);
/* 0; -ENOENT; other -errno. */
int volume_load(const char *name, struct volume *v, struct err *e);
/* All names, sorted. 0 or -errno. */
int volume_list(struct strlist *names, struct err *e);
/* Whether an instance uses it; its id goes to `user` (65 bytes, or NULL). */
bool volume_used(const char *name, char *user);
/* 0; -EBUSY: an instance uses it; -ENOENT; other -errno. */
int volume_remove(const char *name, struct err *e);

/* For an instance (`id`, whose directory is `dir`): makes those of its volumes that are missing, claims them as used
 * for as long as `dir` exists, and fills new ones with what the image has at their place. 0 or -errno. */
int volumes_claim(const struct bundle_volume *v, size_t n, const char *id, const char *dir,
		  const struct image *img, struct err *e);
/* Gives them back by the lines of the instance's record (volume_line()); anonymous ones are removed when `remove`. */
void volumes_release(const struct strlist *lines, const char *id, bool remove);

/* "a NAME DESTINATION" for an anonymous volume, "n NAME DESTINATION" for a named one; to be freed. */
char *volume_line(const struct bundle_volume *v);
