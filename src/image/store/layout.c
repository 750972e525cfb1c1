/*
 * Image layouts. From index.json down to the layers every document is found by its digest, checked against it
 * and against the size that its descriptor says, then parsed; layers are handed to the helper, which checks as
 * it unpacks. docker save's older form has no manifest: one is made for it.
 *
 * Trust: everything in the directory is hostile: opens never follow a link out of it and never block. What is
 * wrong is named by file and member. Threads: one. #syscalls: openat2 fstat read close
 */
#include "image/store/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"
#include "wire/json.h"

#define DOCUMENT_MAX (4u << 20)
#define LAYERS_MAX   512
#define NAMES_MAX    64

static int open_file(const struct layout *l, const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, l->dir, path, &how, sizeof(how));
	struct stat st;

	if (fd < 0)
		return err_sys(l->e, -errno, "%s: %s", l->source, path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(l->e, -EINVAL, "%s: %s: not a regular file", l->source, path);
	}
	return fd;
}

static int read_file(const struct layout *l, const char *path, struct buf *out)
{
	cleanup_fd int fd = open_file(l, path);

	if (fd < 0)
		return fd;
	int r = read_all(fd, out);

	return r ? err_sys(l->e, r, "%s: %s", l->source, path) : 0;
}

int layout_check(const struct layout *l, const struct image_descriptor *d, const struct buf *text,
		 const char *what)
{
	char is[DIGEST_SIZE];

	if (text->len != d->size)
		return err_set(l->e, -EBADMSG,
			       "%s: %s: size is %zu bytes, its descriptor says %llu", l->source,
			       what, text->len, (unsigned long long)d->size);
	digest_of(buf_str(text), text->len, is);
	if (strcmp(is, d->digest) != 0)
		return err_set(l->e, -EBADMSG, "%s: %s: the content's digest is %s", l->source,
			       what, is);
	return 0;
}

/* A document by its descriptor, checked. */
static int read_blob(struct layout *l, const struct image_descriptor *d, struct buf *out)
{
	char path[96];
	int r;

	blob_path(d->digest, path);
	if (d->size > DOCUMENT_MAX)
		return err_set(l->e, -EFBIG, "%s: %s: %llu bytes, at most %u are read", l->source,
			       path, (unsigned long long)d->size, DOCUMENT_MAX);
	r = read_file(l, path, out);
	return r ? r : layout_check(l, d, out, path);
}

/* All layers of an image, then the image itself. */
struct bringing {
	struct image_config config;
	struct layer *layers;
	const char *names[NAMES_MAX];
	size_t names_n;
	char id[DIGEST_SIZE], manifest[DIGEST_SIZE];
};

static int add_name(struct layout *l, struct bringing *b, const char *name)
{
	struct reference ref;
	char whole[1024];
	int r = reference_parse(name, &ref, l->e);

	if (r)
		return r;
	if (b->names_n == NAMES_MAX)
		return err_set(l->e, -E2BIG, "%s: more than %d names", l->source, NAMES_MAX);
	if (reference_format(&ref, whole, sizeof(whole)))
		return -ENAMETOOLONG;
	b->names[b->names_n] = arena_strdup(&l->arena, whole);
	return b->names[b->names_n++] ? 0 : -ENOMEM;
}

static int bring_layer(struct layout *l, const struct image_config *c, size_t i, const char *path,
		       const struct image_descriptor *d, struct layer *out)
{
	const char *diff_id = c->diff_ids.v[i];
	char name[512];
	int r = layer_find(l->s, diff_id, d ? d->digest : NULL, out, l->e);

	if (r)
		return r < 0 ? r : 0;
	cleanup_fd int fd = open_file(l, path);

	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "%s: %s", l->source, path);
	store_status(l->s, "layer %zu of %zu: unpacking %.19s", i + 1, c->diff_ids.n, diff_id);
	const struct layer_source src = { .fd = fd,
					  .name = name,
					  .digest = d ? d->digest : NULL,
					  .diff_id = diff_id,
					  .size = d ? d->size : 0 };

	return layer_add(l->s, &src, out, l->e);
}

