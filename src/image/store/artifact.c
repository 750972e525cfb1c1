/*
 * Artifacts (image-spec 1.1, manifest.md, "Guidelines for Artifact Usage"): files that travel through registries as they
 * are, such as kernels and disk images. The configuration is the empty one, each file is a layer with its name in
 * org.opencontainers.image.title. They are not kept in the store: pull puts them into a directory.
 *
 * Trust: the registry is hostile: a file gets its name once its size and digest are those of the manifest; a name with a
 * directory in it is refused. Threads: one. #syscalls: openat read renameat unlinkat memfd_create
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "image/store/remote.h"
#include "os/file.h"
#include "wire/json.h"
#include "wire/sha256.h"

#define DOCUMENT_MAX (4u << 20)
#define MANIFEST     "application/vnd.oci.image.manifest.v1+json"
#define EMPTY	     "application/vnd.oci.empty.v1+json"
#define TITLE	     "org.opencontainers.image.title"

static const char *type_of(const char *name)
{
	static const char *const known[][2] = {
		{ ".qcow2", "application/x-qcow2" },
		{ ".deb", "application/vnd.debian.binary-package" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_ends(name, known[i][0]))
			return known[i][1];
	return "application/octet-stream";
}

static int digest_of_file(int fd, char digest[DIGEST_SIZE], uint64_t *size)
{
	static char piece[1 << 20];
	unsigned char raw[32];
	struct sha256 h;
	ssize_t n;

	sha256_init(&h);
	*size = 0;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	while ((n = read_full(fd, piece, sizeof(piece))) > 0) {
		sha256_add(&h, piece, (size_t)n);
		*size += (uint64_t)n;
	}
	sha256_finish(&h, raw);
	digest_from_bytes(raw, digest);
	return (int)n;
}

static int put_text(struct remote *r, const char *text, size_t n, const char *manifest_type,
		    char digest[DIGEST_SIZE], struct err *e)
{
	cleanup_fd int fd = memfd_create("document", MFD_CLOEXEC);

	digest_of(text, n, digest);
	if (fd < 0 || write_full(fd, text, n))
		return err_sys(e, -errno, "artifact");
	return manifest_type ? remote_put_manifest(r, fd, n, manifest_type, e)
			     : remote_put_blob(r, fd, n, digest, e);
}

static int push_file(struct remote *r, const char *path, struct buf *layers, struct err *e)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char digest[DIGEST_SIZE];
	uint64_t size;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "'%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "'%s': not a regular file", path);
	int err = digest_of_file(fd, digest, &size);

	if (err)
		return err_sys(e, err, "'%s'", path);
	buf_addf(layers,
		 "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu,\"annotations\":{",
		 layers->len ? "," : "", type_of(name), digest, (unsigned long long)size);
	json_put_string(layers, TITLE);
	buf_addc(layers, ':');
	json_put_string(layers, name);
	buf_adds(layers, "}}");
	return remote_put_blob(r, fd, size, digest, e);
}

int artifact_push(struct store *s, const char *name, const char *type, const char *const *files,
		  size_t n, const char *creds, enum remote_tls tls, struct err *e)
{
	cleanup_with(buf_fini) struct buf layers = BUF_INIT(DOCUMENT_MAX),
					  manifest = BUF_INIT(DOCUMENT_MAX);
	cleanup_with(remote_close) struct remote r = { .s = NULL };
	char digest[DIGEST_SIZE], config[DIGEST_SIZE], text[160];
	struct reference ref;
	int err = n ? reference_parse(name, &ref, e) : err_set(e, -EINVAL, "no files");

	if (!err)
		err = remote_open_place(&r, s, &ref, creds, tls, true, e);
	for (size_t i = 0; !err && i < n; i++)
		err = push_file(&r, files[i], &layers, e);
	if (!err)
		err = put_text(&r, "{}", 2, NULL, config, e);
	if (err)
		return err_wrap(e, "push '%s'", name);
	buf_adds(&manifest,
		 "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST "\",\"artifactType\":");
	json_put_string(&manifest, type);
	buf_addf(&manifest,
		 ",\"config\":{\"mediaType\":\"" EMPTY
		 "\",\"digest\":\"%s\",\"size\":2},\"layers\":[",
		 config);
	buf_add(&manifest, buf_str(&layers), layers.len);
	buf_adds(&manifest, "]}");
	err = manifest.error ? manifest.error
			     : put_text(&r, manifest.data, manifest.len, MANIFEST, digest, e);
	if (err)
		return err_wrap(e, "push '%s'", name);
	snprintf(text, sizeof(text), "{\"pushed\":\"%.80s\"}", digest);
	s->say(s->say_arg, text);
	return 0;
}

/* The file's name in the directory; one that leads elsewhere is nobody's. */
static int title_of(const struct image_descriptor *d, const char **out, struct err *e)
{
	*out = d->digest + strlen("sha256:");
	for (size_t i = 0; i < d->annotations.n; i++)
		if (streq(d->annotations.v[i].key, TITLE))
			*out = d->annotations.v[i].value;
	bool plain = **out && (*out)[0] != '.' && strlen(*out) <= 250;

	/* It is shown to a terminal, too. */
	for (const char *p = *out; *p; p++)
		plain &= (unsigned char)*p >= ' ' && *p != '/' && *p != 0x7f;
	if (!plain)
		return err_set(e, -EINVAL, "the manifest's file name '%.64s' is no plain name",
			       *out);
	return 0;
}

