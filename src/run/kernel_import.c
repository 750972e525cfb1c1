/*
 * Import of a guest kernel. The distribution's package is an ar archive with a compressed tar in it; the
 * tar has a bzImage and the modules; the bzImage has a compressed vmlinux. All decompression happens in
 * the confined helper warren-decompress, whose output is parsed here as hostile bytes. The result is
 * assembled in a directory of a temporary name and renamed, so that a kill leaves no half kernel.
 *
 * Trust: the package is the user's choice, its bytes are still checked. Threads: none.
 * #syscalls: open pread fstat mmap renameat pipe2 lseek
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/spawn.h"
#include "run/kernel.h"
#include "run/kernel_int.h"
#include "wire/ar.h"
#include "wire/bzimage.h"
#include "wire/elf.h"
#include "wire/tar.h"

/* A package's tar, unpacked; debug packages would be larger. */
#define PACKAGE_MAX (4ull << 30)
/* Passes over a package until all dependencies are found. */
#define PASSES_MAX 5

struct import {
	const struct kernel_import *im;
	struct kernelinfo info;
	struct kernel_modules modules;
	char dir[PATH_MAX]; /* the temporary one */
	int boot_image;	    /* the bzImage that a package held */

	/* while a package's tar goes by */
	bool image_done;
	struct kernel_module *module; /* being read */
	uint64_t module_left;
	bool in_image;
};

static void say(const struct import *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct import *x, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (!x->im->progress)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	x->im->progress(x->im->arg, line);
}

int kernel_decompress(int in, uint64_t length, int out, uint64_t max, const char *what,
		      struct err *e)
{
	char path[PATH_MAX], max_text[24], length_text[24];
	const char *argv[] = { "warren-decompress", max_text, length_text, NULL };
	int stderr_fd;
	pid_t pid;
	int r = paths_helper("warren-decompress", path, sizeof(path), e);

	if (r < 0)
		return r;
	snprintf(max_text, sizeof(max_text), "%llu", (unsigned long long)max);
	snprintf(length_text, sizeof(length_text), "%llu", (unsigned long long)length);
	r = spawn_with_stderr(&pid, path, argv, (const int[3]){ in, out, -1 }, &stderr_fd, e);
	return r < 0 ? r : spawn_finish(pid, stderr_fd, what, e);
}

/* ---- a package's tar ---- */

static int tar_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct import *x = arg;
	const char *base = strrchr(t->path, '/');

	base = base ? base + 1 : t->path;
	x->in_image = false;
	x->module = NULL;
	if (t->type != TAR_FILE)
		return 0;
	const char *release = str_after(base, "vmlinuz-");

	if (release && !x->image_done && strstr(t->path, "boot/")) {
		if (kernel_name_check(release, NULL) < 0 ||
		    strlen(release) >= sizeof(x->info.release))
			return err_set(e, -EBADMSG, "package: '%s' is no name for a kernel", base);
		memcpy(x->info.release, release, strlen(release) + 1); /* fits: checked above */
		x->in_image = x->image_done = true;
		return 0;
	}
	if (strstr(t->path, "lib/modules/")) {
		x->module = kernel_modules_match(&x->modules, t->path);
		x->module_left = t->size;
	}
	return 0;
}

static int tar_data(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	struct import *x = arg;
	int r;

	if (x->in_image) {
		r = write_full(x->boot_image, p, n);
		return r < 0 ? err_sys(e, r, "write the kernel image") : 0;
	}
	if (!x->module)
		return 0;
	r = buf_add(&x->module->image, p, n);
	if (r < 0)
		return err_sys(e, r, "module '%s'", x->module->name);
	x->module_left -= MIN(n, x->module_left);
	return x->module_left ? 0 : kernel_module_complete(&x->modules, x->module, e);
}

