/*
 * From tar entries to a layer directory that overlayfs can stack (image-spec, layer.md).
 *
 * Each entry is made new, with O_EXCL, in a directory that place.c found; what stands in its way is removed
 * first (a directory stays when the entry is one too), so nothing is ever written through a link. Whiteouts
 * (".wh.NAME") become character devices 0:0, opaque marks (".wh..wh..opq") an extended attribute: both are what
 * overlayfs reads. Devices of the image are left out: an instance gets its /dev from the wall. Of extended
 * attributes only user.* (but not overlayfs's own) and file capabilities are kept.
 *
 * Trust: the archive is hostile; libarchive parses it. Threads: one.
 * #syscalls: openat mkdirat symlinkat linkat mknodat unlinkat newfstatat fchown fchownat fchmod pwrite64
 * #syscalls: ftruncate fsetxattr utimensat close
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "os/tree.h"
#include "unpack.h"

#define ENTRIES_MAX 8000000

/* A directory's time is set last: making its files changes it. */
struct dir_time {
	char *path;
	struct timespec mtime;
};

struct extract {
	const struct options *o;
	struct counts *c;
	struct archive *tar;
	struct archive_entry *entry;
	const char *name; /* of the entry, as in the archive */
	struct place at;
	struct dir_time *times;
	size_t times_n, times_cap;
};

static void __attribute__((noreturn)) fail(const struct extract *x, const char *what)
{
	helper_die("entry '%s': %s: %s", x->name, what, strerrordesc_np(errno));
}

/* Some writers (umoci's insert) leave out the padding behind the last file. It is added here, behind the
 * digests; a stream that was cut short is caught by them, or by its missing end mark. */
static la_ssize_t feed(struct archive *a, void *data, const void **p)
{
	static const char zeros[512];
	struct stream *s = data;
	size_t n = stream_next(s, p);

	(void)a;
	if (n || s->padded)
		return (la_ssize_t)n;
	s->padded = true;
	*p = zeros;
	return (la_ssize_t)(-s->out_bytes & 511);
}

static void owner_of(const struct extract *x, uid_t *uid, gid_t *gid)
{
	int64_t u = archive_entry_uid(x->entry), g = archive_entry_gid(x->entry);

	if (u < 0 || u >= UINT32_MAX || g < 0 || g >= UINT32_MAX)
		helper_die("entry '%s': owner %lld:%lld is out of range", x->name, (long long)u,
			   (long long)g);
	*uid = (uid_t)u;
	*gid = (gid_t)g;
}

static void give(const struct extract *x, int fd, const char *name, int flags)
{
	uid_t uid;
	gid_t gid;

	if (x->o->one_id || x->o->files)
		return;
	owner_of(x, &uid, &gid);
	if (uid == 0 && gid == 0)
		return;
	if (fchownat(fd, name, uid, gid, flags) < 0) {
		if (errno == EINVAL)
			helper_die(
				"entry '%s': owner %u:%u has no place in this user's id range (see "
				"/etc/subuid)",
				x->name, uid, gid);
		fail(x, "owner");
	}
}

static mode_t mode_of(const struct extract *x)
{
	mode_t mode = archive_entry_perm(x->entry) & 07777;

	return x->o->files ? (mode & 0700) | 0600 : mode;
}

static struct timespec mtime_of(const struct extract *x)
{
	if (!archive_entry_mtime_is_set(x->entry))
		return (struct timespec){ 0, 0 };
	return (struct timespec){ archive_entry_mtime(x->entry),
				  archive_entry_mtime_nsec(x->entry) };
}

static bool keep_attribute(const char *name)
{
	return streq(name, "security.capability") ||
	       (str_after(name, "user.") && !str_after(name, "user.overlay."));
}

static void set_attributes(struct extract *x, int fd)
{
	const char *name;
	const void *value;
	size_t n;

	if (x->o->files || !archive_entry_xattr_reset(x->entry))
		return;
	while (archive_entry_xattr_next(x->entry, &name, &value, &n) == ARCHIVE_OK) {
		if (!name || !keep_attribute(name) || fsetxattr(fd, name, value, n, 0) < 0) {
			if (name && keep_attribute(name) && errno != EOPNOTSUPP && errno != EPERM)
				fail(x, "extended attribute");
			x->c->attributes++;
		}
	}
}

