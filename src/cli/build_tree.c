/*
 * COPY and ADD: files laid out as a layer's tree; and the cache of steps.
 *
 * Directories above the destination appear in the layer, so they are made as the image has them (and where its
 * links lead); otherwise COPY x /tmp/ would change /tmp. Files of the context belong to root, those of another stage to
 * whom they did: warren-store takes them out of the image. A step is looked up in the cache before anything is copied.
 *
 * Trust: sources are the user's, but must lie in the context, or in what was taken out of the image: names are resolved
 * and compared. Threads: none.
 * #syscalls: mkdir mkdirat chmod lchown openat read getdents64 newfstatat and those of run/inner.c
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "cli/build_int.h"
#include "cli/images.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/tree.h"
#include "run/disk.h"
#include "run/inner.h"

#define LINKS_MAX 40

static int cache_path(const char *key, char *out, size_t size)
{
	char data[PATH_MAX - 100];
	int r = paths_data(data, sizeof(data), NULL);

	if (r)
		return r;
	snprintf(out, size, "%s/cache", data);
	if (mkdir(out, 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(out, size, "%s/cache/%.64s", data, key + strlen("sha256:"));
	return 0;
}

bool build_cached(struct build *b, const char *text, const char *content, char key[DIGEST_SIZE])
{
	cleanup_with(buf_fini) struct buf all = BUF_INIT(4u << 20), id = BUF_INIT(128);
	char path[PATH_MAX];
	struct image img;

	buf_addf(&all, "%s\n%s\n%s\n", b->image, text, content);
	for (size_t i = 0; i < b->args.n; i++)
		buf_addf(&all, "%s\n", b->args.v[i]);
	digest_of(buf_str(&all), all.len, key);
	if (b->no_cache || all.error || cache_path(key, path, sizeof(path)) ||
	    file_read(AT_FDCWD, path, &id) || !digest_valid(buf_str(&id)) ||
	    image_resolve(buf_str(&id), &img, NULL))
		return false;
	image_fini(&img);
	snprintf(b->image, sizeof(b->image), "%s", buf_str(&id));
	return true;
}

void build_remember(const struct build *b, const char *key)
{
	char path[PATH_MAX];

	if (cache_path(key, path, sizeof(path)) == 0)
		file_replace(AT_FDCWD, path, b->image, strlen(b->image), 0600, false);
}

/* The directories of `path` ("a/b"), each as the image has it. `real` gets where it lies in the tree. */
static int make_way(struct build *b, const char *tree, const char *path, char *real, size_t size,
		    int depth, struct err *e)
{
	char part[PATH_MAX], full[PATH_MAX];
	size_t len = 0;

	real[0] = '\0';
	for (const char *p = path + strspn(path, "/"); *p; p += strspn(p, "/")) {
		size_t n = strcspn(p, "/");
		struct stat st;

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return err_set(e, -EINVAL, "destination '%s' contains '..'", path);
		len = strlen(real);
		if (!(n == 1 && p[0] == '.'))
			snprintf(real + len, size - len, "%s%.*s", len ? "/" : "", (int)n, p);
		p += n;
		int r = image_rootfs_stat(&b->img.layers, real, &st, part, sizeof(part));

		if (!r && !S_ISDIR(st.st_mode))
			return err_set(e, -ENOTDIR,
				       "destination '%s': '/%s' is no directory in the "
				       "image",
				       path, real);
		/* A link of the image leads elsewhere, and that is made from its top. */
		if (!r && !streq(part, real)) {
			if (depth > LINKS_MAX ||
			    snprintf(full, sizeof(full), "%s/%s", part, p) >= (int)sizeof(full))
				return err_set(e, -ELOOP, "destination '%s': too many links", path);
			return make_way(b, tree, full, real, size, depth + 1, e);
		}
		snprintf(full, sizeof(full), "%s/%s", tree, real);
		if (mkdir(full, 0755) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "'%s'", full);
		if (!r && (chmod(full, st.st_mode & 07777) < 0 ||
			   (geteuid() == 0 && lchown(full, st.st_uid, st.st_gid) < 0)))
			return err_sys(e, -errno, "'%s'", full);
	}
	return 0;
}

/* A source of the context: its real path, which must lie in it, and that path from the context's top. */
static int find_source(const struct build *b, const char *source, char real[PATH_MAX],
		       const char **rel, struct err *e)
{
	size_t n = strlen(b->context);

	if (!realpath(source, real))
		return err_sys(e, -errno, "source '%s'", source);
	if (strncmp(real, b->context, n) != 0 || (real[n] && real[n] != '/' && n > 1))
		return err_set(e, -EACCES, "source '%s' lies outside the context", source);
	*rel = real + n + strspn(real + n, "/");
	return 0;
}

struct laying {
	struct build *b;
	const struct build_copy *c;
	const char *top;  /* where sources are looked for */
	const char *tree; /* the layer's root */
	struct sha256 *h; /* looking only */
};