/* Feeds the parser from the helper's pipe. */
static int tar_drain(struct import *x, int fd, struct err *e)
{
	cleanup_free uint8_t *piece = malloc(256 << 10);
	struct tar_parser t;
	int r = 0;

	if (!piece)
		return err_sys(e, -ENOMEM, "package");
	tar_parser_init(&t);
	t.entry = tar_entry;
	t.data = tar_data;
	t.arg = x;
	while (r == 0) {
		ssize_t n = read(fd, piece, 256 << 10);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = err_sys(e, -errno, "package: read");
		if (n <= 0)
			break;
		r = tar_parser_feed(&t, piece, (size_t)n, e);
	}
	if (r == 0)
		r = tar_parser_end(&t, e);
	tar_parser_fini(&t);
	return r;
}

/* One pass over data.tar.* at `offset`. */
static int package_pass(struct import *x, int fd, uint64_t offset, uint64_t size, struct err *e)
{
	char path[PATH_MAX], max[24], length[24];
	const char *argv[] = { "warren-decompress", max, length, NULL };
	struct err helper = ERR_INIT;
	int p[2], stderr_fd, r;
	pid_t pid;

	r = paths_helper("warren-decompress", path, sizeof(path), e);
	if (r < 0)
		return r;
	snprintf(max, sizeof(max), "%llu", (unsigned long long)PACKAGE_MAX);
	snprintf(length, sizeof(length), "%llu", (unsigned long long)size);
	if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return err_sys(e, -errno, "package: seek");
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "package: pipe");
	r = spawn_with_stderr(&pid, path, argv, (const int[3]){ fd, p[1], -1 }, &stderr_fd, e);
	close(p[1]);
	if (r < 0) {
		close(p[0]);
		return r;
	}
	r = tar_drain(x, p[0], e);
	close(p[0]);
	int r2 = spawn_finish(pid, stderr_fd, "package", &helper);

	/* The helper's word explains a cut tar; a parser's own error comes before its broken pipe. */
	if (r2 < 0 && (r == 0 || r == -EBADMSG) && !strstr(helper.msg, "write:")) {
		*e = helper;
		return r2;
	}
	return r;
}

/* Where data.tar.* lies. */
static int package_member(int fd, uint64_t file_size, uint64_t *offset, uint64_t *size,
			  struct err *e)
{
	uint64_t at = AR_MAGIC_SIZE;

	for (int i = 0; i < 16 && at + AR_HEADER <= file_size; i++) {
		uint8_t h[AR_HEADER];
		struct ar_member m;

		if (pread(fd, h, sizeof(h), (off_t)at) != sizeof(h) || ar_member_parse(h, &m) < 0)
			return err_set(e, -EBADMSG, "package: damaged member header at %llu",
				       (unsigned long long)at);
		at += AR_HEADER;
		if (m.size > file_size - at)
			return err_set(e, -EBADMSG, "package: truncated inside '%s'", m.name);
		if (str_after(m.name, "data.tar")) {
			*offset = at;
			*size = m.size;
			return 0;
		}
		at += m.size + (m.size & 1);
	}
	return err_set(e, -EBADMSG, "package: no data.tar inside");
}

static int import_package(struct import *x, int fd, uint64_t file_size, struct err *e)
{
	uint64_t offset = 0, size = 0;
	int r = package_member(fd, file_size, &offset, &size, e);

	for (int pass = 0; r == 0 && pass < PASSES_MAX; pass++) {
		r = package_pass(x, fd, offset, size, e);
		if (r == 0 && !x->image_done)
			return err_set(e, -ENOENT,
				       "package: no boot/vmlinuz-* inside. Fix: take a "
				       "linux-image-*-amd64 "
				       "package that is not a meta package");
		if (!kernel_modules_missing(&x->modules))
			return r;
	}
	return r < 0 ? r
		     : err_set(e, -ENOENT, "package: dependencies of its modules are not inside");
}

/* ---- modules from a directory ---- */

static int read_module(struct import *x, int dirfd, const char *name, struct err *e)
{
	struct kernel_module *one = kernel_modules_match(&x->modules, name);

	if (!one)
		return 0;
	int r = file_read(dirfd, name, &one->image);

	if (r < 0)
		return err_sys(e, r, "module '%s'", name);
	return kernel_module_complete(&x->modules, one, e);
}

