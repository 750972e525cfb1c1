/*
 * Pushing: blobs that the registry lacks, then the manifest, byte for byte as the store has them. And login.
 *
 * Trust: the registry may answer anything; an upload's location is followed as it says. Threads: one.
 * #syscalls: openat fstat
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/store/db.h"
#include "image/store/remote.h"

static int open_blob(struct store *s, const char *digest, uint64_t *size, struct err *e)
{
	char path[96];
	struct stat st;

	blob_path(digest, path);
	int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		int r = err_sys(e, -errno, "%s/%s", s->path, path);

		close_fd(&fd);
		return r;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

int remote_put_blob(struct remote *r, int fd, uint64_t size, const char *digest, struct err *e)
{
	char url[4500];
	struct remote_answer a;

	snprintf(url, sizeof(url), "/v2/%s/blobs/%s", r->ref.repository, digest);
	const struct remote_request head = {
		.method = "HEAD", .url = url, .body = -1, .source = -1
	};
	int err = remote_ask(r, &head, &a, e);

	if (err)
		return err;
	if (a.status == 200) {
		store_progress(r->s, digest, "Exists", size, size);
		return 0;
	}
	if (!r->s->progress)
		store_status(r->s, "pushing %.19s, %.1f MB", digest, (double)size / 1e6);
	snprintf(url, sizeof(url), "/v2/%s/blobs/uploads/", r->ref.repository);
	const struct remote_request post = {
		.method = "POST", .url = url, .body = -1, .source = -1
	};

	err = remote_ask(r, &post, &a, e);
	if (err)
		return err;
	if (a.status != 202 || !*a.location)
		return remote_refusal(r, &a, "upload", e);
	snprintf(url, sizeof(url), "%s%cdigest=%s", a.location, strchr(a.location, '?') ? '&' : '?',
		 digest);
	const struct remote_request put = { .method = "PUT",
					    .url = url,
					    .body = -1,
					    .source = fd,
					    .type = "application/octet-stream",
					    .upload = size };

	err = remote_ask_shown(r, &put, digest, size, "Pushing", &a, e);
	if (!err && a.status == 201)
		store_progress(r->s, digest, "Pushed", size, size);
	return err ? err : a.status == 201 ? 0 : remote_refusal(r, &a, digest, e);
}

static int push_blob(struct remote *r, const char *digest, struct err *e)
{
	uint64_t size;
	cleanup_fd int fd = open_blob(r->s, digest, &size, e);

	return fd < 0 ? fd : remote_put_blob(r, fd, size, digest, e);
}

int remote_put_manifest(struct remote *r, int fd, uint64_t size, const char *type, struct err *e)
{
	struct remote_answer a;
	char url[800];

	snprintf(url, sizeof(url), "/v2/%s/manifests/%s", r->ref.repository,
		 *r->ref.digest ? r->ref.digest : r->ref.tag);
	const struct remote_request put = {
		.method = "PUT",
		.url = url,
		.body = -1,
		.source = fd,
		.upload = size,
		.type = type,
	};
	int err = remote_ask(r, &put, &a, e);

	return err ? err : a.status == 201 ? 0 : remote_refusal(r, &a, "manifest", e);
}

static int push_all(struct remote *r, const char *id, const char *manifest, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf text = BUF_INIT(4u << 20);
	struct arena arena = ARENA_INIT(64u << 20);
	struct image_manifest m;
	uint64_t size;
	int err = blob_get(r->s, manifest, &text, e);

	if (!err)
		err = image_manifest_parse(buf_str(&text), text.len, manifest, &arena, &m, e);
	for (size_t i = 0; !err && i < m.layers_n; i++)
		err = push_blob(r, m.layers[i].digest, e);
	if (!err)
		err = push_blob(r, id, e);
	cleanup_fd int fd = err ? -1 : open_blob(r->s, manifest, &size, e);

	if (!err)
		err = fd < 0 ? fd
			     : remote_put_manifest(
				       r, fd, text.len,
				       m.media_type ? m.media_type
						    : "application/vnd.oci.image.manifest.v1+json",
				       e);
	arena_fini(&arena);
	return err;
}

/* Where registries.conf sends what is written: the registry itself, never a mirror. */
int remote_open_place(struct remote *r, struct store *s, const struct reference *ref,
		      const char *creds, enum remote_tls tls, bool push, struct err *e)
{
	cleanup_with(registries_fini) struct registries c = { .n = 0 };
	struct reference place = *ref, next;
	bool insecure = false, one;
	int err = registries_load(&c, e);
	const struct registries_rule *rule = err ? NULL : registries_find(&c, ref);

	if (rule && rule->blocked)
		return err_set(e, -EACCES, "registry '%s' is blocked by registries.conf",
			       rule->prefix);
	/* The last of the places. */
	for (size_t i = 0; !err; i++) {
		int more = registries_place(rule, ref, i, &next, &one, e);

		if (more <= 0) {
			err = more;
			break;
		}
		place = next;
		insecure = one;
	}
	return err ? err : remote_open(r, s, &place, creds, remote_tls_for(tls, insecure), push, e);
}

int image_push(struct store *s, const char *image, const char *destination, const char *creds,
	       enum remote_tls tls, struct err *e)
{
	__attribute__((cleanup(remote_close))) struct remote r = { .s = NULL };
	cleanup_query sqlite3_stmt *q = NULL;
	char id[DIGEST_SIZE], name[1024], manifest[DIGEST_SIZE];
	struct reference ref;
	int err = image_find(s, image, id, name, e);

	if (!err)
		err = reference_parse(destination ? destination : *name ? name : image, &ref, e);
	if (!err)
		err = db_query(s, &q, e, "SELECT manifest FROM images WHERE id = ?", "s", id);
	if (!err)
		err = db_step(s, q, e) == 1 ? 0 : -ENOENT;
	if (err)
		return err;
	snprintf(manifest, sizeof(manifest), "%s", db_text(q, 0));
	err = remote_open_place(&r, s, &ref, creds, tls, true, e);
	if (!err)
		err = push_all(&r, id, manifest, e);
	if (err)
		return err_wrap(e, "push '%s'", image);
	char text[160];

	snprintf(text, sizeof(text), "{\"pushed\":\"%.80s\"}", manifest);
	s->say(s->say_arg, text);
	return 0;
}

int registry_login(struct store *s, const char *registry, const char *creds, enum remote_tls tls,
		   struct err *e)
{
	__attribute__((cleanup(remote_close))) struct remote r = { .s = NULL };
	const struct remote_request ping = { .url = "/v2/", .body = -1, .source = -1 };
	struct reference ref = { .tag = "" };
	struct remote_answer a;
	char path[PATH_MAX];

	if (strlen(registry) >= sizeof(ref.registry) || strpbrk(registry, "/ \n"))
		return err_set(e, -EINVAL, "registry '%.64s': not HOST[:PORT]", registry);
	snprintf(ref.registry, sizeof(ref.registry), "%s", registry);
	int err = remote_open_place(&r, s, &ref, creds, tls, false, e);

	if (!err)
		err = remote_ask(&r, &ping, &a, e);
	if (err)
		return err;
	if (a.status != 200)
		return err_set(e, -EACCES, "%s: user or password is wrong (HTTP status %d)",
			       registry, a.status);
	err = auth_store(registry, r.creds.user, r.creds.password, path, sizeof(path), e);
	if (!err)
		store_status(s, "credentials are in %s, readable by you alone", path);
	return err;
}
