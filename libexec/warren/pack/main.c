/*
 * warren-pack layer|tree DIR >archive
 *
 * Packs what lies below descriptor DIR as a pax tar on standard output: "tree" as it is; "layer" an overlay's upper
 * directory as an image layer, with whiteouts and opaque directories in the image specification's form
 * (image-spec, layer.md). The reverse of warren-unpack.
 *
 * Trust: the tree was written by an instance: every step is an open below the directory above it that follows no
 * link, devices and sockets are left out, files are read to the size that they had. Threads: one.
 * #syscalls: (the list in confine())
 */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "os/confine.h"

#define DEPTH_MAX 1000
#define VALUE_MAX 65536

struct pack {
	struct archive *out;
	struct archive_entry_linkresolver *links;
	bool layer;
	char path[8192]; /* of the entry, without a leading slash */
	char *buffer;
};

static void check(const struct pack *p, int r)
{
	if (r < ARCHIVE_WARN)
		helper_die("'%s': %s", p->path, archive_error_string(p->out));
}

static struct archive_entry *new_entry(const struct pack *p, const struct stat *st)
{
	struct archive_entry *e = archive_entry_new();

	if (!e)
		helper_die("out of memory");
	archive_entry_copy_stat(e, st);
	/* Whole seconds, as image layers have them: fractions would cost a header each. */
	archive_entry_set_mtime(e, st->st_mtime, 0);
	archive_entry_unset_atime(e);
	archive_entry_unset_ctime(e);
	archive_entry_unset_birthtime(e);
	archive_entry_copy_pathname(e, *p->path ? p->path : ".");
	return e;
}

/* ".wh.NAME" in the directory of `path`. */
static void put_whiteout(struct pack *p, const char *dir, const char *name)
{
	char full[9000];
	struct archive_entry *e = archive_entry_new();

	if (!e)
		helper_die("out of memory");
	snprintf(full, sizeof(full), "%s%s.wh.%s", dir, *dir ? "/" : "", name);
	archive_entry_copy_pathname(e, full);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0600);
	archive_entry_set_size(e, 0);
	check(p, archive_write_header(p->out, e));
	archive_entry_free(e);
}

static void add_attributes(struct pack *p, int fd, struct archive_entry *e)
{
	char names[VALUE_MAX], *value = p->buffer;
	ssize_t n = flistxattr(fd, names, sizeof(names));

	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
		const char *name = names + at;

		if (!streq(name, "security.capability") &&
		    (!str_after(name, "user.") || str_after(name, "user.overlay.")))
			continue;
		ssize_t len = fgetxattr(fd, name, value, VALUE_MAX);

		if (len >= 0)
			archive_entry_xattr_add_entry(e, name, value, (size_t)len);
	}
}

static bool attribute_is(int fd, const char *name, char want)
{
	char v = 0, full[64];
	static const char *const spaces[] = { "trusted", "user" };

	for (int i = 0; i < 2; i++) {
		snprintf(full, sizeof(full), "%s.overlay.%s", spaces[i], name);
		ssize_t n = fgetxattr(fd, full, &v, 1);

		if ((n == 1 || (n < 0 && errno == ERANGE)) && (!want || v == want))
			return true;
	}
	return false;
}