/* What a pattern means, below `top`. To be freed by globfree(). */
static int expand(const struct laying *l, const char *source, glob_t *g, struct err *e)
{
	char pattern[2 * PATH_MAX];

	snprintf(pattern, sizeof(pattern), "%s/%s", l->top, source + strspn(source, "/"));
	if (glob(pattern, 0, NULL, g))
		return err_set(e, -ENOENT, "source '%s': there is none in the %s", source,
			       l->c->from ? "image" : "context");
	return 0;
}

/* Names, kinds, modes and contents of all sources; not times, so that a fresh checkout hits the cache. */
static int hash_sources(const struct laying *l, struct err *e)
{
	const struct build_files f = { l->b, l->c, true, l->h };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < l->c->n; i++) {
		int some = 0;
		glob_t g;

		r = expand(l, l->c->sources[i], &g, e);
		if (r)
			return r;
		if (g.gl_pathc > 1 && !l->c->dir)
			r = err_set(e, -EINVAL,
				    "source '%s' is several files: the destination must end with "
				    "'/'",
				    l->c->sources[i]);
		for (size_t k = 0; r >= 0 && k < g.gl_pathc; k++) {
			char real[PATH_MAX];
			const char *rel;

			r = find_source(l->b, g.gl_pathv[k], real, &rel, e);
			if (!r)
				r = build_files_copy(&f, AT_FDCWD, real, -1, "", rel, e);
			some |= r > 0;
		}
		globfree(&g);
		if (r >= 0 && !some)
			r = err_set(e, -ENOENT, "source '%s': .dockerignore leaves it out",
				    l->c->sources[i]);
	}
	return r < 0 ? r : 0;
}