static int read_layers(struct layout *l, const struct image_manifest *m,
		       const struct image_config *c, struct layer *out)
{
	char path[96];
	int r = 0;

	for (size_t i = 0; !r && i < m->layers_n; i++) {
		blob_path(m->layers[i].digest, path);
		r = bring_layer(l, c, i, path, &m->layers[i], &out[i]);
	}
	return r;
}

static const struct layout_ops directory_ops = { read_blob, read_layers };

static int check_platform(const struct layout *l, const struct image_config *c)
{
	if (c->os && strcmp(c->os, "linux") != 0)
		return err_set(l->e, -ENOEXEC, "%s: the image is for '%s', not for linux",
			       l->source, c->os);
	/* A manifest without an index is what it is: said, not refused. */
	if (c->architecture && l->r && l->r->architecture &&
	    strcmp(c->architecture, l->r->architecture) != 0)
		store_status(l->s, "Warning: %s is for %s, not for %s", l->source, c->architecture,
			     l->r->architecture);
	return 0;
}

static int take_config(struct layout *l, struct bringing *b, const struct buf *text, size_t layers)
{
	char name[512];

	snprintf(name, sizeof(name), "%s: configuration %.19s", l->source, b->id);
	int r = image_config_parse(buf_str(text), text->len, name, &l->arena, &b->config, l->e);

	if (r)
		return r;
	if (b->config.diff_ids.n != layers)
		return err_set(l->e, -EINVAL,
			       "%s: rootfs.diff_ids: %zu entries for %zu layers of the manifest",
			       name, b->config.diff_ids.n, layers);
	if (layers > LAYERS_MAX)
		return err_set(l->e, -E2BIG, "%s: rootfs.diff_ids: %zu layers, at most %d", name,
			       layers, LAYERS_MAX);
	b->layers = arena_calloc(&l->arena, layers, sizeof(*b->layers));
	return b->layers ? check_platform(l, &b->config) : -ENOMEM;
}

static int bring_manifest(struct layout *l, const struct image_descriptor *d, struct bringing *b)
{
	__attribute__((cleanup(buf_fini))) struct buf text = BUF_INIT(DOCUMENT_MAX);
	__attribute__((cleanup(buf_fini))) struct buf config = BUF_INIT(DOCUMENT_MAX);
	struct image_manifest m;
	char name[512];
	int r = l->ops->document(l, d, &text);

	snprintf(name, sizeof(name), "%s: manifest %.19s", l->source, d->digest);
	if (!r)
		r = image_manifest_parse(buf_str(&text), text.len, name, &l->arena, &m, l->e);
	if (r)
		return r;
	if (m.is_index)
		return err_set(l->e, -EINVAL, "%s: is an index inside an index inside an index",
			       name);
	if (m.artifact_type ||
	    strcmp(m.config.media_type, "application/vnd.oci.empty.v1+json") == 0)
		return err_set(l->e, -EINVAL,
			       "%s: is an artifact%s%.100s, no image: use warren artifact pull",
			       l->source, m.artifact_type ? " of type " : "",
			       m.artifact_type ? m.artifact_type : "");
	r = l->ops->document(l, &m.config, &config);
	if (r)
		return r;
	snprintf(b->id, sizeof(b->id), "%s", m.config.digest);
	r = take_config(l, b, &config, m.layers_n);
	for (size_t i = 0; !r && i < m.layers_n; i++)
		if (layer_packing(m.layers[i].media_type) == LAYER_UNKNOWN)
			return err_set(l->e, -EINVAL, "%s: layers[%zu].mediaType: '%s' is no layer",
				       name, i, m.layers[i].media_type);
	if (!r)
		r = l->ops->layers(l, &m, &b->config, b->layers);
	if (!r)
		r = blob_put(l->s, buf_str(&config), config.len, b->id, l->e);
	snprintf(b->manifest, sizeof(b->manifest), "%s", d->digest);
	if (!r)
		r = blob_put(l->s, buf_str(&text), text.len, b->manifest, l->e);
	const struct image_draft draft = { b->id, b->manifest, b->layers, m.layers_n };

	return r ? r : image_add(l->s, &draft, b->names, b->names_n, l->e);
}

static bool is_index_type(const char *type)
{
	return type &&
	       (strcmp(type, "application/vnd.oci.image.index.v1+json") == 0 ||
		strcmp(type, "application/vnd.docker.distribution.manifest.list.v2+json") == 0);
}