/* Takes away what has the name already. */
static void make_room(struct extract *x)
{
	int r = tree_remove(x->at.parent, x->at.base);

	if (r) {
		errno = -r;
		fail(x, "replace an earlier entry of this name");
	}
}

static void write_content(struct extract *x, int fd)
{
	int64_t size = archive_entry_size(x->entry), end = 0, at;
	const void *p;
	size_t n;
	int r;

	if (size < 0 || (uint64_t)size > x->o->max)
		helper_die(
			"entry '%s': size %lld is more than the %llu that may come out (free disk "
			"space, or WARREN_UNPACK_MAX)",
			x->name, (long long)size, (unsigned long long)x->o->max);
	x->c->bytes += (uint64_t)size;
	if (x->c->bytes > x->o->max)
		helper_die("entry '%s': files of more than %llu bytes in all (free disk space, or "
			   "WARREN_UNPACK_MAX)",
			   x->name, (unsigned long long)x->o->max);
	while ((r = archive_read_data_block(x->tar, &p, &n, &at)) == ARCHIVE_OK) {
		if (at < end || at > size || n > (uint64_t)(size - at))
			helper_die("entry '%s': sparse map: a piece at %lld, %zu bytes, is out of "
				   "order "
				   "or beyond the size %lld",
				   x->name, (long long)at, n, (long long)size);
		for (size_t done = 0; done < n;) {
			ssize_t w = pwrite(fd, (const char *)p + done, n - done,
					   at + (int64_t)done);

			if (w < 0 && errno != EINTR)
				fail(x, "write");
			done += w > 0 ? (size_t)w : 0;
		}
		end = at + (int64_t)n;
	}
	if (r != ARCHIVE_EOF)
		helper_die("entry '%s': content: %s", x->name, archive_error_string(x->tar));
	if (end < size && ftruncate(fd, size) < 0)
		fail(x, "size");
}

static void make_file(struct extract *x)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	mode_t mode = mode_of(x);
	int fd = openat(x->at.parent, x->at.base, flags, mode & 0777);

	if (fd < 0 && errno == EEXIST) {
		make_room(x);
		fd = openat(x->at.parent, x->at.base, flags, mode & 0777);
	}
	if (fd < 0)
		fail(x, "create");
	write_content(x, fd);
	give(x, fd, "", AT_EMPTY_PATH);
	if (mode & 07000 && fchmod(fd, mode) < 0)
		fail(x, "mode");
	set_attributes(x, fd);
	const struct timespec t[2] = { { 0, UTIME_OMIT }, mtime_of(x) };

	if (!x->o->files && futimens(fd, t) < 0)
		fail(x, "time");
	close(fd);
}

