/*
 * Layers: unpacked once, by the confined helper, into a scratch directory; checked; then moved to
 * layers/<number>/fs and named in the database. Their packed form is kept as a blob, so that push and save give
 * out the very bytes that came in.
 *
 * When two processes bring the same layer, the one that has the file lock tmp/<diff id>.lock works and the
 * other finds the result.
 *
 * Trust: the layer is hostile; this process sees of it only the helper's report, which it parses with care,
 * and the paths in it, which it opens inside the layer. Threads: one.
 * #syscalls: openat openat2 mkdirat renameat fsetxattr flock lseek pread64 fcntl fstat
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/store/db.h"
#include "image/store/store.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/spawn.h"
#include "os/tree.h"

#define REPORT_MAX (16u << 20)

struct report {
	char in[DIGEST_SIZE], out[DIGEST_SIZE];
	unsigned long long in_bytes, out_bytes, entries, bytes, devices, attributes;
	char packing[16];
};

/* What may come out of an archive: what the disk can take, and no more than 1 TiB. */
static uint64_t ceiling(const struct store *s)
{
	const char *wish = getenv("WARREN_UNPACK_MAX");
	uint64_t max = 1ull << 40, given;
	struct statvfs v;

	if (wish && str_to_size(wish, &given) == 0)
		return given;
	if (fstatvfs(s->dir, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < max)
		max = (uint64_t)v.f_bavail * v.f_frsize;
	return max;
}

/* Runs warren-unpack; its standard output goes to `out`. */
static int run_helper(const char *mode, int in, int dir, int copy, int plain, uint64_t max,
		      const char *const *flags, const char *name, struct buf *out, struct err *e)
{
	char path[PATH_MAX], words[4][24];
	const char *argv[12] = { "warren-unpack", mode, words[0], words[1], words[2], words[3] };
	int fds[3] = { dir, copy, plain }, p[2], complaint;
	size_t n = 6;
	pid_t pid;
	int r = paths_helper("warren-unpack", path, sizeof(path), e);

	if (r)
		return r;
	for (int i = 0; i < 3; i++)
		snprintf(words[i], sizeof(words[i]), "%d", fds[i]);
	snprintf(words[3], sizeof(words[3]), "%llu", (unsigned long long)max);
	for (; *flags && n < 11; flags++)
		argv[n++] = *flags;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "start warren-unpack: pipe");
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			fcntl(fds[i], F_SETFD, 0);
	r = spawn_with_stderr(&pid, path, argv, (const int[3]){ in, p[1], -1 }, &complaint, e);
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			fcntl(fds[i], F_SETFD, FD_CLOEXEC);
	close(p[1]);
	cleanup_fd int from = p[0];

	if (r)
		return r;
	int bad = read_all(from, out);

	close_fd(&from);
	r = spawn_finish(pid, complaint, name, e);
	return r ? r : bad ? err_sys(e, bad, "%s: warren-unpack's report", name) : 0;
}

/* Undoes the helper's \ooo. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static int mark_opaque(const struct store *s, int fs, const char *path, struct err *e)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	const char *name = s->rootless ? "user.overlay.opaque" : "trusted.overlay.opaque";
	cleanup_fd int fd = (int)syscall(SYS_openat2, fs, *path ? path : ".", &how, sizeof(how));

	/* A later entry replaced the directory: nothing is left to mark. */
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, -errno, "'%s'", path);
	if (fsetxattr(fd, name, "y", 1, 0) < 0)
		return err_sys(e, -errno, "'%s': set %s", path, name);
	return 0;
}

static int read_report(struct store *s, char *text, int fs, struct report *rep, struct err *e)
{
	bool done = false;

	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *path = line + strlen("opaque ");

		if (str_after(line, "opaque ")) {
			unescape(path);
			int r = mark_opaque(s, fs, path, e);

			if (r)
				return err_wrap(e, "opaque directory");
		} else {
			done = sscanf(line, "done %71s %llu %71s %llu %15s %llu %llu %llu %llu",
				      rep->in, &rep->in_bytes, rep->out, &rep->out_bytes,
				      rep->packing, &rep->entries, &rep->bytes, &rep->devices,
				      &rep->attributes) == 9;
		}
	}
	if (!done || !digest_valid(rep->in) || !digest_valid(rep->out))
		return err_set(e, -EPROTO, "warren-unpack gave no report");
	return 0;
}