/* Whether ADD is to unpack it: a tar, plain or packed. */
static bool is_archive(const char *path)
{
	static const struct {
		size_t at, n;
		const char *bytes;
	} marks[] = { { 0, 2, "\x1f\x8b" },
		      { 0, 3, "BZh" },
		      { 0, 6, "\xfd\x37zXZ" },
		      { 0, 4, "\x28\xb5\x2f\xfd" },
		      { 257, 5, "ustar" } };
	cleanup_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char head[512] = "";

	if (fd < 0 || read_full(fd, head, sizeof(head)) <= 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (!memcmp(head + marks[i].at, marks[i].bytes, marks[i].n))
			return true;
	return false;
}

static void note_unpacked(void *arg, struct json_object *o)
{
	*(bool *)arg = *images_text(o, "unpacked");
}

/* 1: it was an archive, 0: it is a file like others, -errno. */
static int unpack(const char *path, const char *to, struct err *e)
{
	char source[PATH_MAX + 8], target[2 * PATH_MAX + 8];
	bool done = false;

	snprintf(source, sizeof(source), "source=%s", path);
	snprintf(target, sizeof(target), "to=%s", to);
	int r = images_ask((const char *[]){ "untar", source, target, NULL }, true, note_unpacked,
			   &done, e);

	return r ? r : done;
}

/* What was taken out of an image is looked through by the host's rules, for which its links begin at the host's root. */
static int check_taken(const char *top, const char *source, struct err *e)
{
	char way[PATH_MAX], real[PATH_MAX], all[PATH_MAX];
	const char *slash = strrchr(source, '/');

	/* With a slash at its end it is a link's target that is meant. */
	if (snprintf(way, sizeof(way), "%.*s", (int)(slash - source + 1), source) >=
	    (int)sizeof(way))
		return err_sys(e, -ENAMETOOLONG, "source '%.64s...'", source);
	if (!realpath(top, all) || !realpath(way, real))
		return err_sys(e, -errno, "source '%s'", source);
	const char *rest = str_after(real, all);

	return rest && (!*rest || *rest == '/')
		       ? 0
		       : err_set(e, -EACCES, "source '%s' leads out of the image by a link",
				 source + strlen(top));
}

/* One source to `to`, an absolute path of the host in the tree. Of a directory its content is copied. */
static int copy_one(const struct laying *l, const char *source, const char *to, struct err *e)
{
	const struct build_files f = { l->b, l->c, !l->c->from, NULL };
	char real[PATH_MAX], target[PATH_MAX];
	const char *rel = "", *slash = strrchr(source, '/');
	struct stat st;
	int r = 0;

	if (l->c->from && !(r = check_taken(l->top, source, e)))
		snprintf(real, sizeof(real), "%s", source);
	else if (!l->c->from)
		r = find_source(l->b, source, real, &rel, e);
	if (!r && (l->c->from ? lstat(real, &st) : stat(real, &st)) < 0)
		r = err_sys(e, -errno, "source '%s'", source);
	if (r)
		return r;
	bool into = l->c->dir && !S_ISDIR(st.st_mode);

	if (l->c->unpack && S_ISREG(st.st_mode) && is_archive(real)) {
		if (mkdir(to, 0755) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "'%s'", to);
		r = unpack(real, to, e);
		if (r)
			return r < 0 ? r : 0;
		if (!into)
			rmdir(to);
	}
	if (snprintf(target, sizeof(target), "%s%s%s", to, into ? "/" : "",
		     into ? slash + 1 : "") >= (int)sizeof(target))
		return err_set(e, -ENAMETOOLONG, "destination '%.64s...'", to);
	r = build_files_copy(&f, AT_FDCWD, real, AT_FDCWD, target, rel, e);
	return r < 0 ? r : 0;
}

static bool is_directory(const struct laying *l)
{
	char path[2 * PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", l->top, l->c->n == 1 ? l->c->sources[0] : "");
	return l->c->n == 1 && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int lay_out(void *arg, struct err *e)
{
	const struct laying *l = arg;
	const char *to = l->c->to, *slash = strrchr(to, '/');
	char way[PATH_MAX], real[PATH_MAX], full[PATH_MAX * 2 + 2], there[PATH_MAX];
	struct build_copy c = *l->c;
	struct laying with = *l;
	struct stat st;

	with.c = &c;
	/* A destination that is a directory of the image takes the file into it. */
	if (image_rootfs_stat(&l->b->img.layers, to + strspn(to, "/"), &st, there, sizeof(there)) ==
		    0 &&
	    S_ISDIR(st.st_mode))
		c.dir = true;
	bool whole = c.dir || is_directory(l);

	snprintf(way, sizeof(way), "%.*s", (int)(whole ? strlen(to) : (size_t)(slash - to)), to);
	int r = make_way(l->b, l->tree, way, real, sizeof(real), 0, e);

	snprintf(full, sizeof(full), "%s/%s%s%s", l->tree, real, whole ? "" : "/",
		 whole ? "" : slash + 1);
	for (size_t i = 0; !r && i < c.n; i++) {
		glob_t g;

		r = expand(&with, c.sources[i], &g, e);
		if (r)
			return r;
		if (g.gl_pathc > 1 && !c.dir)
			r = err_set(e, -EINVAL,
				    "source '%s' is several files: the destination must end with "
				    "'/'",
				    c.sources[i]);
		for (size_t k = 0; !r && k < g.gl_pathc; k++)
			r = copy_one(&with, g.gl_pathv[k], full, e);
		globfree(&g);
	}
	return r;
}

/* Takes the sources out of an image into `dir`, each below the directories that are above it there. */
static int take_out(const struct build_copy *c, const char *dir, struct err *e)
{
	char image[DIGEST_SIZE + 8], path[PATH_MAX + 8], to[PATH_MAX + 8];
	int r = 0;

	snprintf(image, sizeof(image), "image=%s", c->from);
	snprintf(to, sizeof(to), "to=%s", dir);
	for (size_t i = 0; !r && i < c->n; i++) {
		/* Of a pattern, the directory that its fixed part leads to. */
		size_t n = strcspn(c->sources[i], "*?["), whole = strlen(c->sources[i]);

		while (n < whole && n && c->sources[i][n - 1] != '/')
			n--;
		snprintf(path, sizeof(path), "path=%.*s", (int)n, c->sources[i]);
		r = images_ask((const char *[]){ "extract", image, path, to, NULL }, true, NULL,
			       NULL, e);
	}
	return r;
}

/* The layer's tree below `top`, and its commit. */
static int make_layer(struct build *b, const struct build_copy *c, const char *top,
		      const char *change, const char *text, build_commit_fn *commit, struct err *e)
{
	char tree[PATH_MAX], from[PATH_MAX];
	struct laying l = { b, c, c->from ? from : b->context, tree, NULL };
	int r = 0;

	snprintf(tree, sizeof(tree), "%s/tree", top);
	snprintf(from, sizeof(from), "%s/from", top);
	if (mkdir(tree, 0755) < 0 || (c->from && mkdir(from, 0755) < 0))
		return err_sys(e, -errno, "'%s'", tree);
	if (c->from)
		r = take_out(c, from, e);
	/* Owners other than ourselves are root's to give, also that of a user namespace. */
	if (!r)
		r = c->from || (c->has_owner && !c->unpack) ? inner_root(0, lay_out, &l, e)
							    : lay_out(&l, e);
	return r ? r : commit(b, tree, change, text, e);
}

int build_tree(struct build *b, const struct build_copy *c, const char *change, const char *text,
	       build_commit_fn *commit, struct err *e)
{
	char top[] = "/tmp/warren-build-XXXXXX", key[DIGEST_SIZE], content[DIGEST_SIZE];
	unsigned char raw[32];
	struct sha256 h;
	const struct laying look = { b, c, b->context, NULL, &h };
	struct err ignored = ERR_INIT;
	int r = 0;

	sha256_init(&h);
	if (c->from)
		sha256_add(&h, c->from, strlen(c->from));
	else
		r = hash_sources(&look, e);
	if (r)
		return r;
	sha256_finish(&h, raw);
	digest_from_bytes(raw, content);
	if (build_cached(b, text, content, key)) {
		if (!b->quiet)
			fprintf(stderr, "--> Using cache\n");
		return 0;
	}
	if (!mkdtemp(top))
		return err_sys(e, -errno, "'%s'", top);
	r = make_layer(b, c, top, change, text, commit, e);
	if (!r)
		build_remember(b, key);
	disk_remove(top, &ignored);
	return r;
}