/* Follows one index into the manifest for the wanted platform. */
static int follow_index(struct layout *l, const struct image_descriptor **d)
{
	__attribute__((cleanup(buf_fini))) struct buf text = BUF_INIT(DOCUMENT_MAX);
	struct image_manifest *m = arena_alloc(&l->arena, sizeof(*m));
	char name[512];

	if (!m)
		return -ENOMEM;
	int r = l->ops->document(l, *d, &text);

	snprintf(name, sizeof(name), "%s: index %.19s", l->source, (*d)->digest);
	if (!r)
		r = image_manifest_parse(buf_str(&text), text.len, name, &l->arena, m, l->e);
	if (r)
		return r;
	if (!m->is_index)
		return err_set(l->e, -EINVAL, "%s: its descriptor says index, but it is a manifest",
			       name);
	*d = image_index_pick(m, l->r->os, l->r->architecture, l->r->variant);
	if (!*d)
		return err_set(l->e, -ENOENT, "%s: holds nothing for %s/%s", name, l->r->os,
			       l->r->architecture);
	return 0;
}

int layout_bring(struct layout *l, const struct image_descriptor *d, const char *const *names,
		 size_t names_n)
{
	struct bringing b = { .names_n = names_n };
	int r = is_index_type(d->media_type) ? follow_index(l, &d) : 0;

	if (names_n > NAMES_MAX)
		return -E2BIG;
	memcpy(b.names, names, names_n * sizeof(*names));
	return r ? r : bring_manifest(l, d, &b);
}

static const char *annotation(const struct image_descriptor *d, const char *key)
{
	for (size_t i = 0; i < d->annotations.n; i++)
		if (strcmp(d->annotations.v[i].key, key) == 0)
			return d->annotations.v[i].value;
	return NULL;
}

/* The entry of index.json that is meant. */
static int choose(struct layout *l, const struct image_manifest *index,
		  const struct image_descriptor **out)
{
	char have[512] = "";

	*out = NULL;
	for (size_t i = 0; i < index->layers_n; i++) {
		const struct image_descriptor *d = &index->layers[i];
		const char *tag = annotation(d, "org.opencontainers.image.ref.name");
		size_t n = strlen(have);

		snprintf(have + n, sizeof(have) - n, "%s%s", n ? ", " : "", tag ? tag : d->digest);
		if (l->tag ? tag && strcmp(tag, l->tag) == 0 : !*out)
			*out = d;
	}
	if (!*out)
		return err_set(l->e, -ENOENT, "%s: index.json: %s%s%s (it holds: %s)", l->source,
			       l->tag ? "no image named '" : "no image in it", l->tag ? l->tag : "",
			       l->tag ? "'" : "", *have ? have : "nothing");
	if (l->tag || index->layers_n == 1)
		return 0;
	/* Without tags it is one image for several platforms. */
	for (size_t i = 0; i < index->layers_n; i++)
		if (annotation(&index->layers[i], "org.opencontainers.image.ref.name"))
			return err_set(
				l->e, -EINVAL,
				"%s: index.json holds %zu images; choose one by SOURCE:NAME: "
				"%s",
				l->source, index->layers_n, have);
	*out = image_index_pick(index, l->r->os, l->r->architecture, l->r->variant);
	return *out ? 0
		    : err_set(l->e, -ENOENT, "%s: index.json holds nothing for %s/%s", l->source,
			      l->r->os, l->r->architecture);
}

/* What the image is to be called: by the user, or by the layout. */
static int names_of_oci(struct layout *l, const struct image_descriptor *d, struct bringing *b)
{
	const char *full = annotation(d, "io.containerd.image.name");
	const char *tag = annotation(d, "org.opencontainers.image.ref.name");
	struct reference ref;

	if (l->r->name)
		return add_name(l, b, l->r->name);
	if (full && reference_parse(full, &ref, NULL) == 0)
		return add_name(l, b, full);
	/* A ref.name is a tag by the specification and a whole name in practice. */
	if (tag && strpbrk(tag, "/:") && reference_parse(tag, &ref, NULL) == 0)
		return add_name(l, b, tag);
	return 0;
}

