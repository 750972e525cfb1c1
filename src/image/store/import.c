/*
 * Import: what kind of thing the source is, and the image that a plain root file system becomes.
 *
 * An archive of images is unpacked into scratch first (plain files only), then treated as a directory; a root file
 * system's tarball is itself the one layer.
 *
 * Trust: the source's path is the user's, its content hostile. Threads: one.
 * #syscalls: openat newfstatat faccessat
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/store/layout.h"
#include "image/store/store.h"
#include "wire/json.h"

static void now_text(char out[32])
{
	time_t t = time(NULL);
	struct tm tm;

	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
}

int image_add_made(struct store *s, const char *config, const struct layer *layers, size_t n,
		   const char *const *names, size_t names_n, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf m = BUF_INIT(4u << 20);
	char id[DIGEST_SIZE] = "", manifest[DIGEST_SIZE] = "";
	int r = blob_put(s, config, strlen(config), id, e);

	buf_addf(
		&m,
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		"\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
		"\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
		id, strlen(config));
	for (size_t i = 0; i < n; i++)
		buf_addf(&m, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}",
			 i ? "," : "", layers[i].media_type, layers[i].blob,
			 (unsigned long long)layers[i].blob_size);
	buf_adds(&m, "]}");
	if (!r)
		r = m.error ? m.error : blob_put(s, m.data, m.len, manifest, e);
	const struct image_draft draft = { id, manifest, layers, n };

	return r ? r : image_add(s, &draft, names, names_n, e);
}

/* The configuration of an image that is only a root file system. */
static int rootfs_config(const struct import_request *r, const struct layer *layer, struct buf *b)
{
	char now[32];

	now_text(now);
	buf_addf(b, "{\"created\":\"%s\",\"architecture\":", now);
	json_put_string(b, r->architecture);
	buf_addf(b, ",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:"
		    "/usr/sbin:/usr/bin:/sbin:/bin\"],\"Cmd\":[");
	json_put_string(b, r->cmd ? r->cmd : "/bin/sh");
	buf_addf(b,
		 "]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]},"
		 "\"history\":[{\"created\":\"%s\",\"created_by\":\"warren image import\"}]}",
		 layer->diff_id, now);
	return b->error;
}