static int walk_modules(struct import *x, int fd_in, int depth, struct err *e)
{
	cleanup_closedir DIR *d = fdopendir(fd_in);
	int r = 0;

	if (!d) {
		r = err_sys(e, -errno, "modules: open directory");
		close(fd_in);
		return r;
	}
	for (struct dirent *de; r == 0 && (de = readdir(d));) {
		if (de->d_name[0] == '.')
			continue;
		if (de->d_type == DT_DIR && depth < 12) {
			int sub = openat(dirfd(d), de->d_name,
					 O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

			r = sub < 0 ? err_sys(e, -errno, "modules: open '%s'", de->d_name)
				    : walk_modules(x, sub, depth + 1, e);
		} else if (de->d_type == DT_REG) {
			r = read_module(x, dirfd(d), de->d_name, e);
		}
	}
	return r;
}

/* Where modules of this release are: the host's, or those of a kernel that was imported with them. */
static int find_modules(const struct import *x, char path[PATH_MAX * 2], struct err *e)
{
	char store[PATH_MAX];

	snprintf(path, PATH_MAX * 2, "/lib/modules/%s", x->info.release);
	if (access(path, F_OK) == 0)
		return 0;
	int r = kernel_store_path(store, sizeof(store), false, e);

	if (r == 0)
		snprintf(path, PATH_MAX * 2, "%s/%s/modules", store, x->info.release);
	return r;
}

/* A bare image: modules of the same release from `modules` or from where they are found. */
static int import_modules(struct import *x, struct err *e)
{
	char path[PATH_MAX * 2];

	if (x->im->modules) {
		snprintf(path, sizeof(path), "%s", x->im->modules);
	} else {
		int r = find_modules(x, path, e);

		if (r < 0)
			return r;
	}
	for (int pass = 0; pass < PASSES_MAX; pass++) {
		int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 && !x->im->modules && errno == ENOENT) {
			say(x,
			    "No modules for %s on this host: the guest has only what is built in",
			    x->info.release);
			return 0;
		}
		if (fd < 0)
			return err_sys(e, -errno, "modules: '%s'", path);
		int r = walk_modules(x, fd, 0, e);

		if (r < 0)
			return r;
		if (!kernel_modules_missing(&x->modules))
			return 0;
	}
	return err_set(e, -ENOENT, "modules: '%s' lacks dependencies of its own modules", path);
}

/* ---- the kernel image ---- */

/* The first word of the version string is the release. */
static void release_from_version(struct import *x, const char *version)
{
	size_t n = strcspn(version, " ");

	if (n == 0 || n >= sizeof(x->info.release) || x->info.release[0])
		return;
	memcpy(x->info.release, version, n);
	x->info.release[n] = '\0';
	if (kernel_name_check(x->info.release, NULL) < 0)
		x->info.release[0] = '\0';
}

static int unpack_bzimage(struct import *x, int fd, uint64_t file_size, int out, struct err *e)
{
	uint8_t head[BZIMAGE_HEAD * 8];
	struct bzimage bz;
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (n < 0)
		return err_sys(e, -errno, "kernel image: read");
	int r = bzimage_parse(head, (size_t)n, file_size, &bz, e);

	if (r < 0)
		return r;
	if (!bz.is_64bit)
		return err_set(e, -ENOTSUP, "bzImage: not a 64-bit kernel");
	release_from_version(x, bz.version);
	if (lseek(fd, (off_t)bz.payload_offset, SEEK_SET) < 0)
		return err_sys(e, -errno, "kernel image: seek");
	return kernel_decompress(fd, bz.payload_size, out, KERNEL_IMAGE_MAX, "bzImage", e);
}

int kernel_copy(int in, int out, struct err *e)
{
	cleanup_free char *piece = malloc(1 << 20);
	ssize_t n = 0;
	int r = piece ? 0 : -ENOMEM;

	lseek(in, 0, SEEK_SET);
	while (r == 0 && (n = read_full(in, piece, 1 << 20)) > 0)
		r = write_full(out, piece, (size_t)n);
	r = n < 0 ? (int)n : r;
	return r < 0 ? err_sys(e, r, "copy the kernel") : 0;
}