static int bring_entry(struct layout *l, const struct image_descriptor *d)
{
	struct bringing b = { .names_n = 0 };
	int r = names_of_oci(l, d, &b);

	return r ? r : layout_bring(l, d, b.names, b.names_n);
}

int layout_import_oci(struct layout *l)
{
	__attribute__((cleanup(buf_fini))) struct buf text = BUF_INIT(DOCUMENT_MAX);
	__attribute__((cleanup(buf_fini))) struct buf mark = BUF_INIT(4096);
	const struct image_descriptor *d;
	struct image_manifest index;
	char name[512];
	int r = read_file(l, "oci-layout", &mark);

	l->ops = &directory_ops;
	if (r)
		return r;
	if (!strstr(buf_str(&mark), "\"1."))
		return err_set(l->e, -EINVAL, "%s: oci-layout: imageLayoutVersion is not 1",
			       l->source);
	r = read_file(l, "index.json", &text);
	snprintf(name, sizeof(name), "%s: index.json", l->source);
	if (!r)
		r = image_manifest_parse(buf_str(&text), text.len, name, &l->arena, &index, l->e);
	if (!r && !index.is_index)
		r = err_set(l->e, -EINVAL, "%s: manifests: missing", name);
	for (size_t i = 0; !r && l->r->all && i < index.layers_n; i++)
		r = bring_entry(l, &index.layers[i]);
	if (r || l->r->all)
		return r;
	r = choose(l, &index, &d);
	return r ? r : bring_entry(l, d);
}

static int bring_docker(struct layout *l, const struct docker_entry *x)
{
	__attribute__((cleanup(buf_fini))) struct buf config = BUF_INIT(DOCUMENT_MAX);
	struct bringing b = { .names_n = 0 };
	int r = read_file(l, x->config, &config);

	if (!r && l->r->name)
		r = add_name(l, &b, l->r->name);
	for (size_t i = 0; !r && !l->r->name && i < x->tags.n; i++)
		r = add_name(l, &b, x->tags.v[i]);
	if (r)
		return r;
	digest_of(buf_str(&config), config.len, b.id);
	r = take_config(l, &b, &config, x->layers.n);
	for (size_t i = 0; !r && i < x->layers.n; i++)
		r = bring_layer(l, &b.config, i, x->layers.v[i], NULL, &b.layers[i]);
	if (r)
		return r;
	return image_add_made(l->s, buf_str(&config), b.layers, x->layers.n, b.names, b.names_n,
			      l->e);
}

/* Whether two names mean the same image: "a" is docker.io/library/a:latest. */
static bool same_name(const char *a, const char *b)
{
	struct reference x, y;
	char one[1024], two[1024];

	return reference_parse(a, &x, NULL) == 0 && reference_parse(b, &y, NULL) == 0 &&
	       reference_format(&x, one, sizeof(one)) == 0 &&
	       reference_format(&y, two, sizeof(two)) == 0 && strcmp(one, two) == 0;
}

int layout_import_docker(struct layout *l)
{
	__attribute__((cleanup(buf_fini))) struct buf text = BUF_INIT(DOCUMENT_MAX);
	struct docker_entry *v;
	char name[512];
	size_t n, done = 0;
	int r = read_file(l, "manifest.json", &text);

	snprintf(name, sizeof(name), "%s: manifest.json", l->source);
	if (!r)
		r = docker_manifest_parse(buf_str(&text), text.len, name, &l->arena, &v, &n, l->e);
	if (!r && l->r->name && n > 1 && !l->tag)
		r = err_set(l->e, -EINVAL, "%s: holds %zu images: one name cannot be given to all",
			    name, n);
	for (size_t i = 0; !r && i < n; i++) {
		bool wanted = !l->tag;

		for (size_t k = 0; !wanted && k < v[i].tags.n; k++)
			wanted = same_name(v[i].tags.v[k], l->tag);
		if (!wanted)
			continue;
		r = bring_docker(l, &v[i]);
		done++;
	}
	if (!r && !done)
		r = err_set(l->e, -ENOENT, "%s: no image%s%s in it", name, l->tag ? " named " : "",
			    l->tag ? l->tag : "");
	return r;
}
