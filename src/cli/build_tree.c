/*
 * COPY: files of the context laid out as a layer's tree; and the cache of steps.
 *
 * Directories above the destination appear in the layer, so they are made as the image has them (and where its
 * links lead); otherwise COPY x /tmp/ would change /tmp. Files belong to root.
 *
 * Trust: sources are the user's, but must lie in the context: names are resolved and compared. Threads: none.
 * #syscalls: mkdir mkdirat chmod lchown openat read getdents64 newfstatat and those of os/spawn.c
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
#include "cli/build_int.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/spawn.h"
#include "os/tree.h"
#include "wire/sha256.h"

#define DEPTH_MAX 128
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

static int hash_file(int dir, const char *name, struct sha256 *h)
{
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char piece[65536];
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read_full(fd, piece, sizeof(piece))) > 0)
		sha256_add(h, piece, (size_t)n);
	return (int)n;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Names, kinds, modes and contents; not times, so that a fresh checkout hits the cache. */
static int hash_tree(int dir, const char *name, struct sha256 *h, int depth)
{
	char head[PATH_MAX + 64], target[PATH_MAX] = "";
	struct dirent **names = NULL;
	struct stat st;
	int r = 0;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode) && readlinkat(dir, name, target, sizeof(target) - 1) < 0)
		return -errno;
	snprintf(head, sizeof(head), "%s\n%o\n%s\n", depth ? name : "", st.st_mode, target);
	sha256_add(h, head, strlen(head) + 1);
	if (S_ISREG(st.st_mode))
		return hash_file(dir, name, h);
	if (!S_ISDIR(st.st_mode))
		return 0;
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int n = fd < 0 ? -1 : scandirat(fd, ".", &names, NULL, by_name);

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (!r && !streq(names[i]->d_name, ".") && !streq(names[i]->d_name, ".."))
			r = hash_tree(fd, names[i]->d_name, h, depth + 1);
		free(names[i]);
	}
	free(names);
	return r;
}

/* One source, which must be in the context. Of a directory its content is copied. */
static int copy_one(struct build *b, const char *source, const char *to, bool dir, struct sha256 *h,
		    struct err *e)
{
	char real[PATH_MAX], from[PATH_MAX + 4], target[PATH_MAX + 2];
	size_t n = strlen(b->context);
	struct stat st;
	pid_t pid;
	int complaint;

	if (!realpath(source, real) || stat(real, &st) < 0)
		return err_sys(e, -errno, "source '%s'", source);
	if (strncmp(real, b->context, n) != 0 || (real[n] && real[n] != '/' && n > 1))
		return err_set(e, -EACCES, "source '%s' lies outside the context", source);
	int r = hash_tree(AT_FDCWD, real, h, 0);

	if (r)
		return err_sys(e, r, "source '%s'", source);
	bool tree = S_ISDIR(st.st_mode);

	snprintf(from, sizeof(from), "%s%s", real, tree ? "/." : "");
	if (snprintf(target, sizeof(target), "%s%s", to, dir || tree ? "/" : "") >=
	    (int)sizeof(target))
		return err_set(e, -ENAMETOOLONG, "destination '%.64s...'", to);
	const char *argv[] = { "cp",   "-dR", "--preserve=mode,timestamps,links,xattr", "--", from,
			       target, NULL };

	r = spawn_with_stderr(&pid, "cp", argv, (const int[3]){ -1, -1, -1 }, &complaint, e);
	return r ? r : spawn_finish(pid, complaint, "copy", e);
}

static int copy_all(struct build *b, char *const *sources, size_t n, const char *to, bool dir,
		    struct sha256 *h, struct err *e)
{
	char pattern[PATH_MAX + 256];
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		glob_t g;

		snprintf(pattern, sizeof(pattern), "%s/%s", b->context, sources[i]);
		r = glob(pattern, 0, NULL, &g);
		if (r)
			return err_set(e, -ENOENT, "source '%s': there is none in the context",
				       sources[i]);
		if (g.gl_pathc > 1 && !dir)
			r = err_set(e, -EINVAL,
				    "source '%s' is several files: the destination must "
				    "end with '/'",
				    sources[i]);
		for (size_t k = 0; !r && k < g.gl_pathc; k++)
			r = copy_one(b, g.gl_pathv[k], to, dir, h, e);
		globfree(&g);
	}
	return r;
}

static bool is_directory(const struct build *b, char *const *sources, size_t n)
{
	char path[PATH_MAX + 256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", b->context, n == 1 ? sources[0] : "");
	return n == 1 && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int lay_out(struct build *b, const char *tree, char *const *sources, size_t n,
		   const char *to, bool dir, struct sha256 *h, struct err *e)
{
	char way[PATH_MAX], real[PATH_MAX], full[PATH_MAX * 2 + 2], there[PATH_MAX];
	const char *slash = strrchr(to, '/');
	struct stat st;

	/* A destination that is a directory of the image takes the file into it. */
	if (image_rootfs_stat(&b->img.layers, to + strspn(to, "/"), &st, there, sizeof(there)) ==
		    0 &&
	    S_ISDIR(st.st_mode))
		dir = true;
	bool whole = dir || is_directory(b, sources, n);

	snprintf(way, sizeof(way), "%.*s", (int)(whole ? strlen(to) : (size_t)(slash - to)), to);
	int r = make_way(b, tree, way, real, sizeof(real), 0, e);

	if (r)
		return r;
	snprintf(full, sizeof(full), "%s/%s%s%s", tree, real, whole ? "" : "/",
		 whole ? "" : slash + 1);
	return copy_all(b, sources, n, full, dir, h, e);
}

int build_tree(struct build *b, char *const *sources, size_t n, const char *to, bool dir,
	       const char *change, const char *text, build_commit_fn *commit, struct err *e)
{
	char top[] = "/tmp/warren-build-XXXXXX", tree[64], key[DIGEST_SIZE], content[DIGEST_SIZE];
	unsigned char raw[32];
	struct sha256 h;
	int r;

	if (!mkdtemp(top))
		return err_sys(e, -errno, "'%s'", top);
	snprintf(tree, sizeof(tree), "%s/tree", top);
	sha256_init(&h);
	r = mkdir(tree, 0755) < 0 ? err_sys(e, -errno, "'%s'", tree)
				  : lay_out(b, tree, sources, n, to, dir, &h, e);
	if (!r) {
		sha256_finish(&h, raw);
		digest_from_bytes(raw, content);
		if (build_cached(b, text, content, key)) {
			if (!b->quiet)
				fprintf(stderr, "--> Using cache\n");
		} else {
			r = commit(b, tree, change, text, e);
			if (!r)
				build_remember(b, key);
		}
	}
	tree_remove(AT_FDCWD, top);
	return r;
}