static void remember_time(struct extract *x)
{
	char path[4096 + 256 + 2];

	if (x->o->files)
		return;
	if (x->times_n == x->times_cap) {
		x->times_cap = x->times_cap ? x->times_cap * 2 : 256;
		x->times = realloc(x->times, x->times_cap * sizeof(*x->times));
		if (!x->times)
			helper_die("out of memory");
	}
	snprintf(path, sizeof(path), "%s%s%s", x->at.dir, *x->at.dir ? "/" : "", x->at.base);
	char *copy = strdup(path);

	if (!copy)
		helper_die("out of memory");
	x->times[x->times_n++] = (struct dir_time){ copy, mtime_of(x) };
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static void report_opaque(const struct extract *x, const char *dir, const char *base);

static void make_directory(struct extract *x)
{
	const char *name = *x->at.base ? x->at.base : ".";
	mode_t mode = x->o->files ? 0700 : mode_of(x);
	struct stat st;

	if (*x->at.base && mkdirat(x->at.parent, name, mode & 0777) < 0) {
		if (errno != EEXIST || fstatat(x->at.parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			fail(x, "create");
		if (!S_ISDIR(st.st_mode)) {
			make_room(x);
			if (mkdirat(x->at.parent, name, mode & 0777) < 0)
				fail(x, "create");
			if (is_whiteout(&st))
				report_opaque(x, x->at.dir, x->at.base);
		}
	}
	cleanup_fd int fd = openat(x->at.parent, name,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		fail(x, "open");
	give(x, fd, "", AT_EMPTY_PATH);
	if (fchmod(fd, mode) < 0)
		fail(x, "mode");
	set_attributes(x, fd);
	remember_time(x);
}

static void make_symlink(struct extract *x)
{
	const char *target = archive_entry_symlink(x->entry);
	const struct timespec t[2] = { { 0, UTIME_OMIT }, mtime_of(x) };

	if (!target || !*target)
		helper_die("entry '%s': symbolic link without a target", x->name);
	if (strlen(target) > 4095)
		helper_die("entry '%s': link target longer than 4095 bytes", x->name);
	if (symlinkat(target, x->at.parent, x->at.base) < 0) {
		if (errno != EEXIST)
			fail(x, "create");
		make_room(x);
		if (symlinkat(target, x->at.parent, x->at.base) < 0)
			fail(x, "create");
	}
	give(x, x->at.parent, x->at.base, AT_SYMLINK_NOFOLLOW);
	if (utimensat(x->at.parent, x->at.base, t, AT_SYMLINK_NOFOLLOW) < 0)
		fail(x, "time");
}

static void make_hardlink(struct extract *x, const char *target)
{
	char base[256];
	struct stat to, old;
	cleanup_fd int fd = place_target(&x->at, x->name, target, base);

	if (fd < 0 || fstatat(fd, base, &to, AT_SYMLINK_NOFOLLOW) < 0)
		helper_die("entry '%s': hard link to '%s', which is not in this archive before it",
			   x->name, target);
	if (S_ISDIR(to.st_mode) || is_whiteout(&to))
		helper_die("entry '%s': hard link to '%s', which is no file", x->name, target);
	if (fstatat(x->at.parent, x->at.base, &old, AT_SYMLINK_NOFOLLOW) == 0) {
		if (old.st_ino == to.st_ino)
			return;
		make_room(x);
	}
	if (linkat(fd, base, x->at.parent, x->at.base, 0) < 0)
		fail(x, "hard link");
}

static void make_fifo(struct extract *x)
{
	if (mknodat(x->at.parent, x->at.base, S_IFIFO | (mode_of(x) & 0777), 0) < 0) {
		if (errno != EEXIST)
			fail(x, "create");
		make_room(x);
		if (mknodat(x->at.parent, x->at.base, S_IFIFO | (mode_of(x) & 0777), 0) < 0)
			fail(x, "create");
	}
	give(x, x->at.parent, x->at.base, AT_SYMLINK_NOFOLLOW);
}

/* Our parent sets the attribute: trusted.* needs a right that this program gave up. One line a directory;
 * what would break the line is escaped. */
static void report_opaque(const struct extract *x, const char *dir, const char *base)
{
	(void)x;
	printf("opaque ");
	for (const char *parts[] = { dir, *dir && *base ? "/" : "", base }, **s = parts;
	     s < parts + 3; s++)
		for (const char *p = *s; *p; p++) {
			if (*p == '\n' || *p == '\\')
				printf("\\%03o", (unsigned char)*p);
			else
				putchar(*p);
		}
	putchar('\n');
}

/* ".wh.NAME" hides NAME of the layers below; ".wh..wh..opq" hides all that they have in the directory. True
 * when the entry was one of them. */
static bool whiteout(struct extract *x)
{
	const char *name = str_after(x->at.base, ".wh.");
	struct stat st;

	if (!name || x->o->files)
		return false;
	if (streq(name, ".wh..opq")) {
		report_opaque(x, x->at.dir, "");
		return true;
	}
	/* aufs's own bookkeeping, which old builders packed along. */
	if (str_after(name, ".wh."))
		return true;
	if (!*name || streq(name, ".") || streq(name, ".."))
		helper_die("entry '%s': whiteout of '%s'", x->name, name);
	if (fstatat(x->at.parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		/* This layer has the name itself, which hides those below already; a directory must
		 * not let them shine through. */
		if (S_ISDIR(st.st_mode))
			report_opaque(x, x->at.dir, name);
		return true;
	}
	if (mknodat(x->at.parent, name, S_IFCHR, makedev(0, 0)) < 0)
		fail(x, "whiteout");
	return true;
}

static void one_entry(struct extract *x)
{
	const char *target = archive_entry_hardlink(x->entry);
	mode_t type = archive_entry_filetype(x->entry);

	x->name = archive_entry_pathname(x->entry);
	if (!x->name)
		helper_die("entry %llu: its name cannot be read",
			   (unsigned long long)x->c->entries);
	if (!*x->name)
		helper_die("entry %llu: empty name", (unsigned long long)x->c->entries);
	place_find(&x->at, "path", x->name);
	if (!*x->at.base && (target || type != AE_IFDIR))
		helper_die("entry '%s': replaces the root directory", x->name);
	if (whiteout(x))
		return;
	if (target)
		make_hardlink(x, target);
	else if (type == AE_IFREG)
		make_file(x);
	else if (type == AE_IFDIR)
		make_directory(x);
	else if (type == AE_IFLNK)
		make_symlink(x);
	else if (type == AE_IFIFO && !x->o->files)
		make_fifo(x);
	else if (type == AE_IFCHR || type == AE_IFBLK || type == AE_IFSOCK)
		x->c->devices++;
	else
		helper_die("entry '%s': of a kind that is not known here", x->name);
}

static void set_times(struct extract *x)
{
	for (size_t i = 0; i < x->times_n; i++) {
		const struct timespec t[2] = { { 0, UTIME_OMIT }, x->times[i].mtime };
		cleanup_fd int fd = place_open(&x->at, x->times[i].path, O_RDONLY);

		/* A later entry may have taken its place: then there is nothing to set. */
		if (fd >= 0)
			futimens(fd, t);
	}
}

static struct archive *open_tar(struct stream *s)
{
	struct archive *tar = archive_read_new();

	if (!tar)
		helper_die("out of memory");
	archive_read_support_format_tar(tar);
	archive_read_support_format_empty(tar);
	if (archive_read_open(tar, s, NULL, feed, NULL) != ARCHIVE_OK)
		helper_die("neither a tar archive nor a compressed one: %s",
			   archive_error_string(tar));
	return tar;
}

const char *kind_of(struct stream *s)
{
	static const char hex[] = "0123456789abcdef";
	struct archive *tar = open_tar(s);
	struct archive_entry *entry;
	bool any = false;
	int r;

	while ((r = archive_read_next_header(tar, &entry)) >= ARCHIVE_WARN && r != ARCHIVE_EOF) {
		const char *p = archive_entry_pathname(entry);

		any = true;
		p = p ? p : "";
		p += str_after(p, "./") ? 2 : 0;
		if (!*p || streq(p, "."))
			continue;
		if (str_after(p, "blobs/") || streq(p, "blobs") || streq(p, "oci-layout") ||
		    streq(p, "index.json"))
			return "oci";
		/* docker save: <64 digits>.tar, <64 digits>.json, <64 digits>/layer.tar */
		if (strspn(p, hex) == 64 || str_after(p, "sha256:") || streq(p, "manifest.json") ||
		    streq(p, "repositories"))
			return "docker";
		return "rootfs";
	}
	if (r < ARCHIVE_WARN)
		helper_die("neither a tar archive nor a compressed one: %s",
			   archive_error_string(tar));
	if (any)
		return "rootfs";
	helper_die("empty: %llu bytes hold no tar archive", (unsigned long long)s->in_bytes);
}

void extract_all(struct stream *s, const struct options *o, struct counts *c)
{
	struct extract x = { .o = o, .c = c, .tar = open_tar(s) };
	int r;

	place_init(&x.at, o->dir);
	while ((r = archive_read_next_header(x.tar, &x.entry)) != ARCHIVE_EOF) {
		if (r < ARCHIVE_WARN)
			helper_die("tar: entry %llu%s%s: %s", (unsigned long long)c->entries + 1,
				   x.name ? ", after " : "", x.name ? x.name : "",
				   archive_error_string(x.tar));
		if (++c->entries > ENTRIES_MAX)
			helper_die("more than %d entries", ENTRIES_MAX);
		one_entry(&x);
	}
	set_times(&x);
	archive_read_free(x.tar);
}