/* "Linux version 6.1.0-56-cloud-amd64 (" in the image. */
static void release_from_vmlinux(struct import *x, const uint8_t *p, size_t n)
{
	static const char banner[] = "Linux version ";
	char version[128];

	while (!x->info.release[0]) {
		const uint8_t *at = memmem(p, n, banner, sizeof(banner) - 1);

		if (!at)
			return;
		at += sizeof(banner) - 1;
		n -= (size_t)(at - p);
		p = at;
		size_t len = 0;

		while (len < n && len < sizeof(version) - 1 && p[len] > ' ' && p[len] < 0x7f)
			len++;
		memcpy(version, p, len);
		version[len] = '\0';
		release_from_version(x, version);
	}
}

static int judge_vmlinux(struct import *x, int fd, struct err *e)
{
	struct elf_image image;
	struct elf_xen xen = { 0 };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "vmlinux");
	if (st.st_size == 0)
		return err_set(e, -EBADMSG, "vmlinux: empty");
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

	if (p == MAP_FAILED)
		return err_sys(e, -errno, "vmlinux: map");
	int r = elf_parse(p, (size_t)st.st_size, &image, e);

	if (r == 0)
		r = elf_xen_notes(p, (size_t)st.st_size, &xen, e);
	if (r == 0)
		release_from_vmlinux(x, p, (size_t)st.st_size);
	munmap(p, (size_t)st.st_size);
	x->info.xen_pv = xen.present && xen.entry;
	if (r == 0 && !x->info.release[0])
		return err_set(e, -EBADMSG, "not a Linux kernel: no version inside");
	return r;
}

/* From the source, whatever it is, to DIR/vmlinux and the modules in memory. */
static int import_source(struct import *x, int fd, struct err *e)
{
	char path[PATH_MAX + 16];
	uint8_t head[1024] = { 0 };
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "fstat");
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "not a regular file");
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (n < 0)
		return err_sys(e, -errno, "read");
	snprintf(path, sizeof(path), "%s/vmlinux", x->dir);
	cleanup_fd int out = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (out < 0)
		return err_sys(e, -errno, "create '%s'", path);
	if (n >= 8 && memcmp(head, AR_MAGIC, AR_MAGIC_SIZE) == 0) {
		x->boot_image = memfd_create("bzImage", MFD_CLOEXEC);
		if (x->boot_image < 0)
			return err_sys(e, -errno, "memfd_create");
		r = import_package(x, fd, (uint64_t)st.st_size, e);
		if (r == 0 && fstat(x->boot_image, &st) == 0)
			r = unpack_bzimage(x, x->boot_image, (uint64_t)st.st_size, out, e);
		return r < 0 ? r : judge_vmlinux(x, out, e);
	}
	if (bzimage_detect(head, (size_t)n))
		r = unpack_bzimage(x, fd, (uint64_t)st.st_size, out, e);
	else if (n >= 4 && memcmp(head, "\177ELF", 4) == 0)
		r = kernel_copy(fd, out, e);
	else
		r = err_set(e, -EBADMSG, "not a Debian package, a bzImage or a vmlinux");
	if (r == 0)
		r = judge_vmlinux(x, out, e);
	return r < 0 ? r : import_modules(x, e);
}

/* ---- the store ---- */