static int verify(const struct layer_source *src, const struct report *rep, struct err *e)
{
	if (src->size && src->size != rep->in_bytes)
		return err_set(e, -EBADMSG, "%s: size is %llu bytes, the manifest says %llu",
			       src->name, rep->in_bytes, (unsigned long long)src->size);
	if (src->digest && !streq(src->digest, rep->in))
		return err_set(e, -EBADMSG, "%s: digest is %s", src->name, rep->in);
	if (src->diff_id && !streq(src->diff_id, rep->out))
		return err_set(e, -EBADMSG,
			       "%s: unpacked digest is %s, the configuration's rootfs.diff_ids "
			       "says %s",
			       src->name, rep->out, src->diff_id);
	return 0;
}

int layer_find(struct store *s, const char *diff_id, const char *blob, struct layer *out,
	       struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	int r = db_query(s, &q, e,
			 "SELECT number, blob, media_type, blobs.bytes FROM layers "
			 "JOIN packed USING (diff_id) JOIN blobs ON blobs.digest = packed.blob "
			 "WHERE diff_id = ?1 AND (?2 IS NULL OR blob = ?2)",
			 "ss", diff_id, blob);

	if (!r)
		r = db_step(s, q, e);
	if (r <= 0)
		return r;
	static const char *const types[] = { "application/vnd.oci.image.layer.v1.tar",
					     "application/vnd.oci.image.layer.v1.tar+gzip",
					     "application/vnd.oci.image.layer.v1.tar+zstd" };

	*out = (struct layer){ .number = sqlite3_column_int64(q, 0),
			       .blob_size = (uint64_t)sqlite3_column_int64(q, 3),
			       .media_type = types[0] };
	snprintf(out->diff_id, sizeof(out->diff_id), "%s", diff_id);
	snprintf(out->blob, sizeof(out->blob), "%s", db_text(q, 1));
	for (size_t i = 0; i < 3; i++)
		if (streq(types[i], db_text(q, 2)))
			out->media_type = types[i];
	return blob_exists(s, out->blob) ? 1 : 0;
}

/* Moves the scratch's content into place and names it. Needs an open change. */
static int settle(struct store *s, const struct scratch *t, const struct report *rep, bool plain,
		  struct err *e)
{
	const char *blob = plain ? rep->out : rep->in;
	const char *type = plain || streq(rep->packing, "none")
				   ? "application/vnd.oci.image.layer.v1.tar"
			   : streq(rep->packing, "gzip")
				   ? "application/vnd.oci.image.layer.v1.tar+gzip"
				   : "application/vnd.oci.image.layer.v1.tar+zstd";
	char path[96], from[96];
	cleanup_query sqlite3_stmt *q = NULL;
	int r = db_query(s, &q, e, "SELECT 1 FROM layers WHERE diff_id = ?", "s", rep->out);

	if (!r)
		r = db_step(s, q, e);
	if (r < 0)
		return r;
	if (r == 0) {
		r = db_run(s, e, "INSERT INTO layers(diff_id, bytes, entries) VALUES(?, ?, ?)",
			   "sii", rep->out, (int64_t)rep->bytes, (int64_t)rep->entries);
		if (r)
			return r;
		snprintf(path, sizeof(path), "layers/%lld",
			 (long long)sqlite3_last_insert_rowid(s->db));
		/* A change that was cut off may have left something of this number. */
		tree_remove(s->dir, path);
		if (mkdirat(s->dir, path, 0700) < 0)
			return err_sys(e, -errno, "%s/%s", s->path, path);
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "/fs");
		snprintf(from, sizeof(from), "%s/fs", t->name);
		if (renameat(s->dir, from, s->dir, path) < 0)
			return err_sys(e, -errno, "%s/%s", s->path, path);
	}
	snprintf(from, sizeof(from), "%s/blob", t->name);
	blob_path(blob, path);
	if (renameat(s->dir, from, s->dir, path) < 0)
		return err_sys(e, -errno, "%s/%s", s->path, path);
	r = db_run(s, e, "INSERT OR IGNORE INTO blobs(digest, bytes) VALUES(?, ?)", "si", blob,
		   (int64_t)(plain ? rep->out_bytes : rep->in_bytes));
	return r ? r
		 : db_run(s, e,
			  "INSERT OR IGNORE INTO packed(diff_id, blob, media_type) VALUES(?, ?, ?)",
			  "sss", rep->out, blob, type);
}

/* xz and bzip2 are no packings that a manifest can name: such a layer is kept as a plain tar. */
static bool keep_plain(int fd)
{
	char head[6] = "";

	return pread(fd, head, sizeof(head), 0) >= 3 && (memcmp(head,
								"\xfd"
								"7zXZ",
								6) == 0 ||
							 memcmp(head, "BZh", 3) == 0);
}

