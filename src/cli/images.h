/* What the image commands share. */
#pragma once

#include "base/err.h"
#include "cli/opt.h"

struct image;
struct json_object;

/* Asks the store (image/manage.h); prints its progress to stderr unless `quiet`, and hands the other lines to
 * `fn` (NULL: none expected). 0 or -errno. */
int images_ask(const char *const *words, bool quiet, void (*fn)(void *arg, struct json_object *o),
	       void *arg, struct err *e);

/* For images_ask(): prints docker's lines "Untagged: ..." and "Deleted: ...". */
void images_print_removed(void *arg, struct json_object *o);

/* Removes what nothing refers to (`all`: what no instance uses), prints it and adds its bytes to `freed`. 0 or -errno. */
int images_prune(bool all, uint64_t *freed, struct err *e);

/* Fetches an image from its registry, with progress on stderr. `platform` may be NULL. 0 or -errno. */
int images_pull(const char *image, const char *platform, struct err *e);

/* For images_ask: the name, or the id, of what was imported. */
void images_print_imported(void *arg, struct json_object *o);
/* A string member, "" when absent. */
const char *images_text(struct json_object *o, const char *key);

/* "linux/arm64/v8" as words for the store: "os=linux", ... `*n` of them. 0 or -EINVAL. */
int images_platform(const char *s, char words[3][64], size_t *n, struct err *e);

/* "3 weeks ago" of an RFC 3339 time or, when that is NULL, of Unix seconds. */
/* cmd_volume.c: removes volumes that no instance uses, prints them and adds their bytes to `freed`. 0 or -errno. */
int volumes_prune(bool all, const struct strlist *filters, uint64_t *freed, struct err *e);

void images_age(const char *rfc3339, int64_t unix_s, char *out, size_t size);
/* "12.3MB", powers of 1000 as docker prints sizes. */
void images_size(uint64_t bytes, char *out, size_t size);

/* docker's form of an image, to be put by the caller. */
struct json_object *images_describe(const struct image *img);