static int write_file(const char *dir, const char *name, const void *p, size_t n, struct err *e)
{
	char path[PATH_MAX + 128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : write_full(fd, p, n);

	return r < 0 ? err_sys(e, r, "write '%s'", path) : 0;
}

static int write_modules(struct import *x, struct err *e)
{
	char path[PATH_MAX + 16], name[80];
	int r = 0;

	snprintf(path, sizeof(path), "%s/modules", x->dir);
	if (mkdir(path, 0755) < 0)
		return err_sys(e, -errno, "create '%s'", path);
	for (size_t i = 0; i < x->modules.n && r == 0; i++) {
		const struct kernel_module *one = &x->modules.v[i];

		if (!strlist_has(&x->info.pv, one->name) && !strlist_has(&x->info.vm, one->name))
			continue;
		snprintf(name, sizeof(name), "modules/%s.ko", one->name);
		r = write_file(x->dir, name, one->image.data, one->image.len, e);
	}
	return r;
}

/* Replaces what had the name. */
static int put_in_place(struct import *x, const char *store, const char *name, struct err *e)
{
	char to[PATH_MAX + 256], old[PATH_MAX + 256];

	snprintf(to, sizeof(to), "%s/%s", store, name);
	snprintf(old, sizeof(old), "%s-old", x->dir);
	if (rename(to, old) < 0 && errno != ENOENT)
		return err_sys(e, -errno, "replace '%s'", to);
	if (rename(x->dir, to) < 0)
		return err_sys(e, -errno, "rename to '%s'", to);
	kernel_tree_remove(old);
	return 0;
}

static int import_into(struct import *x, int fd, const char *source, char **name, struct err *e)
{
	char store[PATH_MAX];
	struct buf text = BUF_INIT(64 << 10);
	const char *base = strrchr(source, '/');
	int r = kernel_store_path(store, sizeof(store), true, e);

	if (r < 0)
		return r;
	x->info.wishes = kernel_modules_stamp();
	base = base ? base + 1 : source;
	snprintf(x->info.source, sizeof(x->info.source), "%.*s", (int)sizeof(x->info.source) - 1,
		 base);
	if ((size_t)snprintf(x->dir, sizeof(x->dir), "%s/.new-XXXXXX", store) >= sizeof(x->dir))
		return err_sys(e, -ENAMETOOLONG, "kernel store");
	if (!mkdtemp(x->dir))
		return err_sys(e, -errno, "create '%s'", x->dir);
	if (chmod(x->dir, 0755) < 0)
		r = err_sys(e, -errno, "chmod '%s'", x->dir);
	if (r == 0)
		r = import_source(x, fd, e);
	if (r < 0)
		err_wrap(e, "'%s'", source);
	if (r == 0)
		r = kernel_modules_order(&x->modules, &x->info, e);
	if (r == 0)
		r = write_modules(x, e);
	if (r == 0)
		r = kernelinfo_print(&text, &x->info);
	if (r == 0)
		r = write_file(x->dir, "info", text.data, text.len, e);
	buf_fini(&text);
	const char *as = x->im->name ? x->im->name : x->info.release;

	if (r == 0)
		r = put_in_place(x, store, as, e);
	if (r < 0) {
		kernel_tree_remove(x->dir);
		return r;
	}
	*name = strdup(as);
	return *name ? 0 : err_sys(e, -ENOMEM, "kernel import");
}

int kernel_import(const struct kernel_import *im, char **name, struct err *e)
{
	struct import x = { .im = im, .boot_image = -1 };
	struct kernel_fetch fetched = { .dir = "" };
	const char *source = im->source;
	int r = im->name ? kernel_name_check(im->name, e) : 0;

	*name = NULL;
	if (r == 0)
		r = kernel_modules_wish(&x.modules) < 0 ? err_sys(e, -ENOMEM, "kernel import") : 0;
	if (r == 0 && !source) {
		say(&x, "Fetching the distribution's cloud kernel with apt-get download");
		r = kernel_fetch(&fetched, e);
		source = fetched.path;
	}
	cleanup_fd int fd = r == 0 ? open(source, O_RDONLY | O_CLOEXEC) : -1;

	if (r == 0 && fd < 0)
		r = err_sys(e, -errno, "open '%s'", source);
	if (r == 0) {
		say(&x, "Importing %s", source);
		r = import_into(&x, fd, source, name, e);
	}
	kernel_fetch_fini(&fetched);
	close_fd(&x.boot_image);
	kernel_modules_fini(&x.modules);
	kernelinfo_fini(&x.info);
	if (r == 0 && !im->no_default)
		r = kernel_adopt_default(*name, e);
	return r < 0 ? err_wrap(e, "kernel import") : 0;
}
