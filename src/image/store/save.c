/*
 * Saving: one tar that is an image layout (oci-layout, index.json, blobs/) and docker save's form (manifest.json) at
 * the same time, as docker itself writes it since 25. The blobs go out byte for byte.
 *
 * Trust: the store is ours; small documents are checked again on the way. Threads: one.
 * #syscalls: openat write sendfile fstat
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/store/db.h"
#include "image/store/store.h"
#include "os/file.h"
#include "wire/json.h"
#include "wire/tar.h"

#define LISTS_MAX (8u << 20)

struct saving {
	struct store *s;
	int out;
	struct strlist done;	  /* digests that are in the tar */
	struct buf index, docker; /* the two lists, growing */
	struct err *e;
};

static int put(struct saving *v, const void *p, size_t n)
{
	int r = write_full(v->out, p, n);

	return r ? err_sys(v->e, r, "write the archive") : 0;
}

static int put_header(struct saving *v, enum tar_type type, const char *path, uint64_t size)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(1u << 20);
	const struct tar_entry t = { .type = type,
				     .path = path,
				     .link = "",
				     .size = size,
				     .mode = type == TAR_DIRECTORY ? 0755 : 0644 };

	return tar_add_header(&b, &t) ? b.error : put(v, b.data, b.len);
}

static int put_padding(struct saving *v, uint64_t size)
{
	static const char zeros[TAR_BLOCK];

	return put(v, zeros, tar_pad(size));
}

static int put_text(struct saving *v, const char *path, const struct buf *b)
{
	int r = b->error ? b->error : put_header(v, TAR_FILE, path, b->len);

	if (!r)
		r = put(v, buf_str(b), b->len);
	return r ? r : put_padding(v, b->len);
}

static int put_blob(struct saving *v, const char *digest)
{
	char path[96];
	struct stat st;

	if (strlist_has(&v->done, digest))
		return 0;
	blob_path(digest, path);
	cleanup_fd int fd = openat(v->s->dir, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(v->e, -errno, "%s/%s", v->s->path, path);
	int r = put_header(v, TAR_FILE, path, (uint64_t)st.st_size);

	for (off_t left = st.st_size; !r && left;) {
		ssize_t n = sendfile(v->out, fd, NULL, (size_t)left);

		if (n <= 0)
			return err_sys(v->e, n ? -errno : -EIO, "write the archive");
		left -= n;
	}
	if (!r)
		r = put_padding(v, (uint64_t)st.st_size);
	return r ? r : strlist_add(&v->done, digest);
}

/* The image's lines in index.json and manifest.json. */
static void describe(struct saving *v, const char *id, const char *manifest, size_t size,
		     const struct image_manifest *m, const struct reference *ref)
{
	char name[1024] = "";

	if (ref)
		reference_format(ref, name, sizeof(name));
	buf_addf(&v->index, "%s{\"mediaType\":", v->index.len ? "," : "");
	json_put_string(&v->index, m->media_type ? m->media_type
						 : "application/vnd.oci.image.manifest.v1+json");
	buf_addf(&v->index, ",\"digest\":\"%s\",\"size\":%zu", manifest, size);
	if (ref) {
		buf_adds(&v->index, ",\"annotations\":{\"io.containerd.image.name\":");
		json_put_string(&v->index, name);
		buf_adds(&v->index, ",\"org.opencontainers.image.ref.name\":");
		json_put_string(&v->index, ref->tag);
		buf_adds(&v->index, "}");
	}
	buf_adds(&v->index, "}");
	buf_addf(&v->docker, "%s{\"Config\":\"blobs/sha256/%s\",\"RepoTags\":[",
		 v->docker.len ? "," : "", id + 7);
	if (ref && reference_familiar(ref, name, sizeof(name)) == 0)
		json_put_string(&v->docker, name);
	buf_adds(&v->docker, "],\"Layers\":[");
	for (size_t i = 0; i < m->layers_n; i++)
		buf_addf(&v->docker, "%s\"blobs/sha256/%s\"", i ? "," : "",
			 m->layers[i].digest + 7);
	buf_adds(&v->docker, "]}");
}

static int save_one(struct saving *v, const char *what)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(4u << 20);
	struct arena a = ARENA_INIT(64u << 20);
	cleanup_query sqlite3_stmt *q = NULL;
	char id[DIGEST_SIZE], name[1024], manifest[DIGEST_SIZE];
	struct reference ref;
	struct image_manifest m;
	int r = image_find(v->s, what, id, name, v->e);

	if (!r)
		r = db_query(v->s, &q, v->e, "SELECT manifest FROM images WHERE id = ?", "s", id);
	if (!r)
		r = db_step(v->s, q, v->e) == 1 ? 0 : -ENOENT;
	if (r)
		return r;
	snprintf(manifest, sizeof(manifest), "%s", db_text(q, 0));
	r = blob_get(v->s, manifest, &text, v->e);
	if (!r)
		r = image_manifest_parse(text.data, text.len, manifest, &a, &m, v->e);
	for (size_t i = 0; !r && i < m.layers_n; i++)
		r = put_blob(v, m.layers[i].digest);
	if (!r)
		r = put_blob(v, id);
	if (!r)
		r = put_blob(v, manifest);
	if (!r)
		describe(v, id, manifest, text.len, &m,
			 *name && reference_parse(name, &ref, NULL) == 0 ? &ref : NULL);
	arena_fini(&a);
	return r;
}

/* Wraps a growing list: head, list, tail. */
static int put_list(struct saving *v, const char *path, const char *head, const struct buf *list,
		    const char *tail)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(LISTS_MAX + 1024);

	buf_adds(&b, head);
	buf_add(&b, buf_str(list), list->len);
	buf_adds(&b, tail);
	return list->error ? list->error : put_text(v, path, &b);
}

int image_save(struct store *s, int out, const char *const *images, size_t n, struct err *e)
{
	static const char end[2 * TAR_BLOCK];
	struct saving v = { .s = s,
			    .out = out,
			    .index = BUF_INIT(LISTS_MAX),
			    .docker = BUF_INIT(LISTS_MAX),
			    .e = e };
	struct buf none = BUF_INIT(1);
	int r = put_header(&v, TAR_DIRECTORY, "blobs/", 0);

	if (!r)
		r = put_header(&v, TAR_DIRECTORY, "blobs/sha256/", 0);
	for (size_t i = 0; !r && i < n; i++)
		r = save_one(&v, images[i]);
	if (!r)
		r = put_list(&v, "index.json",
			     "{\"schemaVersion\":2,\"mediaType\":"
			     "\"application/vnd.oci.image.index.v1+json\",\"manifests\":[",
			     &v.index, "]}");
	if (!r)
		r = put_list(&v, "manifest.json", "[", &v.docker, "]");
	if (!r)
		r = put_list(&v, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", &none, "");
	if (!r)
		r = put(&v, end, sizeof(end));
	strlist_fini(&v.done);
	buf_fini(&v.index);
	buf_fini(&v.docker);
	return r;
}