static int pull_file(struct remote *r, const struct image_descriptor *d, int dir, struct err *e)
{
	char url[512], part[300], digest[DIGEST_SIZE];
	struct remote_answer a;
	const char *title;
	uint64_t size;
	int err = title_of(d, &title, e);

	if (err)
		return err;
	snprintf(part, sizeof(part), ".%s.part", title);
	snprintf(url, sizeof(url), "/v2/%s/blobs/%s", r->ref.repository, d->digest);
	unlinkat(dir, part, 0);
	cleanup_fd int fd = openat(dir, part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	const struct remote_request q = {
		.url = url, .body = fd, .source = -1, .size = d->size, .max = d->size
	};

	if (fd < 0)
		return err_sys(e, -errno, "'%s'", title);
	if (!r->s->progress)
		store_status(r->s, "pulling %s, %.1f MB", title, (double)d->size / 1e6);
	err = remote_ask_shown(r, &q, d->digest, d->size, "Pulling", &a, e);
	if (!err && a.status != 200 && a.status != 206)
		err = remote_refusal(r, &a, title, e);
	if (!err && (err = digest_of_file(fd, digest, &size)))
		err_sys(e, err, "'%s'", title);
	if (!err && (size != d->size || !streq(digest, d->digest)))
		err = err_set(e, -EBADMSG, "%s: digest is %s, the manifest says %s", title, digest,
			      d->digest);
	if (!err && (fsync(fd) < 0 || renameat(dir, part, dir, title) < 0))
		err = err_sys(e, -errno, "'%s'", title);
	if (err)
		unlinkat(dir, part, 0);
	else
		store_progress(r->s, d->digest, "Pulled", d->size, d->size);
	return err;
}

static void say_file(struct store *s, const char *title)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(4096);

	buf_adds(&b, "{\"file\":");
	json_put_string(&b, title);
	buf_addc(&b, '}');
	s->say(s->say_arg, buf_str(&b));
}

int artifact_pull(struct store *s, const char *name, const char *to, const char *creds,
		  enum remote_tls tls, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(DOCUMENT_MAX);
	cleanup_with(arena_fini) struct arena arena = ARENA_INIT(64u << 20);
	cleanup_with(remote_close) struct remote r = { .s = NULL };
	cleanup_fd int dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct remote_answer a;
	struct image_manifest m;
	struct reference ref;
	char url[700], digest[DIGEST_SIZE];
	int err = dir < 0 ? err_sys(e, -errno, "'%s'", to) : reference_parse(name, &ref, e);

	if (!err)
		err = remote_open_place(&r, s, &ref, creds, tls, false, e);
	if (err)
		return err;
	snprintf(url, sizeof(url), "/v2/%s/manifests/%s", r.ref.repository,
		 *r.ref.digest ? r.ref.digest : r.ref.tag);
	const struct remote_request q = {
		.url = url, .accept = MANIFEST, .source = -1, .max = DOCUMENT_MAX
	};

	err = remote_get(&r, &q, &a, &text, e);
	if (!err && a.status != 200)
		err = remote_refusal(&r, &a, name, e);
	digest_of(buf_str(&text), text.len, digest);
	if (!err && *r.ref.digest && !streq(digest, r.ref.digest))
		err = err_set(e, -EBADMSG, "the manifest's digest is %s", digest);
	if (!err)
		err = image_manifest_parse(buf_str(&text), text.len, name, &arena, &m, e);
	if (!err &&
	    (m.is_index || streq(m.config.media_type, "application/vnd.oci.image.config.v1+json")))
		err = err_set(e, -EINVAL, "is an image, no artifact: use warren pull");
	for (size_t i = 0; !err && i < m.layers_n; i++) {
		const char *title;

		err = pull_file(&r, &m.layers[i], dir, e);
		if (!err && !title_of(&m.layers[i], &title, e))
			say_file(s, title);
	}
	return err ? err_wrap(e, "pull '%s'", name) : 0;
}