/* An ordinary user without subordinate ids owns everything that he unpacks. */
static bool single_id(const struct store *s)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(4096);
	unsigned int inside, outside, size;

	return s->rootless && file_read(AT_FDCWD, "/proc/self/uid_map", &b) == 0 &&
	       sscanf(buf_str(&b), "%u %u %u", &inside, &outside, &size) == 3 && size == 1 &&
	       !strchr(buf_str(&b), '\n')[1];
}

static int unpack(struct store *s, const struct layer_source *src, const struct scratch *t,
		  struct report *rep, bool plain, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf out = BUF_INIT(REPORT_MAX);
	const char *flags[3] = { NULL };
	size_t n = 0;

	if (src->whole)
		flags[n++] = "whole";
	if (single_id(s))
		flags[n++] = "one-id";

	if (mkdirat(t->fd, "fs", 0755) < 0)
		return err_sys(e, -errno, "%s/%s/fs", s->path, t->name);
	cleanup_fd int fs = openat(t->fd, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int blob = openat(t->fd, "blob", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fs < 0 || blob < 0)
		return err_sys(e, -errno, "%s/%s", s->path, t->name);
	/* The umask must not narrow the root directory of images without an entry for it. */
	fchmod(fs, 0755);
	int r = run_helper("layer", src->fd, fs, plain ? -1 : blob, plain ? blob : -1, ceiling(s),
			   flags, src->name, &out, e);

	if (r)
		return r;
	r = buf_add(&out, "", 0);
	r = r ? r : read_report(s, out.data ? out.data : (char[]){ 0 }, fs, rep, e);
	return r ? err_wrap(e, "%s", src->name) : verify(src, rep, e);
}

static int add_locked(struct store *s, const struct layer_source *src, struct layer *out,
		      struct err *e)
{
	struct scratch t = SCRATCH_NONE;
	struct report rep = { .in_bytes = 0 };
	bool plain = keep_plain(src->fd);
	int r = store_scratch(s, &t, e);

	if (!r)
		r = unpack(s, src, &t, &rep, plain, e);
	if (!r)
		r = store_change_begin(s, e);
	if (!r) {
		r = settle(s, &t, &rep, plain, e);
		r = store_change_end(s, r, NULL, e);
	}
	store_scratch_drop(s, &t);
	if (r)
		return r;
	if (rep.devices)
		store_status(s, "%s: %llu device nodes left out: an instance gets its own /dev",
			     src->name, rep.devices);
	r = layer_find(s, rep.out, plain ? rep.out : rep.in, out, e);
	if (r == 0)
		return err_set(e, -EIO, "%s: not in the store after it was put there", src->name);
	return r < 0 ? r : 0;
}

int layer_add(struct store *s, const struct layer_source *src, struct layer *out, struct err *e)
{
	char name[96];
	cleanup_fd int lock = -1;
	int r;

	if (src->diff_id) {
		snprintf(name, sizeof(name), "tmp/%.64s.lock", src->diff_id + strlen("sha256:"));
		lock = openat(s->dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (lock < 0 || flock(lock, LOCK_EX) < 0)
			return err_sys(e, -errno, "%s/%s", s->path, name);
		r = layer_find(s, src->diff_id, src->digest, out, e);
		if (r)
			return r < 0 ? r : 0;
	}
	r = add_locked(s, src, out, e);
	if (src->diff_id)
		unlinkat(s->dir, name, 0);
	return r;
}

int archive_unpack(struct store *s, int fd, const char *name, int dir, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf out = BUF_INIT(REPORT_MAX);
	const char *flags[1] = { NULL };

	return run_helper("files", fd, dir, -1, -1, ceiling(s), flags, name, &out, e);
}

int tree_unpack(struct store *s, int fd, const char *name, int dir, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf out = BUF_INIT(REPORT_MAX);
	const char *flags[2] = { single_id(s) ? "one-id" : NULL, NULL };

	return run_helper("layer", fd, dir, -1, -1, ceiling(s), flags, name, &out, e);
}

int archive_kind(int fd, const char *name, char kind[16], struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf out = BUF_INIT(4096);
	const char *flags[1] = { NULL };
	int r = run_helper("kind", fd, -1, -1, -1, 1ull << 40, flags, name, &out, e);

	if (r)
		return r;
	if (sscanf(buf_str(&out), "kind %15s", kind) != 1)
		return err_set(e, -EPROTO, "%s: warren-unpack gave no report", name);
	return lseek(fd, 0, SEEK_SET) < 0 ? err_sys(e, -errno, "%s", name) : 0;
}