/* "dir/debian-12.tar.gz" -> "debian-12" */
static const char *name_of_file(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');
	size_t n;

	snprintf(out, size, "%.255s", slash ? slash + 1 : path);
	n = strcspn(out, ".");
	while (out[n] == '.' && out[n + 1] >= '0' && out[n + 1] <= '9')
		n += 1 + strcspn(out + n + 1, ".");
	out[n] = '\0';
	for (char *p = out; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
	return out;
}

static int import_rootfs(struct store *s, const struct import_request *r, const char *path, int fd,
			 struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf config = BUF_INIT(1u << 20);
	const struct layer_source src = { .fd = fd, .name = path, .whole = true };
	char from_file[256], whole[1024];
	struct reference ref;
	struct layer layer;
	int err = reference_parse(
		r->name ? r->name : name_of_file(path, from_file, sizeof(from_file)), &ref, e);

	if (err)
		return err_wrap(e, "%s", r->name ? "the new image" : "no NAME was given");
	if (reference_format(&ref, whole, sizeof(whole)))
		return -ENAMETOOLONG;
	store_status(s, "unpacking %s", path);
	err = layer_add(s, &src, &layer, e);
	if (!err)
		err = rootfs_config(r, &layer, &config);
	const char *names[] = { whole };

	return err ? err : image_add_made(s, config.data, &layer, 1, names, 1, e);
}

static int import_directory(struct store *s, const struct import_request *r, const char *source,
			    int dir, const char *tag, bool docker, struct err *e)
{
	struct layout l = { .s = s,
			    .r = r,
			    .dir = dir,
			    .source = source,
			    .tag = tag,
			    .arena = ARENA_INIT(64u << 20),
			    .e = e };
	int err = docker ? layout_import_docker(&l) : layout_import_oci(&l);

	arena_fini(&l.arena);
	return err;
}

static int import_archive(struct store *s, const struct import_request *r, const char *path, int fd,
			  const char *tag, bool docker, struct err *e)
{
	struct scratch t = SCRATCH_NONE;
	int err = store_scratch(s, &t, e);

	store_status(s, "reading %s", path);
	if (!err)
		err = archive_unpack(s, fd, path, t.fd, e);
	if (!err)
		err = import_directory(s, r, path, t.fd, tag, docker, e);
	store_scratch_drop(s, &t);
	return err;
}

enum source_kind { SOURCE_ANY, SOURCE_OCI, SOURCE_OCI_ARCHIVE, SOURCE_DOCKER, SOURCE_ROOTFS };

/* "oci:PATH" and its like; what remains is the path. */
static enum source_kind take_prefix(const char **source)
{
	static const struct {
		const char *prefix;
		enum source_kind kind;
	} known[] = {
		{ "oci-archive:", SOURCE_OCI_ARCHIVE },
		{ "docker-archive:", SOURCE_DOCKER },
		{ "oci:", SOURCE_OCI },
		{ "rootfs:", SOURCE_ROOTFS },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const char *rest = str_after(*source, known[i].prefix);

		if (rest) {
			*source = rest;
			return known[i].kind;
		}
	}
	return SOURCE_ANY;
}

/* Opens PATH, or PATH of "PATH:TAG" when there is no file of the whole name. */
static int open_source(char *path, const char **tag, struct stat *st, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int first = -errno;
	char *colon = fd < 0 && errno == ENOENT ? strchr(path, ':') : NULL;

	*tag = NULL;
	if (colon) {
		*colon = '\0';
		*tag = colon + 1;
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			*colon = ':';
	}
	if (fd < 0)
		return err_sys(e, first, "'%s'", path);
	if (fstat(fd, st) < 0 || (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode))) {
		close(fd);
		return err_set(e, -EINVAL, "'%s': neither a file nor a directory", path);
	}
	return fd;
}

int image_import(struct store *s, const struct import_request *r, struct err *e)
{
	const char *source = r->source, *tag;
	enum source_kind kind = take_prefix(&source);
	char path[PATH_MAX], word[16] = "rootfs";
	struct stat st;

	if (snprintf(path, sizeof(path), "%s", source) >= (int)sizeof(path))
		return err_set(e, -ENAMETOOLONG, "'%.64s...'", source);
	cleanup_fd int fd = open_source(path, &tag, &st, e);

	if (fd < 0)
		return fd;
	if (r->title)
		snprintf(path, sizeof(path), "%s", r->title);
	if (S_ISDIR(st.st_mode)) {
		bool layout = faccessat(fd, "oci-layout", F_OK, 0) == 0;

		if (!layout && kind == SOURCE_ANY)
			return err_set(e, -EINVAL,
				       "'%s': a directory without 'oci-layout' is no image layout; "
				       "for a root file system use a tarball, or run --rootfs",
				       path);
		return import_directory(s, r, path, fd, tag, kind == SOURCE_DOCKER, e);
	}
	if (st.st_size == 0)
		return err_set(e, -EINVAL, "'%s': empty file", path);
	if (kind == SOURCE_ANY) {
		int err = archive_kind(fd, path, word, e);

		if (err)
			return err;
	}
	if (r->all && kind == SOURCE_ANY && streq(word, "rootfs"))
		return err_set(
			e, -EINVAL,
			"'%s': holds no image (neither an image layout nor docker save's form); "
			"for a root file system use 'warren image import'",
			path);
	if (kind == SOURCE_ROOTFS || (kind == SOURCE_ANY && streq(word, "rootfs")))
		return import_rootfs(s, r, path, fd, e);
	return import_archive(s, r, path, fd, tag, kind == SOURCE_DOCKER || streq(word, "docker"),
			      e);
}
