/*
 * Contents by digest: manifests, configurations, packed layers. A blob gets its name when it is whole and
 * checked, by rename, so that the name vouches for the content; small ones are checked again when read.
 *
 * Trust: documents come from outside; their digests are verified here. Threads: one.
 * #syscalls: openat write read renameat faccessat
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image/store/store.h"
#include "os/file.h"

void blob_path(const char *digest, char out[96])
{
	snprintf(out, 96, "blobs/sha256/%.64s", digest + strlen("sha256:"));
}

bool blob_exists(const struct store *s, const char *digest)
{
	char path[96];

	blob_path(digest, path);
	return faccessat(s->dir, path, F_OK, 0) == 0;
}

int blob_put(struct store *s, const void *p, size_t n, char digest[DIGEST_SIZE], struct err *e)
{
	char is[DIGEST_SIZE], path[96];

	digest_of(p, n, is);
	if (*digest && strcmp(digest, is) != 0)
		return err_set(e, -EBADMSG, "%s: the content's digest is %s", digest, is);
	memcpy(digest, is, DIGEST_SIZE);
	if (blob_exists(s, is))
		return 0;
	blob_path(is, path);
	int r = file_replace(s->dir, path, p, n, 0600, false);

	return r ? err_sys(e, r, "%s/%s", s->path, path) : 0;
}

int blob_get(const struct store *s, const char *digest, struct buf *out, struct err *e)
{
	char is[DIGEST_SIZE], path[96];
	size_t before = out->len;

	blob_path(digest, path);
	int r = file_read(s->dir, path, out);

	if (r)
		return err_sys(e, r, "%s/%s", s->path, path);
	digest_of(buf_str(out) + before, out->len - before, is);
	if (strcmp(is, digest) != 0)
		return err_set(e, -EBADMSG, "%s/%s: damaged: its digest is %s", s->path, path, is);
	return 0;
}