/* Exactly as many bytes as the header says; a file that shrank is filled up with zeros by libarchive. */
static void put_content(struct pack *p, int fd, int64_t left)
{
	while (left > 0) {
		size_t want = left < VALUE_MAX ? (size_t)left : VALUE_MAX;
		ssize_t n = read(fd, p->buffer, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			helper_die("'%s': read: %s", p->path, strerrordesc_np(errno));
		if (n == 0)
			return;
		if (archive_write_data(p->out, p->buffer, (size_t)n) < 0)
			helper_die("'%s': %s", p->path, archive_error_string(p->out));
		left -= n;
	}
}

static void put_file(struct pack *p, int dir, const char *name, const struct stat *st)
{
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct archive_entry *e = new_entry(p, st), *spare = NULL;
	struct stat now;

	if (fd < 0 || fstat(fd, &now) < 0 || now.st_ino != st->st_ino)
		helper_die("'%s': %s", p->path,
			   fd < 0 ? strerrordesc_np(errno) : "changed meanwhile");
	add_attributes(p, fd, e);
	archive_entry_linkify(p->links, &e, &spare);
	bool whole = !archive_entry_hardlink(e);

	check(p, archive_write_header(p->out, e));
	if (whole)
		put_content(p, fd, st->st_size);
	archive_entry_free(e);
}

static void put_link(struct pack *p, int dir, const char *name, const struct stat *st)
{
	char target[4097];
	ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
	struct archive_entry *e = new_entry(p, st);

	if (n < 0)
		helper_die("'%s': %s", p->path, strerrordesc_np(errno));
	target[n] = '\0';
	archive_entry_copy_symlink(e, target);
	check(p, archive_write_header(p->out, e));
	archive_entry_free(e);
}

/* What the wall left as mount points in the upper directory is no change of the user's. */
static bool mount_point(const struct pack *p, const struct stat *st)
{
	static const char *const files[] = { "etc/hosts", "etc/hostname", "etc/resolv.conf" };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (p->layer && streq(p->path, files[i]) && S_ISREG(st->st_mode) && !st->st_size)
			return true;
	return str_after(p->path, "dev/") || str_after(p->path, "proc/") ||
	       str_after(p->path, "sys/");
}

static void put_directory(struct pack *p, int fd, const struct stat *st, int depth);

static void put_name(struct pack *p, int dir, const char *name, int depth)
{
	size_t len = strlen(p->path);
	struct stat st;

	if (len + strlen(name) + 2 > sizeof(p->path))
		helper_die("'%.64s...': name too long", p->path);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		helper_die("'%s/%s': %s", p->path, name, strerrordesc_np(errno));
	if (p->layer && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)) {
		put_whiteout(p, p->path, name);
		return;
	}
	snprintf(p->path + len, sizeof(p->path) - len, "%s%s", len ? "/" : "", name);
	if (mount_point(p, &st)) {
		/* nothing */
	} else if (S_ISDIR(st.st_mode)) {
		cleanup_fd int fd = openat(dir, name,
					   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			helper_die("'%s': %s", p->path, strerrordesc_np(errno));
		put_directory(p, fd, &st, depth);
	} else if (S_ISREG(st.st_mode)) {
		put_file(p, dir, name, &st);
	} else if (S_ISLNK(st.st_mode)) {
		put_link(p, dir, name, &st);
	} else if (S_ISFIFO(st.st_mode)) {
		struct archive_entry *e = new_entry(p, &st);

		check(p, archive_write_header(p->out, e));
		archive_entry_free(e);
	}
	p->path[len] = '\0';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void put_directory(struct pack *p, int fd, const struct stat *st, int depth)
{
	struct archive_entry *e = new_entry(p, st);
	struct dirent **names;

	if (depth > DEPTH_MAX)
		helper_die("'%.64s...': more than %d directories deep", p->path, DEPTH_MAX);
	if (p->layer && attribute_is(fd, "redirect", 0))
		helper_die(
			"'%s': a renamed directory of a lower layer, which no image layer can say",
			p->path);
	add_attributes(p, fd, e);
	/* The root's own entry would set the mode of the image's root: only a whole tree says it. */
	if (*p->path || !p->layer)
		check(p, archive_write_header(p->out, e));
	archive_entry_free(e);
	if (p->layer && attribute_is(fd, "opaque", 'y'))
		put_whiteout(p, p->path, ".wh..opq");
	int n = scandirat(fd, ".", &names, NULL, by_name);

	if (n < 0)
		helper_die("'%s': %s", p->path, strerrordesc_np(errno));
	for (int i = 0; i < n; i++) {
		if (!streq(names[i]->d_name, ".") && !streq(names[i]->d_name, ".."))
			put_name(p, fd, names[i]->d_name, depth + 1);
		free(names[i]);
	}
	free(names);
}

static void confine(int dir)
{
	static const int calls[] = {
		SYS_read,	  SYS_write,	 SYS_openat,	 SYS_close,	 SYS_fstat,
		SYS_newfstatat,	  SYS_lseek,	 SYS_getdents64, SYS_readlinkat, SYS_flistxattr,
		SYS_fgetxattr,	  SYS_fcntl,	 SYS_mmap,	 SYS_munmap,	 SYS_mremap,
		SYS_mprotect,	  SYS_madvise,	 SYS_brk,	 SYS_futex,	 SYS_exit_group,
		SYS_rt_sigreturn, SYS_getrandom, SYS_sysinfo,
	};
	const struct confine c = {
		.readable = &dir,
		.readable_n = 1,
		/* DAC_READ_SEARCH to read everybody's files, SYS_ADMIN for trusted.overlay.*; nothing on
		 * the list above does more with it. */
		.keep_caps = 1ull << 2 | 1ull << 21,
		.calls = calls,
		.calls_n = sizeof(calls) / sizeof(calls[0]),
		.memory = 1ull << 30,
	};
	struct err e = ERR_INIT;

	if (confine_self(&c, &e))
		helper_die("%s", e.msg);
}

int main(int argc, char **argv)
{
	struct pack p = { .layer = argc > 1 && streq(argv[1], "layer") };
	struct rlimit files;
	struct stat st;
	uint64_t fd;

	if (argc != 3 || (!p.layer && !streq(argv[1], "tree")) || str_to_u64(argv[2], &fd) ||
	    fd > 1 << 20 || fstat((int)fd, &st) < 0 || !S_ISDIR(st.st_mode))
		helper_die("usage: warren-pack layer|tree DIR >archive");
	/* A descriptor a level. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	p.out = archive_write_new();
	p.links = archive_entry_linkresolver_new();
	p.buffer = malloc(VALUE_MAX);
	if (!p.out || !p.links || !p.buffer)
		helper_die("out of memory");
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "en_US.UTF-8");
	confine((int)fd);
	archive_entry_linkresolver_set_strategy(p.links, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);
	archive_write_set_format_pax_restricted(p.out);
	archive_write_set_bytes_per_block(p.out, 1 << 20);
	archive_write_set_bytes_in_last_block(p.out, 1);
	if (archive_write_open_fd(p.out, 1) != ARCHIVE_OK)
		helper_die("%s", archive_error_string(p.out));
	put_directory(&p, (int)fd, &st, 0);
	if (archive_write_close(p.out) != ARCHIVE_OK)
		helper_die("%s", archive_error_string(p.out));
	_exit(0);
}
